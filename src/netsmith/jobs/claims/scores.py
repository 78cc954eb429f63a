"""Claims about scores: what the task notes of each test example, and what that certifies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from netsmith.certificates import certificate
from netsmith.errors import InputError
from netsmith.files import read_json
from netsmith.jobs.claims.claim import Claim, compared, unchecked, unit_of
from netsmith.jobs.claims.evidence import Evidence
from netsmith.jobs.config import Images
from netsmith.jobs.contents import task_contents
from netsmith.jobs.tested import rows_of, tested
from netsmith.metrics import FloatArray, Metric
from netsmith.network.graph import Graph
from netsmith.runs.names import INPUTS, RECORDED
from netsmith.tasks.task import Task

#: share of examples that another processor or runtime may round to another answer; and of a score that is no share
OF_ROUNDING = 0.002
_FILES = {"baseline": "baseline.onnx", "result": "model.onnx"}


def task_of(seen: Evidence, given: Any = None) -> Task | str:
    """The task of a run with its examples: those given, or those that it was started with; or why there are none."""
    from netsmith.data.normalise import AS_GIVEN, Normalisation
    from netsmith.data.recorded import read
    from netsmith.export.feeding import read_feeding
    from netsmith.network.weights import read_metadata
    from netsmith.tasks.classification import Classification
    from netsmith.tasks.registry import load_task

    spec, metadata = seen.config.get("data"), read_metadata(str(seen.file("model.safetensors")))
    options = Images(**{k: _option(seen.config[k]) for k in Images().for_task() if k in seen.config}).for_task()
    if given is None and (seen.folder / RECORDED).exists():
        known = read(seen.folder / RECORDED).for_weights(metadata, options.get("classes"))
        fed = read_feeding(seen.file("model.onnx"))
        pixels = AS_GIVEN if fed.mean is None or fed.std is None else Normalisation(fed.mean, fed.std)
        return Classification(replace(known, normalisation=pixels))
    wanted = seen.config.get("task") or "classification"
    brings = spec is None and ".py:" in wanted and _is_there(wanted.rpartition(":")[0])
    if given is None and not brings and not (isinstance(spec, str) and (spec == "digits" or _is_there(spec))):
        return f"{spec or wanted} is not here; give it with --data"
    task = load_task(
        wanted, spec if given is None else given, metadata,
        seed=int(seen.config.get("seed") or 0), options=options,
    )  # fmt: skip
    return task.for_weights(metadata, given=options.get("mean") is not None)


def stored(seen: Evidence, task: Task | None = None) -> Iterator[Claim]:
    """Scores and the certificate follow from what was noted of each test example, as the run stored it.

    Args:
        task: of the run, where it is at hand: it knows how a score is made that is no mean.
    """
    found, metric = _stored(seen), _metric(seen, task)
    said = {side: seen.summary[side][metric.key] for side in _FILES}
    name, unit = metric.name + "{} from the stored answers", unit_of(metric)
    if not found or metric.finish is None:
        why = "how it is made of them only the task knows" if found else "this run stored none"
        yield unchecked(name.format(""), said["result"], why, unit)
        return
    for side, when in (("result", ""), ("baseline", " as given")):
        if side in found and said[side] is not None:  # those of a teacher are no claim about the network as given
            yield compared(name.format(when), said[side], metric.of(found[side]), unit)
    yield from _certificate(seen, metric, found, "from the stored answers")


def examples(seen: Evidence, task: Task) -> Iterator[Claim]:
    """Both networks on the test split, run as their user will."""
    known = read_json(seen.folder / INPUTS, "repeat the run") if (seen.folder / INPUTS).exists() else {}
    digests = [value for key, value in known.items() if key.startswith("the data set ")]
    mine = next(iter(task_contents(task).values()))
    same = mine in digests
    why = "" if same else "other examples or splits than the run's, so its scores are not about them"
    said, here = (digests[0][:12] if digests else None), mine[:12]
    yield Claim("the data", said, here, "holds" if same else "elsewhere", why)
    before, metric = _stored(seen), _metric(seen, task)
    found: dict[str, FloatArray] = {}
    for side, when in (("result", ""), ("baseline", " as given")):
        score, name = seen.summary[side][metric.key], f"{metric.name}{when} on the test split"
        if score is None or not seen.has(_FILES[side]):
            continue
        try:
            file = seen.file(_FILES[side])
            answers = tested(file, task, task.test, _structure(seen, file, task))
        except InputError as error:
            yield unchecked(name, score, str(error), unit_of(metric))
            continue
        found[side] = rows_of(answers)
        yield _score(metric, name, score, found[side], before.get(side), same)
    complete = set(found) >= {side for side in _FILES if seen.summary[side][metric.key] is not None}
    if same and complete and all(np.array_equal(rows, before.get(side, rows)) for side, rows in found.items()):
        # rounded otherwise, it would be another; a teacher lies in no file of the run, so what it answered then counts
        yield from _certificate(seen, metric, before | found, "from the answers found here")


def _metric(seen: Evidence, task: Task | None) -> Metric:
    """The score that ranks, from the task itself where that is at hand and judges by the same."""
    own = seen.metric
    return task.metric if task is not None and task.metric.key == own.key else own


def _structure(seen: Evidence, file: Path, task: Task) -> Graph | None:
    """The traced network, which knows places of inputs and the structure of outputs; of classes of images none needs.

    An image goes in there, and a row of logits comes out.
    """
    from netsmith.export.feeding import read_feeding
    from netsmith.network.graph import trace

    if not read_feeding(file).gives:
        return None
    return trace(seen.program, task.example(), axes=task.axes())


def _score(
    metric: Metric, name: str, said: float, rows: FloatArray, before: FloatArray | None, same: bool
) -> Claim:  # fmt: skip
    score, unit = metric.of(rows) if len(rows) else 0.0, unit_of(metric)
    if not same:
        return Claim(name, said, score, "elsewhere", "on other examples than the run's", unit)
    known = before is not None and before.shape == rows.shape
    other = int((rows != before).any(axis=1).sum()) if known else 0
    if metric.share:
        other = max(other, round(abs(score - said) * len(rows)))
        near = other <= max(1, OF_ROUNDING * len(rows))
    else:
        near = abs(score - said) <= OF_ROUNDING * (1.0 if unit == "share" else max(abs(score), abs(said)))
    if not other and near:
        return Claim(name, said, score, "holds", "", unit)
    what = f"{other} of {len(rows)} examples are answered otherwise"
    if near:
        return Claim(name, said, score, "holds", f"{what}, as another processor may round them", unit)
    return Claim(name, said, score, "fails", what, unit)


def _certificate(seen: Evidence, metric: Metric, rows: Mapping[str, FloatArray], how: str) -> Iterator[Claim]:
    said = seen.summary.get("certificate")
    if not said or "result" not in rows:
        return
    asked = {k: said["asked"].get(k) for k in ("max_drop", "min_score")}
    before = rows.get("baseline") if said["score_before"] is not None else None
    found = certificate(before, rows["result"], said["confidence"], metric=metric).asking(**asked).to_dict()
    for key in ("loss_bound", "score_bound"):
        name = {"loss_bound": "largest certified loss", "score_bound": "score surely reached"}[key]
        if said[key] is not None or found[key] is not None:
            yield compared(f"{name}, {how}", said[key], found[key], unit_of(metric), tolerance=1e-6)
    same = ("score_before", "score_after", "confidence", "examples", "worse", "better", "met")
    other = [key for key in same if compared(key, said.get(key), found[key]).verdict == "fails"]
    text = f"other {', '.join(other)}" if other else "as said"
    yield compared(f"the certificate, {how}", "as said", text)


def _stored(seen: Evidence) -> dict[str, FloatArray]:
    """What was noted of each test example, rows ``(N, F)`` of each network, as the stage of the test stored them."""
    names = {"before": "baseline", "after": "result", seen.summary.get("strategy"): "result"}
    found: dict[str, FloatArray] = {}
    for stage in seen.stages("test"):
        answers = stage.get("tested", stage)
        for name, value in answers.items() if isinstance(answers, dict) else ():
            if name in names and isinstance(value, dict) and ("right" in value or "rows" in value):
                found[names[name]] = rows_of(value)
    return found


def _is_there(spec: str) -> bool:
    try:
        return Path(spec).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _option(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
