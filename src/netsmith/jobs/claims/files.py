"""Claims about files: they are as the run built them, and say alike how the network is fed."""

from __future__ import annotations

from collections.abc import Iterator

from netsmith.errors import InputError
from netsmith.jobs.claims.claim import Claim, compared, unchecked
from netsmith.jobs.claims.evidence import Evidence
from netsmith.runs.names import FORMATS

_SAYS = {"changed": "it was damaged or edited since", "missing": "it is not there"}


def files(seen: Evidence) -> Iterator[Claim]:
    """Every file that was built against its digest, one claim each; stages, which are small, in one."""
    stages = {name: fault for name, fault in seen.faults.items() if name.startswith("stages/")}
    for name, fault in seen.faults.items():
        if name not in stages:
            yield compared(name, "as built", fault or "as built", why=_SAYS.get(fault, ""))
    bad = sorted(name for name, fault in stages.items() if fault)
    if stages:
        why = f"{', '.join(bad)}: damaged or edited since" if bad else ""
        yield Claim("results of stages", len(stages), len(stages) - len(bad), "fails" if bad else "holds", why, "count")
    for name in seen.summary.get("files") or {}:
        if not seen.has(str(seen.summary["files"][name])) and "/" not in str(seen.summary["files"][name]):
            yield Claim(str(name), "as built", "of no known digest", "fails", "artefacts.json does not list it")


def schema(seen: Evidence) -> Iterator[Claim]:
    """The summary is one, and its budgets are met or not as their figures say."""
    yield Claim("summary.json", "complete", seen.problem or "complete", "fails" if seen.problem else "holds")


def feeding(seen: Evidence) -> Iterator[Claim]:
    """Preprocessing and labels, equal in the summary and in all files that say them."""
    from netsmith.data.feeding import Feeding
    from netsmith.export.feeding import read_feeding

    said = Feeding.from_dict(seen.summary.get("preprocessing"), "summary.json")
    what, same = "preprocessing and labels of", "as in the summary"
    for name in (n for kind, n in FORMATS.items() if kind != "nsw"):
        try:
            found = read_feeding(seen.file(name))
        except InputError as error:
            yield unchecked(f"{what} {name}", same, str(error))
            continue
        other = [key for key, value in said.to_dict().items() if found.to_dict()[key] != value]
        yield compared(
            f"{what} {name}", "as in the summary", f"other {', '.join(other)}" if other else "as in the summary"
        )
