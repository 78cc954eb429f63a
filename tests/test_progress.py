from __future__ import annotations

import io
from itertools import accumulate
from types import SimpleNamespace

import pytest

from netsmith.progress import Lines, Live, Silent, make_progress, training_events
from netsmith.progress.pace import Pace
from netsmith.progress.words import clock, share_done


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
        "sensitivity: 37%, layer 30, 50 s left",
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


def estimates(times: list[float], total: int | None = None) -> list[tuple[float, float]]:
    """Of a stage whose items take ``times``: what was said to be left, over what was, after each item but the last."""
    ends, pace, all_ = list(accumulate(times)), Pace(0.0), total or len(times)
    left = [(pace.left(end, i, all_), ends[-1] - end) for i, end in enumerate(ends[:-1], 1)]
    return [(said, was) for said, was in left if said is not None]


def test_a_slow_first_item_says_nothing_of_the_whole_stage() -> None:
    """A stage of 65 s was said to take 1 h 44 min, as its first item took 2 s and the other 3000 took 20 ms."""
    for first in (2.1, 10.0, 45.0):
        said = estimates([first, *[0.02] * 3000])
        assert said and max(s for s, _ in said) < 65.0
        assert all(abs(s - was) <= 0.1 * was + 0.5 for s, was in said)
    warm = estimates([*[2.0] * 5, *[0.02] * 3000])  # several slow ones: off by a factor of three at most, then right
    assert max(s for s, _ in warm) < 180 and abs(warm[-100][0] - warm[-100][1]) < 0.5


def test_time_left() -> None:
    assert all(s == pytest.approx(was) for s, was in estimates([1.0] * 80)) and len(estimates([1.0] * 80)) > 70
    slower = estimates([*[0.1] * 100, *[1.0] * 100])  # the pace follows the later half
    assert slower[-20][0] == pytest.approx(slower[-20][1], rel=0.3)
    pace = Pace(0.0)
    assert pace.left(10.0, 1, 5) is None  # one item is no pace
    assert pace.left(20.0, 2, 5) == pytest.approx(30.0)
    assert pace.left(21.0, 5, 5) is None and pace.left(21.0, 1, 0) is None and pace.left(22.0, 0, 5) is None
    assert pace.left(30.0, 1, 5) is None  # another pass: a pace of its own
    assert pace.left(31.0, 2, 5) == pytest.approx(3.0)
    assert [share_done(d, 3000) for d in (0, 1110, 2999, 3000, 3001)] == ["0%", "37%", "99%", "100%", "100%"]
    assert [clock(s) for s in (0.04, 9.96, 59.6, 3599.6, 7265)] == [
        "0.0 s",
        "10 s",
        "1 min 00 s",
        "1 h 00 min",
        "2 h 01 min",
    ]
