from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from example_summary import HOSTILE, example_config, example_mixed_summary, example_summary

from netsmith.data.feeding import Feeding
from netsmith.errors import InputError
from netsmith.report import write_report
from netsmith.report.figures import command
from netsmith.report.page import render
from netsmith.runs.folder import Run

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Checker(HTMLParser):
    """Collects tags and text, and complains of tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "


def page(summary: dict[str, Any] | None = None) -> Checker:
    checker = Checker()
    checker.feed(render(summary or example_summary(), example_config()))
    checker.close()
    assert not checker.open
    checker.text = re.sub(r"\s+", " ", checker.text)
    return checker


def test_says_how_to_feed_the_network() -> None:
    text = page().text
    for part in (
        "input: float32, batch x 3 x 32 x 24",
        "RGB, 32 high and 24 wide",
        "0 cat, 1 <script>",
        "std 0.25, 0.",
    ):
        assert part in text
    numbers = Feeding((16,), tuple(map(str, range(30))), layout=None).to_dict()
    text = page(example_summary() | {"preprocessing": numbers}).text
    assert "batch x 16 values as they were given" in text and "19 19, ... (30 in all)" in text
    for said in (None, {"input_shape": [3, 32, 24], "classes": ["cat"]}):  # an older netsmith did not say it
        assert "How to feed it" not in page(example_summary() | {"preprocessing": said}).text
    with pytest.raises(InputError, match=r"preprocessing of the summary .* 'scale' is no positive number"):
        page(example_summary() | {"preprocessing": numbers | {"scale": -1}})


def test_says_all_there_is_to_say() -> None:
    text = page().text
    for part in (
        "97.83%", "97.31%", "−0.52 points".replace("−", "-"), "1.92 ms", "930 us", "40.8 M", "Every budget is met",
        "2.06 times as fast, as measured", "latency: 930 us of 960 us", "layer1.0.conv1", "removed", "8 bits",
        "its outputs are the classes", "82 designs", "error 4.5% in the median, 6.9% at worst", "Example CPU",
        "avx512_vnni", "torch 2.13.0", "95 % interval 0.481 to 0.489", "1.92 ms", "outputs differ by 2.1 %",
        "dw, after, 8-bit: 2 MACs/byte, 30 GMAC/s", "depthwise (1)",
    ):  # fmt: skip
        assert part in text, part


def test_command_can_be_pasted_into_a_shell() -> None:
    text = page().text
    assert (
        "netsmith compress 'nets/my net.py:make' --data digits --target cpu --latency 0.5x --size 0.3x "
        "--methods prune,quantize --strategy exact --weights digits.safetensors --lr 0.03 --seed 3 --mean 0.5,0.4 "
        "--threads 1"
    ) in text
    demo = command({"run": "runs/my demo"}, {"job": "demo", "model": "zoo:digits", "data": "digits", "seed": 3})
    assert demo == "netsmith demo --out 'runs/my demo' --seed 3"


def test_one_mark_a_trial_and_one_ring_around_the_chosen_one() -> None:
    summary = example_summary()
    seen = page(summary).seen
    circles = [a["class"] for tag, a in seen if tag == "circle"]
    assert circles.count("chosen") == 1
    assert circles.count("hollow") == 1  # of the roofline
    assert circles.count("dot") == 2 + len(summary["fidelity"]) + 2
    assert [a["class"] for tag, a in seen if tag == "path" and a["class"] != "gap"] == ["hollow"] * 80


def test_colours_mean_kinds_of_layers_in_every_chart() -> None:
    """Elsewhere marks differ by shape: no colour stands for one thing here and for another there."""
    html = render(example_mixed_summary(), example_config())
    meant: dict[str, set[str]] = {}
    for style, name in re.findall(r'<b class="(c\d|ink|soft-mark)">.</b> ([a-z ]+) \(', html):
        meant.setdefault(style, set()).add(name)
    coloured = {style: names for style, names in meant.items() if style.startswith("c")}
    assert all(len(names) == 1 for names in coloured.values()) and len(coloured) == 4, meant
    assert meant["ink"] == {"exact"} and meant["soft-mark"] == {"weights of one layer in fewer bits"}


def test_two_measurements_of_one_network_are_explained() -> None:
    summary = example_summary()
    summary["timing"] |= {"baseline_median_s": 1.99e-3, "session_ratios": [0.48] * 7}
    text = page(summary).text
    assert "before 1.99 ms (half of the rounds within 50.0 us), after 930 us" in text
    assert "1.92 ms before is the network alone, in the quietest of its sessions and before the search" in text
    assert "0.484 of the latency before, 95 % interval 0.481 to 0.489; both in turn, 900 rounds in 7 sessions" in text


def test_facts_have_no_keys_of_files() -> None:
    summary = example_summary() | {"fusion": {"expected": 9, "fused": 9}}
    summary["parity"] |= {"jitter": 0.0}
    text = page(summary).text
    assert "outputs differ by 2.1 % of their spread, the same class for 99 % of the images" in text
    assert "9 of 9 run in integer kernels" in text and "instruction sets avx2, avx512_vnni" in text
    for raw in ("relative_error", "ok True", "jitter", "iqr", "_s ", "expected 9", "session_ratios"):
        assert raw not in text, raw
    mixed = example_mixed_summary() | {
        "fusion": {"expected": 0, "fused": 1},
        "parity": summary["parity"] | {"ok": False},
    }
    text = page(mixed).text
    assert "integer kernels" not in text and "of the images: too much" in text


def test_a_bound_on_sums_is_not_called_one_on_a_loss_that_was_run() -> None:
    summary = example_summary() | {"loss": 0.00112, "bound": 0.00116}
    assert "proven lower bound of that sum 0.00116" in page(summary).text
    text = page(summary | {"additivity": {"n": 16, "spearman": 0.9}}).text
    assert "as run 0.00112" in text and "least sum of losses of single choices, proven 0.00116" in text
    assert "lower bound of that" not in text


def test_trials_with_accuracies_are_drawn_by_accuracy() -> None:
    summary = example_summary()
    for trial in summary["trials"]:
        trial["accuracy"] = 0.9
    assert "accuracy, %" in page(summary).text


def test_needs_no_network_and_no_script() -> None:
    seen = page().seen
    assert not [tag for tag, _ in seen if tag in ("script", "link", "img", "iframe")]
    assert not [a for _, attributes in seen for a in attributes if a in ("src", "href") or a.startswith("on")]
    assert "url(" not in render(example_summary(), example_config())


def test_escapes_what_it_is_given() -> None:
    summary = example_summary(run=f"runs/{HOSTILE}")
    summary["trials"][0]["strategy"] = HOSTILE
    summary["layers"][0]["name"] = HOSTILE
    html = render(summary, example_config() | {"model": HOSTILE})
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 4


def test_does_not_praise_a_network_that_missed_its_budget_or_got_slower() -> None:
    summary = example_summary()
    summary["result"]["latency_measured_s"] = 2.4e-3
    summary["budgets"][0] |= {"value": 2.4e-3, "met": False}
    text = page(summary).text
    assert "Not met: the budget of latency" in text
    assert "not faster (0.80 times, as measured)" in text
    assert "budget is met" not in text


def test_nothing_is_called_measured_on_a_simulated_target() -> None:
    summary = example_mixed_summary()
    latency = {"cost": "latency", "limit": 90e-6, "value": 84e-6, "met": True}
    for more in ([], [latency]):
        summary["budgets"] += more
        text = page(summary).text
        assert "measured" not in text
        assert "2.17 times as fast and 35% of the energy against the network at 8 bits, " in text
        assert "predicted for bismo-edge (simulated); 0.28 points of accuracy lost; 15% of the size." in text
        assert "predicted by target bismo-edge, simulated: the network itself did not run on it" in text
        assert "latency and energy before are those of the network as given at 8 bits" in text
        assert "energy, predicted: 142 uJ of 143 uJ" in text
    assert "Every budget is met, as predicted" in text and "latency, predicted: 84.0 us of 90.0 us" in text
    summary["budgets"].append({"cost": "size", "limit": 1e5, "value": 98_833, "met": True})
    assert "Every budget is met, energy and latency as predicted" in page(summary).text
    summary["budgets"][0] |= {"value": 0.2e-3, "met": False}
    assert "Not met: the budget of energy (predicted)" in page(summary).text


def test_a_figure_that_nobody_measured_is_not_called_measured() -> None:
    summary = example_summary() | {"timing": {}, "fidelity": []}
    for side in ("baseline", "result"):
        summary[side]["latency_measured_s"] = None
    text = page(summary).text
    assert "2.07 times as fast, predicted for cpu; 0.52 points" in text
    assert "latency, measured not measured not measured" in text
    assert "latency, predicted: 930 us of 960 us" in text


def test_trials_stand_over_the_cost_that_has_the_budget() -> None:
    summary = example_mixed_summary()
    text = page(summary).text
    assert (
        "energy, predicted, µJ" in text and "weights of one layer in fewer bits: loss 0.001, 390 uJ predicted" in text
    )
    summary["budgets"][0] = {"cost": "latency", "limit": 90e-6, "value": 84e-6, "met": True}
    text = page(summary).text
    assert "latency, predicted, µs" in text and "loss 0.001, 170 us predicted" in text
    assert "energy, predicted, µJ" not in text


def test_layers_say_both_widths_and_which_of_them_are_simulated() -> None:
    text = page(example_mixed_summary()).text
    assert "32 of 32 channels, w4 a3, simulated" in text
    assert "32 of 32 channels, 5 bits, simulated" in text
    assert "32 of 32 channels, 8 bits linear" not in text and "32 of 32 channels, 8 bits, simulated" not in text
    assert "4 layers have widths that are stored in 8 bits in model.onnx: simulated." in text
    assert "no choice of bits: the first and the last layer keep the widest stem, fc" in text
    assert "simulated" not in page().text  # 8 bits are what the file has


def test_many_roofs_do_not_write_over_each_other() -> None:
    summary = example_mixed_summary()
    summary["roofline"]["roofs"] += [
        {"bits": [w, a], "macs_per_s": 64 * 5e10 / (w * a), "bytes_per_s": 2e9}
        for w in range(2, 9)
        for a in range(2, 9)
    ]
    checker = page(summary)
    names = [float(a["y"] or "nan") for _, a in checker.seen if a.get("class") == "roof-name"]
    assert names and all(abs(p - q) > 11 for i, p in enumerate(names) for q in names[:i])
    assert "w7 a2" in checker.text  # as the text of its line


def test_a_tolerance_is_stated() -> None:
    summary = example_summary()
    summary["budgets"][0] |= {"value": 0.97e-3, "met": True, "tolerance": 0.03}
    assert "within the 3% by which repeated measurements differ" in page(summary).text


def test_shows_what_there_is_of_a_bare_summary() -> None:
    keep = ("baseline", "result", "budgets", "design", "frozen", "seed", "versions", "run")
    summary = {k: v for k, v in example_summary().items() if k in keep} | {"frozen": {}}
    checker = page(summary)
    assert "Nothing: every layer could change." in checker.text
    assert "svg" not in [tag for tag, _ in checker.seen]


@pytest.mark.parametrize("losses", [[0.0, 0.0], [1e-9, 5.0, 300.0, 0.0, -0.001, 1e-8, 1e-7], [0.3]])
def test_plots_any_spread_of_losses(losses: list[float]) -> None:
    summary = example_summary()
    summary["trials"] = [{"strategy": "exact", "loss": v, "latency_s": 1e-3, "measured": True} for v in losses]
    circles = [a for tag, a in page(summary).seen if tag == "circle"]
    for circle in circles:
        assert 0 <= float(circle["cx"] or "nan") <= 520
        assert 0 <= float(circle["cy"] or "nan") <= 340
    assert len(circles) == len(losses) + len(summary["fidelity"]) + len(summary["roofline"]["layers"])


def test_written_into_the_run_folder_and_small(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Run.create(folder, example_config()) as run:
        run.finish(example_summary(str(folder)))
    path = write_report(folder)
    assert path == folder / "report.html"
    assert path.stat().st_size < 200_000


def test_an_unfinished_run_has_no_report(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", {}).close()
    with pytest.raises(InputError, match=r"not finished, it has no summary\.json; .*--resume"):
        write_report(tmp_path / "run")


def test_the_family_of_a_trimming_is_drawn_by_what_each_network_gained() -> None:
    assert "Step by step" not in page().text
    family = [
        {"speed_up": {"latency": 1.0 + 0.2 * i}, "loss": 0.01 * i, "recipe": f"family/{i}.json", "weights": None}
        for i in range(5)
    ]
    seen = page(example_summary() | {"family": family, "rule": "ratio"})
    assert "Step by step" in seen.text and "5 networks" in seen.text and "5 have a recipe" in seen.text
    assert (
        "the least loss for each saved share won" in seen.text and "latency as given / latency (achieved)" in seen.text
    )
    without = [a["class"] for tag, a in page().seen if tag == "circle"]
    circles = [a["class"] for tag, a in seen.seen if tag == "circle"]
    assert circles.count("dot") == without.count("dot") + len(family)
    assert circles.count("chosen") == without.count("chosen") + 1


def test_texts_of_a_million_letters_are_cut(tmp_path: Path) -> None:
    summary, config = example_summary(str(tmp_path / "run")), example_config()
    with Run.create(tmp_path / "run", config) as run:
        for row in summary["layers"]:
            row["name"] = "<b>" + "n" * 10**5
        run.finish(summary | {"warnings": ["w" * 10**6], "frozen": {"f" * 10**6: "r" * 10**6}})
    assert write_report(tmp_path / "run").stat().st_size < 200_000
