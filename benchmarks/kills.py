"""Kill jobs at random moments, resume them, and compare every file with those of a run that was never killed.

    python benchmarks/kills.py OUT --kills 30 --seed 0

Jobs on the embedded digits: compress on a simulated target, on a latency table from a file, and on this machine with
such a table (budget of MACs, as times differ from run to run); train; specialize on a simulated target. Files must have
the same bytes; from JSON and the metadata of checkpoints, the times that things took are left out, and in what this
machine measures, the times that it measured; the log, which is of times and tells of resumed runs, is not compared.
Last, compress on this machine with no table: stages that were finished before a kill have the same bytes in the end,
and of the table no layer is measured again but those that are due to be repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MODEL = "zoo:digits?channels=16&blocks=1"
SPACE = """
image = 8
stem = 8
stem_stride = 1
head = 32
[[stages]]
channels = 8
blocks = 2
stride = 1
kernels = [3]
[[stages]]
channels = 16
blocks = 2
stride = 2
kernels = [3, 5]
expansions = [3]
"""
COMPRESS = ["compress", MODEL, "--data", "digits", "--epochs", "4", "--seed", "1", "--out", "run"]
JOBS: dict[str, list[str]] = {
    "compress": [*COMPRESS, "--target", "roofline-edge", "--latency", "0.4x"],
    "compress, table of a file": [*COMPRESS, "--target", "table:{shared}/table.json", "--latency", "0.7x"],
    "compress, cpu with a table": [*COMPRESS, "--target", "cpu:table={shared}/table.json", "--macs", "0.5x"],
    "front": [*COMPRESS, "--target", "roofline-edge", "--front", "3"],
    "train": ["train", MODEL, "--data", "digits", "--epochs", "8", "--out", "run/w.safetensors"],
    "specialize": [
        "specialize", "--space", "{shared}/small.toml", "--data", "digits", "--target", "roofline-gpu", "--latency",
        "0.7x", "--search-epochs", "6", "--warmup-epochs", "2", "--epochs", "4", "--every", "1", "--evaluations", "20",
        "--train-limit", "800", "--search-size", "256", "--out", "run",
    ],
}  # fmt: skip
_TIMES = re.compile(r"(.*_)?seconds|check")  #: keys of durations, and of digests over them
_MEASURED = {"latency_measured_s", "timing", "fidelity", "measured_s", "value", "trials", "jitter", "device"}


class Job:
    """Words of a command, and the folder that it runs in."""

    def __init__(self, words: list[str], where: Path, cache: Path) -> None:
        self.where, self.words = where, words
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "NETSMITH_CACHE": str(cache)}
        (where / "run").mkdir(parents=True, exist_ok=True)

    def start(self, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "netsmith", *self.words, *more, "--json"]
        return subprocess.Popen(
            command, cwd=self.where, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def is_working(self) -> bool:
        """Whether there is something of the job's to be destroyed; before that, Python loads."""
        return any((self.where / "run").iterdir())

    def finish(self, *more: str) -> float:
        """Run to the end; seconds from the first file on."""
        process = self.start(*more)
        while not self.is_working() and process.poll() is None:
            time.sleep(0.01)
        start = time.monotonic()
        error = process.communicate()[1]
        if process.returncode not in (0, 3):
            raise SystemExit(f"{' '.join(self.words)} ended with {process.returncode}: {error}")
        return time.monotonic() - start

    def kill_after(self, seconds: float, *more: str) -> bool:
        """Start, and kill so many seconds after its own work begins; False if it was done before."""
        known = self._stamp()
        process = self.start(*more)
        try:
            while self._stamp() == known and process.poll() is None:
                time.sleep(0.005)
            limit = time.monotonic() + seconds
            while time.monotonic() < limit and process.poll() is None:
                time.sleep(0.002)
            return process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            error = process.communicate()[1]
            if process.returncode not in (0, 3, -signal.SIGKILL):
                raise SystemExit(f"{' '.join(self.words)} ended with {process.returncode}: {error}")

    def _stamp(self) -> list[tuple[str, int]]:
        """When the files of the job were written; its lock is renewed first of all."""
        found = []
        for path in (self.where / "run").rglob("*"):
            try:
                found.append((str(path), path.stat().st_mtime_ns))
            except FileNotFoundError:
                continue
        return sorted(found)


def plain(value: Any, leave: frozenset[str] | set[str] = frozenset()) -> Any:
    """A JSON value without durations, and without the keys of ``leave``."""
    if isinstance(value, dict):
        return {k: plain(v, leave) for k, v in value.items() if not _TIMES.fullmatch(k) and k not in leave}
    return [plain(v, leave) for v in value] if isinstance(value, list) else value


