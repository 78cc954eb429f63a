"""The log of a run: what it says, and that nothing depends on it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from example_summary import example_config, example_summary

from netsmith.errors import InfeasibleError, InputError
from netsmith.progress import Silent, traceback_place
from netsmith.runs.folder import Run

CONFIG = {"job": "compress", "model": "zoo:digits", "data": "digits", "target": "cpu"}


def said(folder: Path) -> list[str]:
    lines = (folder / "log.txt").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
    return [line[21:] for line in lines]


def test_everything_that_was_reported_is_logged_and_appended_on_resume(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Run.create(tmp_path, CONFIG) as run:
        run.pin({})
        progress = run.logged(Silent())
        progress.stage("sensitivity")
        progress.note("warning: a name with\nbreaks and \x1b[31m")
        raise KeyboardInterrupt
    with Run.resume(tmp_path, CONFIG) as run:
        run.logged(Silent()).stage("search")
    assert said(tmp_path) == [
        "compress of zoo:digits, digits, cpu started",
        "sensitivity",
        r"warning: a name with breaks and \x1b[31m",
        "interrupted",
        "compress of zoo:digits, digits, cpu resumed",
        "search",
    ]


def test_the_log_ends_with_what_the_run_came_to(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", example_config()) as run:
        run.logged(Silent())
        run.finish(example_summary(str(tmp_path / "run")) | {"warnings": ["it guesses"]})
        run.summary()  # no part of what is checked
    assert said(tmp_path / "run")[1] == "warning: it guesses"
    assert re.fullmatch(r"finished: latency .* of .* allowed, (not )?met", said(tmp_path / "run")[2])


def test_an_error_that_nobody_foresaw_leaves_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as stop, Run.create(tmp_path, CONFIG) as run:
        run.logged(Silent())
        _ = 1 / 0
    assert traceback_place(stop.value) == str(tmp_path / "log.txt") and traceback_place(ValueError()) is None
    assert said(tmp_path)[1:][0] == "  Traceback (most recent call last):" and "ZeroDivisionError" in said(tmp_path)[-1]
    with pytest.raises(InputError), Run.resume(tmp_path, CONFIG) as run:
        run.logged(Silent())
        raise InputError("the disk is full")
    assert said(tmp_path)[-1] == "error: the disk is full"


def test_a_run_that_is_forgotten_leaves_no_log(tmp_path: Path) -> None:
    with pytest.raises(InputError), Run.create(tmp_path, CONFIG) as run:
        run.logged(Silent()).stage("load")
        run.discard()
        raise InputError("no such network")
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]
    with pytest.raises(InfeasibleError), Run.create(tmp_path, CONFIG) as run:
        run.logged(Silent()).stage("search")
        raise InfeasibleError("too fast", {})
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_nothing_is_written_through_a_link_or_into_a_pipe_and_no_job_fails_for_its_log(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    for place in ("link", "pipe", "folder", "gone"):
        folder = tmp_path / place
        with Run.create(folder, CONFIG) as run:
            log = folder / "log.txt"
            if place == "link":
                log.symlink_to(other)
            elif place == "pipe":
                os.mkfifo(log)
            elif place == "folder":
                log.mkdir()
            progress = run.logged(Silent())
            if place == "gone":
                log.unlink()
            progress.stage("search")
            progress.close()
            assert run.stage("a", lambda: 1) == 1
    assert not other.exists() and said(tmp_path / "gone") == ["search"]
