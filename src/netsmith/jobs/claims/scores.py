"""Claims about scores: which test examples are right, and what these certify."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from netsmith.certificates import certificate
from netsmith.errors import InputError
from netsmith.files import read_json
from netsmith.jobs.claims.claim import Claim, compared, unchecked
from netsmith.jobs.claims.evidence import Evidence
from netsmith.jobs.config import Images
from netsmith.jobs.contents import task_contents
from netsmith.jobs.tested import BoolArray, right_of, tested
from netsmith.runs.names import INPUTS, RECORDED
from netsmith.tasks.task import Task

#: share of examples that another processor or runtime may round into another class
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
    options = Images(**{k: _option(seen.config[k]) for k in Images().for_data() if k in seen.config}).for_data()
    if given is None and (seen.folder / RECORDED).exists():
        known = read(seen.folder / RECORDED).for_weights(metadata, options.get("classes"))
        fed = read_feeding(seen.file("model.onnx"))
        pixels = AS_GIVEN if fed.mean is None or fed.std is None else Normalisation(fed.mean, fed.std)
        return Classification(replace(known, normalisation=pixels))
    if given is None and not (isinstance(spec, str) and (spec == "digits" or _is_there(spec))):
        return f"{spec} is not here; give it with --data"
    task = load_task(
        seen.config.get("task") or "classification", spec if given is None else given, metadata,
        seed=int(seen.config.get("seed") or 0), options=options,
    )  # fmt: skip
    return task.for_weights(metadata, given=options.get("mean") is not None)


def stored(seen: Evidence) -> Iterator[Claim]:
    """Accuracies and the certificate follow from which examples were right, as the run stored them."""
    found = _stored(seen)
    said = {side: seen.summary[side]["accuracy"] for side in _FILES}
    if not found:
        yield unchecked("accuracy from the stored answers", said["result"], "this run stored none", "share")
        return
    for side, when in (("result", ""), ("baseline", " as given")):
        if side in found and said[side] is not None:  # those of a teacher are no claim about the network as given
            yield compared(f"accuracy{when} from the stored answers", said[side], float(found[side].mean()), "share")
    yield from _certificate(seen, found, "from the stored answers")


def examples(seen: Evidence, task: Task) -> Iterator[Claim]:
    """Both networks on the test split, run as their user will."""
    known = read_json(seen.folder / INPUTS, "repeat the run") if (seen.folder / INPUTS).exists() else {}
    digests = [value for key, value in known.items() if key.startswith("the data set ")]
    mine = next(iter(task_contents(task).values()))
    same = mine in digests
    why = "" if same else "other images, labels or splits than the run's, so its scores are not about them"
    said, here = (digests[0][:12] if digests else None), mine[:12]
    yield Claim("the data", said, here, "holds" if same else "elsewhere", why)
    before = _stored(seen)
    found: dict[str, BoolArray] = {}
    for side, when in (("result", ""), ("baseline", " as given")):
        score, name = seen.summary[side]["accuracy"], f"accuracy{when} on the test split"
        if score is None or not seen.has(_FILES[side]):
            continue
        try:
            found[side] = right_of(tested(seen.file(_FILES[side]), task, task.test))
        except InputError as error:
            yield unchecked(name, score, str(error), "share")
            continue
        yield _score(name, score, found[side], before.get(side), same)
    complete = set(found) >= {side for side in _FILES if seen.summary[side]["accuracy"] is not None}
    if same and complete and all(np.array_equal(right, before.get(side, right)) for side, right in found.items()):
        # rounded otherwise, it would be another; a teacher lies in no file of the run, so what it answered then counts
        yield from _certificate(seen, before | found, "from the answers found here")


def _score(name: str, said: float, right: BoolArray, before: BoolArray | None, same: bool) -> Claim:
    score = float(right.mean()) if len(right) else 0.0
    if not same:
        return Claim(name, said, score, "elsewhere", "on other examples than the run's", "share")
    known = before is not None and len(before) == len(right)
    other = int((right != before).sum()) if known else round(abs(score - said) * len(right))
    other = max(other, round(abs(score - said) * len(right)))
    if not other:
        return Claim(name, said, score, "holds", "", "share")
    what = f"{other} of {len(right)} examples are answered otherwise"
    if other <= max(1, OF_ROUNDING * len(right)):
        return Claim(name, said, score, "holds", f"{what}, as another processor may round them", "share")
    return Claim(name, said, score, "fails", what, "share")


def _certificate(seen: Evidence, right: Mapping[str, BoolArray], how: str) -> Iterator[Claim]:
    said = seen.summary.get("certificate")
    if not said or "result" not in right:
        return
    asked = {k: said["asked"].get(k) for k in ("max_drop", "min_score")}
    before = right.get("baseline") if said["score_before"] is not None else None
    found = certificate(before, right["result"], said["confidence"], **asked).to_dict()
    for key in ("loss_bound", "score_bound"):
        name = {"loss_bound": "largest certified loss", "score_bound": "score surely reached"}[key]
        if said[key] is not None or found[key] is not None:
            yield compared(f"{name}, {how}", said[key], found[key], "share", tolerance=1e-6)
    same = ("score_before", "score_after", "confidence", "examples", "worse", "better", "met")
    other = [key for key in same if compared(key, said.get(key), found[key]).verdict == "fails"]
    text = f"other {', '.join(other)}" if other else "as said"
    yield compared(f"the certificate, {how}", "as said", text)


def _stored(seen: Evidence) -> dict[str, BoolArray]:
    """Which test examples each network got right, as the stage of the test stored them."""
    names = {"before": "baseline", "after": "result", seen.summary.get("strategy"): "result"}
    found: dict[str, BoolArray] = {}
    for stage in seen.stages("test"):
        answers = stage.get("tested", stage)
        for name, value in answers.items() if isinstance(answers, dict) else ():
            if name in names and isinstance(value, dict) and "right" in value:
                found[names[name]] = right_of(value)
    return found


def _is_there(spec: str) -> bool:
    try:
        return Path(spec).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _option(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