def content(path: Path, measured: bool) -> Any:
    """What must be equal of a file."""
    leave = _MEASURED if measured else set[str]()
    data = path.read_bytes()
    if path.suffix == ".json":
        found = json.loads(data)
        if path.name == "artefacts.json":  # these two hold durations, and are compared themselves
            return {k: v for k, v in found.items() if k not in ("summary.json", "search.json")}
        return plain(found, leave)
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as base:
            return base.execute("SELECT * FROM trials ORDER BY id").fetchall()
    if path.suffix == ".safetensors" and "checkpoint" in str(path):
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        meta = header.pop("__metadata__", {})
        return header, {k: plain(json.loads(v)) if k == "netsmith" else v for k, v in meta.items()}, data[8 + size :]
    if path.suffix == ".html":
        return None if measured else re.sub(rb"[\d.]+ (s|ms|min|h)\b", b"", data)
    return data


def differences(one: Path, other: Path, measured: bool) -> list[str]:
    """Names of files of two folders that differ or that one of them lacks; locks and logs are nothing."""
    names = [
        {p.relative_to(f).as_posix() for p in f.rglob("*") if p.is_file() and p.name not in (".lock", "log.txt")}
        for f in (one, other)
    ]
    found = sorted(names[0] ^ names[1])
    return found + [
        n for n in sorted(names[0] & names[1]) if content(one / n, measured) != content(other / n, measured)
    ]


def trial(name: str, out: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """A job whole, and again with kills until there were as many."""
    words, cache = [w.format(shared=out) for w in JOBS[name]], out / "cache"
    slug = re.sub(r"\W+", "-", name)
    whole = Job(words, out / slug / "whole", cache)
    span = whole.finish()
    done, rounds, bad = 0, 0, list[str]()
    while done < kills:
        rounds += 1
        job, parts = Job(words, out / slug / f"round{rounds}", cache), min(kills - done, 6)
        for number in range(parts):
            if not job.kill_after(rng.uniform(0, span * 1.2 / parts), *["--resume"] * (number > 0)):
                break
            done += 1
        job.finish("--resume")
        bad += differences(whole.where / "run", job.where / "run", measured="cpu" in name)
    return {"job": name, "kills": done, "rounds": rounds, "whole_s": round(span, 1), "different": bad}


def measuring(out: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kills while this machine's table is measured: what was finished stays, and no layer is measured for nothing."""
    cache = out / "fresh-cache"
    job = Job([*COMPRESS, "--target", "cpu", "--latency", "0.7x"], out / "measuring", cache)
    kept, changed, lost = [0], list[str](), 0
    for number in range(kills):
        process = job.start(*["--resume"] * (number > 0))
        while sum(len(t["rows"]) for t in tables(cache).values()) <= kept[-1] and process.poll() is None:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 3))
        process.kill()
        process.communicate()
        stages = {p: p.read_bytes() for p in (job.where / "run" / "stages").glob("*.json")}
        known = tables(cache)
        kept.append(sum(len(t["rows"]) for t in known.values()))
        if number + 1 < kills:
            job.kill_after(rng.uniform(0, 3), "--resume")
        else:
            job.finish("--resume")
        changed += [p.name for p, data in stages.items() if p.read_bytes() != data]
        lost += sum(len(remeasured(table, tables(cache)[path])) for path, table in known.items())
    whole = sum(len(t["rows"]) for t in tables(cache).values())
    return {"job": "compress, cpu measured", "kills": 2 * kills - 1, "layers_at_kills": kept[1:], "layers": whole,
            "stages_changed": changed, "layers_lost_or_measured_again": lost}  # fmt: skip


def tables(cache: Path) -> dict[Path, dict[str, Any]]:
    """The latency tables of a cache."""
    return {path: json.loads(path.read_text()) for path in cache.rglob("*.json")}


def remeasured(before: dict[str, Any], after: dict[str, Any]) -> list[list[Any]]:
    """Layers of a table that have gone or have another time, though they were not due to be repeated."""
    times = {tuple(r): s for r, s in zip(after["rows"], after["seconds"], strict=True)}
    again = {tuple(k) for c in before["campaigns"] for k in c.get("again", ())}
    rows = zip(before["rows"], before["seconds"], strict=True)
    return [r for r, s in rows if tuple(r) not in again and times.get(tuple(r)) != s]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="jobs whose names have this word")
    arguments = parser.parse_args()
    out, rng = arguments.out.resolve(), random.Random(arguments.seed)
    out.mkdir(parents=True)
    (out / "small.toml").write_text(SPACE)
    names = [name for name in JOBS if arguments.only in name]  # "measured" is none of them
    if any("table" in name for name in names):
        words = ["targets", "measure", MODEL, "--space", "--out", str(out / "table.json")]
        subprocess.run([sys.executable, "-m", "netsmith", *words], check=True, stdout=subprocess.DEVNULL)
    start, results = time.monotonic(), []
    for i, name in enumerate(names):
        kills = arguments.kills // len(names) + (i < arguments.kills % len(names))
        results.append(trial(name, out, kills, rng))
        print(json.dumps(results[-1]), flush=True)
    if not arguments.only or "measured" in arguments.only:
        results.append(measuring(out, 3, rng))
        print(json.dumps(results[-1]), flush=True)
    print(f"{sum(r['kills'] for r in results)} kills in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
