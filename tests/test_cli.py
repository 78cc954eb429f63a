"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from example_summary import example_config, example_summary

from netsmith import cli
from netsmith.errors import InfeasibleError, InputError
from netsmith.jobs.result import Result
from netsmith.progress import Silent
from netsmith.runs.folder import Run

COMMANDS = ("train", "profile", "compress", "explore", "specialize", "targets", "compare", "report", "export", "demo")


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(words))
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, re.sub(r"\s+", " ", err).strip()


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a function in the place of a job, so that no test of the options has to wait for torch."""

    def put(name: str, function: Any) -> None:
        module = types.ModuleType(f"netsmith.jobs.{name}")
        setattr(module, name, function)
        monkeypatch.setitem(sys.modules, f"netsmith.jobs.{name}", module)

    return put


@pytest.fixture
def finished(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "run"
    summary = example_summary(str(folder))
    with Run.create(folder, example_config()) as run:
        run.finish(summary)
    return summary


def test_help_comes_at_once_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom netsmith.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'scipy', 'datasets', 'sklearn', 'jinja2', 'sqlite3'}\n"
        "if found := heavy & set(sys.modules): sys.exit(f'imported: {found}')\n"
        "if len(sys.modules) > 600: sys.exit(f'{len(sys.modules)} modules')"  # 321, which take 0.2 s
    )
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_and_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, command, "--help")
    assert code == 0
    assert "--json" in out
    assert f"netsmith {command}" in out.partition("Example:")[2]


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert "compress" in call(capsys)[1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from netsmith import __version__

    assert call(capsys, "--version") == (0, f"netsmith {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compress", "m", "--data", "d", "--latencyy", "1ms"], "error: no such option: --latencyy"),
        (["comprss"], "error: no such command 'comprss'"),
        (["compress", "--data", "d"], "error: missing argument 'MODEL'"),
        (["profile", "zoo:x", "--batch", "0"], "error: invalid value for '--batch'"),
        (
            ["export", "r", "--format", "tflite"],
            "error: invalid value for '--format': 'tflite' is not one of 'onnx', 'pt2'",
        ),
        (["compress", "m", "--data", "d"], "error: there is no budget: give one of --latency"),
        (["compress", "m", "--data", "d", "--latency", "3"], "error: 3 has no unit: write 3ms"),
        (["compress", "m", "--data", "d", "--macs", "0.5x", "--mean", "a,b"], "error: --mean 'a,b' cannot be read"),
        (["profile", "zoo:x", "--input", "3,a"], "error: the input shape '3,a' cannot be read"),
        (["report", "nowhere"], "error: nowhere is no run folder"),
        (["profile", "zoo:x", "--bits", "8", "--bits=4"], "error: --bits is given twice; give it once"),
        (["compress", "m.py:n", "--data", "d", "--macs", "0.5x"], "error: there is no file m.py for MODEL"),
        (["profile", __file__], f"error: MODEL {__file__!r} is a file alone; write {__file__}:NAME"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, *words)
    assert code == 2
    assert out == ""
    assert err.startswith(message)
    assert "Traceback" not in err
    code, out, err = call(capsys, *words, "--json")
    answer = json.loads(out)
    assert code == answer["exit_code"] == 2
    assert f"error: {answer['error']}".startswith(message)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--bits", "0"], "'--bits': it must be at least 1"), (["--bits", "64"], "'--bits': it must be at most 32"),
        (["--threads", "x"], "'--threads': it must be a whole number"), (["--batch", "0"], "it must be at least 1"),
        (["--batch", "99999999999999999999"], "it must be at most"), (["--threads", "9999999"], "it must be at most"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_said_in_plain_words(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, "profile", "zoo:x", *words)
    assert code == 2 and says in err and err.endswith("see `netsmith profile --help`") and "Input should" not in err


def test_usage_errors_say_which_help_to_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "profile", "zoo:x", "--nope")[2].endswith("see `netsmith profile --help`")


def test_an_infeasible_budget_exits_3_with_what_is_reachable(job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def compress(*_: Any, **__: Any) -> None:
        raise InfeasibleError("the latency budget of 1 us cannot be met; raise --latency", {"latency": 2e-5})

    job("compress", compress)
    words = ["compress", "zoo:x", "--data", "digits", "--latency", "1us"]
    code, out, err = call(capsys, *words)
    assert (code, out) == (3, "")
    assert "error: the latency budget of 1 us cannot be met; raise --latency" in err
    code, out, _ = call(capsys, *words, "--json")
    assert json.loads(out) == {
        "error": "the latency budget of 1 us cannot be met; raise --latency", "exit_code": 3,
        "reachable": {"latency": 2e-5},
    }  # fmt: skip


def test_ctrl_c_says_how_to_go_on(job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def compress(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    job("compress", compress)
    code, _, err = call(capsys, "compress", "zoo:x", "--data", "digits", "--latency", "0.5x")
    assert code == 130
    assert err.endswith("interrupted; continue with --resume")
    assert "Traceback" not in err


def test_ctrl_c_names_no_option_that_a_command_lacks(job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for name, words in (("profile", ["profile", "zoo:x"]), ("measure", ["targets", "measure", "zoo:x"])):
        job(name, stopped)
        code, _, err = call(capsys, *words)
        assert code == 130 and err.endswith("interrupted; repeat the command; layers that were measured are kept")


def test_compress_hands_on_what_was_said(
    job: Any, finished: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def compress(**options: Any) -> Result:
        seen.update(options)
        options["progress"].note("frozen: fc")
        return Result.of_run(finished["run"], finished)

    job("compress", compress)
    (weights := tmp_path / "w.pth").touch()
    words = "compress zoo:r20 --data digits --latency 0.5x --macs 30M --mean 0.5,0.25 --std 1,1 --seed 7"
    code, out, err = call(capsys, *words.split(), "--weights", str(weights))
    assert code == 0, err
    assert (seen["model"], seen["data"]) == ("zoo:r20", "digits")
    assert (seen["latency"], seen["macs"], seen["size"], seen["energy"]) == ("0.5x", "30M", None, None)
    assert (seen["weights"], seen["mean"], seen["seed"], seen["resume"]) == (str(weights), (0.5, 0.25), 7, False)
    assert seen["out"].as_posix() == "runs/zoo-r20"
    assert "Every budget is met" in out
    assert "frozen: fc" in err  # progress is no part of the result
    assert (Path(finished["run"]) / "report.html").exists()


def test_json_is_the_summary_and_nothing_else(
    job: Any, finished: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    job("compress", lambda *_, **__: Result.of_run(finished["run"], finished))
    code, out, err = call(capsys, "compress", "zoo:x", "--data", "digits", "--latency", "0.5x", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((Path(finished["run"]) / "summary.json").read_text())
    assert err == ""


def test_figures_are_shown_though_no_report_can_be_written(
    job: Any, finished: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(finished["run"]) / "report.html").mkdir()
    job("compress", lambda **_: Result.of_run(finished["run"], finished))
    code, out, err = call(capsys, "compress", "zoo:x", "--data", "digits", "--latency", "0.5x")
    assert code == 2 and "Every budget is met" in out and "report.html is a folder" in err


def test_a_missed_budget_exits_3(job: Any, finished: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    finished["budgets"][0] |= {"value": 1e-3, "met": False}
    job("compress", lambda *_, **__: Result.of_run(finished["run"], finished))
    code, out, _ = call(capsys, "compress", "zoo:x", "--data", "digits", "--latency", "0.5x")
    assert code == 3
    assert "Not met: the budget of latency" in out


def test_report_of_a_finished_run(finished: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "report", finished["run"])
    assert code == 0
    assert Path(out.strip()).read_text().startswith("<!doctype html>")


def test_targets_in_both_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NETSMITH_CACHE", str(tmp_path))  # what this machine measured before is not under test
    code, out, _ = call(capsys, "targets")
    assert code == 0
    assert "latency, measured" in next(line for line in out.splitlines() if line.startswith("cpu"))
    rows = {row["name"]: row for row in json.loads(call(capsys, "targets", "--json")[1])["targets"]}
    assert rows["cpu"]["measured"] is True
    assert {"8x8", "32x32"} <= set(rows["cpu"]["bits"])


def test_the_command_of_a_report_is_one_that_is_understood(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    from netsmith.report.figures import command

    seen: dict[str, Any] = {}

    def compress(*words: Any, **options: Any) -> None:
        seen.update(options)
        raise InputError("far enough")

    job("compress", compress)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    for name in ("nets/my net.py", "digits.safetensors"):
        (tmp_path / name).touch()
    line = command({}, example_config() | {"image_size": 32, "label_column": "fine", "train_limit": 9, "search_size": 4,
                                           "importance": "l1", "calibration": "mse", "std": [1.0, 2.0],
                                           "reconstruct": False})  # fmt: skip
    assert line is not None
    assert call(capsys, *shlex.split(line)[1:])[2].endswith("error: far enough")
    assert (seen["methods"], seen["latency"], seen["std"], seen["lr"]) == ("prune,quantize", "0.5x", (1.0, 2.0), 0.03)
    assert seen["reconstruct"] is False and seen["importance"] == "l1"


@pytest.mark.parametrize("name", ["train", "profile", "compress", "compare", "export", "demo"])
def test_jobs_take_what_the_commands_give(name: str, job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Binds the arguments of each command to the signature of the real job."""
    module = importlib.import_module(f"netsmith.jobs.{name}")
    signature = inspect.signature(getattr(module, name))
    bound: list[inspect.BoundArguments] = []

    def stand_in(*words: Any, **options: Any) -> None:
        bound.append(signature.bind(*words, **options))
        raise InputError("far enough")

    job(name, stand_in)
    words = {
        "train": "zoo:x --data digits --out x.safetensors", "profile": "zoo:x", "compare": "a b", "export": "a",
        "compress": "zoo:x --data digits --latency 0.5x", "demo": "",
    }  # fmt: skip
    code, _, err = call(capsys, name, *words[name].split())
    assert bound, err
    assert code == 2


