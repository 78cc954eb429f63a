from __future__ import annotations

from typing import Any

import pytest
from example_front import example_front_summary, example_simulated_front_summary

from netsmith.errors import InputError
from netsmith.runs.front_record import chosen_of
from netsmith.runs.summary import check_summary


def test_the_examples_keep_the_schema() -> None:
    for summary in (example_front_summary(), example_simulated_front_summary()):
        check_summary(summary)
    assert chosen_of(summary["front"])["folder"] == "points/3"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": []}, r"front\.points has 0 entries"),
        ({"chosen": "points/9"}, r"front\.chosen is 'points/9', not one of 'points/1, points/2"),
        ({"minimize": "params"}, r"front\.minimize is 'params'"),
        ({"rule": ""}, r"front\.rule is '', not a text that says something"),
        ({"asked": {"max_drop": 50}}, r"front\.asked\.max_drop is 50"),
    ],
)
def test_what_is_wrong_with_a_front_is_named(change: dict[str, Any], words: str) -> None:
    summary = example_front_summary()
    summary["front"] |= change
    with pytest.raises(InputError, match=words):
        check_summary(summary)


def test_files_lie_where_the_chosen_network_is() -> None:
    summary = example_front_summary()
    summary["files"]["model.onnx"] = "model.onnx"
    with pytest.raises(InputError, match=r"files\['model\.onnx'\] is 'model\.onnx', not 'points/3/model\.onnx'"):
        check_summary(summary)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": 92.0}, r"points\[1\]\.score is 92\.0"),
        ({"score": 0.5}, r"points\[1\]\.score is 0\.5, outside of its interval"),
        ({"loss_bound": 0.0}, r"points\[1\]\.loss_bound is 0\.0, below the loss"),
        ({"folder": "points/1"}, r"front\.points has one folder twice"),
        ({"folder": "../../elsewhere"}, r"front\.points has the folder '\.\./\.\./elsewhere', which is not that of a"),
        ({"latency_interval_s": [1e-3]}, r"points\[1\]\.latency_interval_s has 1 entries, not 2"),
        ({"certified": "yes"}, r"points\[1\]\.certified is 'yes', not true or false"),
    ],
)
def test_what_is_wrong_with_a_point_is_named(change: dict[str, Any], words: str) -> None:
    summary = example_front_summary()
    summary["front"]["points"][1] |= change
    with pytest.raises(InputError, match=words):
        check_summary(summary)
