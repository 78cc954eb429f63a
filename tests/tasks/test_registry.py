"""From the words of --task to a task."""

from __future__ import annotations

import pytest
import torch

from netsmith import InputError
from netsmith.tasks.image_to_image import ImageToImage
from netsmith.tasks.registry import TASKS, load_task

IMAGES = torch.randint(0, 256, (30, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
FILE = """
import torch
import netsmith


def make_task(data=None):
    x = torch.zeros(20, 3) if data is None else data
    return netsmith.Task(train=x, search=x, test=x, loss=lambda o, b: o.mean(), score=lambda o, b: o[:, 0])


def make_nothing():
    return 3


def make_errors():
    raise KeyError("x")


TASK = make_task()
"""


def test_names_are_tasks_and_super_resolution_has_a_number():
    for words, side in (("image-to-image", 8), ("super-resolution", 4), ("super-resolution:4", 2)):
        task = load_task(words, IMAGES, {}, options={"image_size": None, "tokenizer": None})
        assert isinstance(task, ImageToImage) and next(task.test.batches(1)).args[0].shape[-1] == side
        assert load_task("classification", task, {}) is task
    assert {"classification", "segmentation", "regression", "text-classification"} <= set(TASKS)


def test_functions_of_a_file_make_tasks(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    assert len(load_task(f"{file}:make_task", torch.zeros(7, 3), {}).test) == 7
    assert len(load_task(f"{file}:TASK", None, {}).test) == 20
    for name, said in (
        ("make_nothing", "returns 3, no task"), ("make_errors", "fails (KeyError: 'x')"),
        ("gone", "has no function 'gone'"),
    ):  # fmt: skip
        with pytest.raises(InputError) as found:
            load_task(f"{file}:{name}", None, {})
        assert said in str(found.value)
    with pytest.raises(InputError, match=r"there is no file nowhere.py for --task"):
        load_task("nowhere.py:make_task", None, {})


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        ("segmentatoin", {}, r"did you mean 'segmentation'\?"),
        ("segmentation:3", {}, "only super-resolution has a number"),
        ("super-resolution:x", {}, "only super-resolution has a number"),
        ("regression", {"tokenizer": "t.json"}, "--tokenizer is for texts"),
        (7, {}, "no task and no function"),
    ],
)
def test_words_that_name_no_task_are_refused(words, options, said):
    with pytest.raises(InputError, match=said):
        load_task(words, IMAGES, {}, options=options)


def test_a_task_that_brings_its_examples_needs_no_data_and_any_other_does():
    from netsmith.jobs.config import CompressConfig
    from netsmith.jobs.config.groups import Budgets

    given = {"model": "zoo:digits", "budgets": Budgets(macs="0.5x")}
    assert CompressConfig(task=f"{__file__}:make_task", **given).data is None
    with pytest.raises(InputError, match="missing option '--data'; the task 'segmentation' needs examples"):
        CompressConfig(task="segmentation", **given)
