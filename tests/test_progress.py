from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from netsmith.progress import Lines, Live, Silent, clock, make_progress, remaining, training_events


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_begin_at_once_and_come_seldom() -> None:
    out, time = io.StringIO(), Clock()
    lines = Lines(out, time)
    lines.stage("sensitivity")
    for i in range(1, 41):
        time.now += 1
        lines.update(i, 80, f"layer {i}")
    lines.stage("search")
    time.now += 0.5
    lines.close()
    assert out.getvalue().splitlines() == [
        "sensitivity",
        "sensitivity: 12%, layer 10, 1 min 10 s left",
        "sensitivity: 25%, layer 20, 1 min 00 s left",
        "sensitivity: 38%, layer 30, 50 s left",
        "sensitivity: 50%, layer 40, 40 s left",
        "sensitivity: done in 40 s",
        "search",
    ]


def test_what_an_error_ends_is_not_called_done() -> None:
    out, time = io.StringIO(), Clock()
    lines = Lines(out, time)
    lines.stage("load")
    time.now += 32
    lines.close(failed=True)
    assert out.getvalue().splitlines() == ["load", "load: stopped after 32 s"]


def test_the_live_line_leaves_notes_behind() -> None:
    from rich.console import Console

    out = io.StringIO()
    live = Live(Console(file=out, force_terminal=True, width=100, legacy_windows=False))
    live.stage("fine-tune")
    live.update(1, 4, "epoch [1]/4")
    live.note("frozen: fc [its outputs are the classes]")
    live.update(2, 4)
    live.close()
    live.update(3, 4)  # after the end: nothing to show, nothing to break
    assert "frozen: fc [its outputs are the classes]" in out.getvalue()
    assert "fine-tune" in out.getvalue()


def test_json_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    progress = make_progress(silent=True)
    assert isinstance(progress, Silent)
    progress.stage("a")
    progress.update(1, 2)
    progress.note("b")
    progress.close()
    assert capsys.readouterr() == ("", "")


def test_training_events_count_steps_of_all_epochs() -> None:
    seen: list[tuple[float, float, str]] = []
    notes: list[str] = []
    target = SimpleNamespace(update=lambda *a: seen.append(a), note=notes.append)
    show = training_events(target)  # type: ignore[arg-type]
    event = SimpleNamespace(
        epoch=2, epochs=3, step=4, steps=10, loss=0.5, search_accuracy=0.75, message="retried with half the rate"
    )
    show(event)
    assert seen == [(14, 30, "epoch 2/3, loss 0.500, accuracy 75.00%")]
    assert notes == ["retried with half the rate"]


def test_time_left() -> None:
    assert remaining(10.0, 1, 5) == 40.0
    assert remaining(1.0, 1, 5) is None  # no pace yet
    assert remaining(10.0, 0, 5) is None
    assert remaining(10.0, 5, 5) is None
    assert remaining(10.0, 1, 0) is None
    assert [clock(s) for s in (0.04, 9.96, 59.6, 3599.6, 7265)] == [
        "0.0 s",
        "10 s",
        "1 min 00 s",
        "1 h 00 min",
        "2 h 01 min",
    ]
