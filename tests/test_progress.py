from __future__ import annotations

import io
from itertools import accumulate
from types import SimpleNamespace

import pytest

from netsmith.progress import Lines, Live, Part, Silent, make_progress, training_events
from netsmith.progress.live import _Shown
from netsmith.progress.pace import Pace
from netsmith.progress.plan import Left, Whole
from netsmith.progress.words import clock, roughly, share_done


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
        epoch=2, epochs=3, step=4, steps=10, loss=0.5, score="accuracy 75.00 %", message="retried with half the rate"
    )
    show(event)
    assert seen == [(14, 30, "epoch 2/3, loss 0.500, accuracy 75.00 %")]
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


PARTS = [Part("load", 3, fixed=True), Part("sensitivity", 20), Part("search", 10, loops=True), Part("build", 10),
         Part("fine-tune", 50), Part("test", 10)]  # fmt: skip


def went(whole: Whole, time: Clock, name: str, seconds: float, steps: int = 0) -> None:
    """A stage that begins, reports so many steps, and ends."""
    whole.end()
    whole.begin(name)
    for step in range(1, steps + 1):
        time.now += seconds / steps
        whole.update(step, steps)
    time.now += 0 if steps else seconds


def test_the_time_left_of_the_whole_is_no_wild_number() -> None:
    """On a machine a third as fast as the plan's: nothing before there is a basis, then about right, then right."""
    time, slower = Clock(), 3.0
    whole = Whole(time)
    whole.begin("load")
    whole.plan("compress", PARTS)
    assert whole.title == "stage 1 of 6: load" and whole.left() is None
    time.now += 3
    end = 3 + slower * 100
    said = []
    for part in PARTS[1:]:
        whole.end()
        whole.begin(part.name)
        for step in range(1, 101):
            time.now += slower * part.seconds / 100
            if part.name not in ("build", "search"):
                whole.update(step, 100)
            left = whole.left()
            if left is not None and left.of == "the job":
                said.append((time.now, left.seconds, left.about))
    assert time.now == pytest.approx(end)
    assert said[0][0] < 0.15 * end and not any(about for now, _, about in said if now > 0.95 * end)
    wrong = [(now, s, end - now) for now, s, _ in said if abs(s - (end - now)) > 0.25 * (end - now) + 15]
    assert not wrong


def test_a_stage_that_comes_again_is_counted_once_and_takes_as_long_as_before() -> None:
    time = Clock()
    whole = Whole(time)
    whole.plan("compress", PARTS)
    for name, seconds in (("load", 1.0), ("sensitivity", 10.0), ("search", 40.0), ("build", 5.0), ("fine-tune", 100.0)):
        went(whole, time, name, seconds)
    went(whole, time, "search", 0.0)  # the finished network was over its budget
    assert whole.title == "stage 3 of 6: search"
    left = whole.left()
    assert left is not None and 145 <= left.seconds <= 175
    assert str(Left(150.0, "the job", about=True)) == "about 2 min left of the job"
    went(whole, time, "fine-tune", 50.0, steps=50)
    whole.end()
    whole.begin("a stage that nobody planned")
    assert whole.place == (6, 7)


def test_stages_from_disk_count_as_done_and_larger_jobs_keep_their_count() -> None:
    time = Clock()
    whole = Whole(time)
    whole.begin("starting")
    whole.plan("demo", [Part("train", 10), *PARTS])
    assert whole.place is None  # it is no stage of the plan
    went(whole, time, "train", 20.0)
    went(whole, time, "load", 1.0)
    whole.plan("compress", PARTS)
    assert (whole.job, whole.title) == ("demo", "stage 2 of 7: load")
    went(whole, time, "build", 0.0)  # sensitivity and search were done before
    assert whole.title == "stage 5 of 7: build"
    left = whole.left()
    assert left is not None and left.about and 100 < left.seconds < 170  # twice what the plan says


def test_a_search_that_loops_is_not_almost_done_at_the_end_of_each_pass() -> None:
    time = Clock()
    whole = Whole(time)
    whole.plan("compress", PARTS)
    went(whole, time, "sensitivity", 20.0, steps=40)
    whole.end()
    whole.begin("search")
    for step in range(1, 10):
        time.now += 0.2
        whole.update(step, 9)
    left = whole.left()
    assert left is not None and left.about and 70 < left.seconds < 90


def test_the_live_line_is_one_line_at_any_width() -> None:
    shown = _Shown("compress 3/9 sensitivity", 0.42, "42%", "layer3.2.conv1, loss 0.013", Left(187, "the job"), 5, 0)
    lines = {width: shown.line(width, 7.0, ascii_only=False).plain for width in (20, 60, 80, 100, 200)}
    assert all(len(line) <= width for width, line in lines.items())
    assert lines[20].endswith("…") and "compress 3/9" in lines[20]
    for width in (60, 80, 100, 200):
        assert "compress 3/9 sensitivity " in lines[width] and "42%, 3 min 05 s left of the job" in lines[width]
    assert "layer3.2" in lines[100] and lines[80].count("━") > 10 and lines[200].count("━") == 24
    assert shown.line(100, 7.0, ascii_only=True).plain.isascii()
    unknown = _Shown("baseline", None, "", "", None, 5, 0).line(60, 7.0, ascii_only=False).plain
    assert unknown[1:] == " baseline 7.0 s"  # a sign of life


def test_times_in_words() -> None:
    assert [roughly(s) for s in (3, 44, 107, 1000, 5000, 7300)] == [
        "10 s",
        "40 s",
        "2 min",
        "15 min",
        "1 h 30 min",
        "2 h",
    ]
    assert Left(30.0, "this stage").after(20.0) == Left(10.0, "this stage")
