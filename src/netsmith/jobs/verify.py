"""A finished run checked from its files alone: every claim of its summary, here and now; nothing in it is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError
from netsmith.jobs.claims import figures, files, network, scores
from netsmith.jobs.claims.claim import Claim, attempt, unchecked, unit_of
from netsmith.jobs.claims.evidence import Evidence
from netsmith.jobs.claims.front import baseline_of, front, points_of
from netsmith.jobs.claims.latency import latency
from netsmith.progress import Progress, progress_of
from netsmith.runs.names import CONFIG

if TYPE_CHECKING:
    from torch import nn

    from netsmith.tasks.task import Task


def verify(
    run: str | Path, data: Any = None, *, threads: int | None = None,
    factory: str | nn.Module | Callable[[], nn.Module] | None = None, progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Check what a finished run claims: digests, parity, sizes, counts, scores, certificates, latency on this machine.

    Args:
        run: folder of a finished run; of a front, all of its networks are checked.
        data: what the run was started with, or its examples in memory; by default what its options name, if that is
            here (nothing is downloaded for it). Without examples, scores are held against the stored answers only.
        threads: that latency is measured with; by default as many as the run had.
        factory: what builds the network as it was given, for runs of modules and functions; see :func:`netsmith.load`.

    Returns:
        ``claims``, a list of ``{"what", "said", "found", "verdict", "why", "unit"}`` with the verdicts ``holds``,
        ``fails``, ``elsewhere`` (about another device or other data: no failure) and ``not checked``; ``counts``,
        how many have which; and ``ok``, whether none fails.

    Raises:
        InputError: it is no finished run, or ``data`` cannot be read.
    """
    progress, folder = progress_of(progress), Path(run)
    if folder.is_file() or (folder.is_dir() and not (folder / CONFIG).exists()):
        what = "is a file" if folder.is_file() else "has no config.json"
        raise InputError(
            f"{folder} {what} and is no run: verify takes the folder of a finished compress or specialize (train "
            "writes weights, which claim nothing that could be checked)"
        )
    progress.stage("reading files")
    seen = Evidence(folder, factory)
    points = {name: Evidence(folder / name, factory) for name in points_of(seen.summary) if (folder / name).is_dir()}
    claims = _files(seen)
    if points:
        claims += attempt(partial(front, seen, points), "the front", bool(seen.problem))
    else:
        points = {"": seen}
    for name, one in points.items():
        own = [] if one is seen else _files(one)
        progress.stage(f"checking {name or 'the network'}")
        own += _network(one)
        examples = _data(one, data)
        task = None if isinstance(examples, str) else examples
        own += attempt(partial(scores.stored, one, task), "stored answers", bool(one.problem))
        if isinstance(examples, str):
            said = one.summary.get("result", {}).get(one.metric.key)
            own.append(unchecked(f"{one.metric.name} on the test split", said, examples, unit_of(one.metric)))
        else:
            own += attempt(partial(scores.examples, one, examples), "scores on the test split", bool(one.problem))
        progress.stage(f"timing {name or 'the network'}")
        timed = partial(latency, one, threads, baseline_of(folder, one))
        own += attempt(timed, "latency", bool(one.problem))
        claims += [claim.of(name) for claim in own] if name else own
    counts = Counter(claim.verdict for claim in claims)
    return {
        "run": str(folder), "ok": not counts["fails"],
        "counts": {verdict: counts[verdict] for verdict in ("holds", "fails", "elsewhere", "not checked")},
        "claims": [claim.to_dict() for claim in claims],
    }  # fmt: skip


def _files(seen: Evidence) -> list[Claim]:
    """What is checked of every folder, be it that of a front."""
    every: dict[str, Callable[[Evidence], Iterator[Claim]]] = {"files": files.files, "summary.json": files.schema}
    return [claim for what, check in every.items() for claim in attempt(partial(check, seen), what, True)]


def _network(seen: Evidence) -> list[Claim]:
    """What is checked of every network, without examples and without a clock."""
    every: dict[str, Callable[[Evidence], Iterator[Claim]]] = {
        "preprocessing and labels": files.feeding, "outputs of its files": network.parity,
        "model.nsw": network.packed, "MACs and parameters": network.counts, "peak memory": network.memory,
        "budgets": figures.budgets, "figures": figures.stored, "costs on the target": figures.priced,
    }  # fmt: skip
    lenient = bool(seen.problem)
    return [claim for what, check in every.items() for claim in attempt(partial(check, seen), what, lenient)]


def _data(seen: Evidence, data: Any) -> Task | str:
    """The examples, or why there are none; those that were named must be readable."""
    try:
        return scores.task_of(seen, data)
    except InputError as error:
        if data is not None:
            raise
        return str(error)