def test_targets_takes_several_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from netsmith.jobs import compare

    seen: list[Any] = []

    def job(runs: list[str], **options: Any) -> dict[str, Any]:
        seen.append((runs, options["targets"]))
        return {"rows": []}

    monkeypatch.setattr(compare, "compare", job)
    for words in (["a", "b", "--targets", "x", "y", "z", "--json"], ["--targets", "x", "--json", "a"], ["a", "--json"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["compare", *words])
        assert stopped.value.code == 0
    assert seen == [(["a", "b"], ["x", "y", "z"]), (["a"], ["x"]), (["a"], [])]


@pytest.mark.parametrize("command", ["train", "compress", "specialize"])
def test_order_of_classes_and_pixel_range_reach_the_job(
    command: str, job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (names := tmp_path / "c.txt").touch()
    seen: dict[str, Any] = {}

    def stop(*_: Any, **options: Any) -> None:
        seen.update(options)
        raise InputError("seen")

    job(command, stop)
    words = [command, *(["zoo:digits"] if command != "specialize" else []), "--data", "digits", "--classes", str(names)]
    words += ["--out", "w.safetensors"] if command == "train" else ["--macs", "0.5x", "--out", "r"]
    assert call(capsys, *words, "--pixel-range", "-1000,3071")[0] == 2
    assert seen["classes"] == str(names) and seen["pixel_range"] == (-1000.0, 3071.0)
    code, _, err = call(capsys, *words, "--pixel-range", "wide")
    assert code == 2 and "--pixel-range 'wide' cannot be read: write two numbers, the lower first" in err


def test_names_of_files_that_are_no_text_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "report", os.fsdecode(b"/nowhere/\xff"))
    assert code == 2 and err.startswith("error: the run /nowhere/") and err.encode()


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("a\x1b[31m\n" + "b" * 10**6), "RuntimeError: a\\x1b[31m"), (MemoryError(), "MemoryError;"),
        (RecursionError("deep"), "RecursionError: deep;"), (_Unspeakable(), "_Unspeakable;"),
    ],
)  # fmt: skip
def test_what_nobody_foresaw_is_one_sentence_and_a_file(
    error: BaseException, says: str, job: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def raises(*args: Any, **options: Any) -> None:
        raise error

    job("profile", raises)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = call(capsys, "profile", "zoo:x")
    assert (code, out) == (70, "")
    assert says in err and "please report it" in err and "Traceback" not in err and len(err) < 600
    (kept,) = tmp_path.iterdir()
    assert str(kept) in err and type(error).__name__ in kept.read_text() and "in raises" in kept.read_text()
    kept.unlink()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))  # as where the disk is full
    code, out, err = call(capsys, "profile", "zoo:x", "--json")
    assert code == json.loads(out)["exit_code"] == 70
    assert "no file could be written for the traceback" in err


def test_what_nobody_foresaw_in_a_run_lies_in_its_folder(
    finished: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, job: Any
) -> None:
    folder = Path(finished["run"])

    def resumes(*args: Any, **options: Any) -> None:
        with Run.resume(folder, example_config()) as run:
            run.logged(Silent())
            raise ZeroDivisionError("1 / 0")

    job("profile", resumes)
    code, _, err = call(capsys, "profile", "zoo:x")
    assert code == 70 and f"if a file in {folder} was edited" in err
    assert "ZeroDivisionError: 1 / 0" in (folder / "log.txt").read_text()
