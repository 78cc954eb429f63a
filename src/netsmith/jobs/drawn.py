"""The pictures that a task draws of test examples, by the files of the network as given and of the result."""

from __future__ import annotations

from netsmith.accuracy.deployed import Deployed
from netsmith.jobs.stages import Stages
from netsmith.runs.pictures import keep_pictures
from netsmith.tasks.drawing import SHOWN


def drawn(job: Stages) -> None:
    """Let the task draw what both networks make of the first test examples; one stage, of tasks that draw anything.

    It comes when every choice is made, as everything does that looks at the test split.
    """
    if not job.task.draws:
        return

    def draw() -> list[dict[str, str]]:
        networks = [Deployed(job.run.path(name), job.graph) for name in ("baseline.onnx", "model.onnx")]
        count = networks[1].batch or SHOWN  # a file of a fixed batch takes no other
        batch = next(job.task.test.batches(count))
        if batch.size != count and networks[1].batch is not None:
            return []
        given, result = (batch(network) for network in networks)
        return keep_pictures(job.run, job.task.pictures(result, given, batch))

    job.run.stage("pictures", draw)
