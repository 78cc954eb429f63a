"""Thousands of damaged files through every door: each is read, or refused in one short line.

    python benchmarks/fuzz.py                         2,000 files a door, every door
    python benchmarks/fuzz.py --door "space TOML"     one door
    python benchmarks/fuzz.py --door NAME --seed 7    one file again, with its traceback

Doors are registered in ``tests/doors``. Files are opened one after the other in a process of their own, which is ended
when a file takes more than 60 s or 2 GB. What came of each is kept in ``fuzz.jsonl``, so that a run that was stopped
goes on where it was. A failure is a traceback, a message of several or endless lines, or more time or memory than that.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import time
import tomllib
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SECONDS, MEGABYTES = 60.0, 2000.0
_SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
sys.path[:0] = [str(ROOT / folder) for folder in _SETTINGS["pythonpath"]]  # where the suite finds its helpers


def work(name: str, seeds: list[int], report: int) -> None:
    """Open a door with the files of some seeds, and report a line for each to the file descriptor ``report``."""
    from doors import attempt, doors

    door = doors()[name]
    door.files()
    warnings.simplefilter("ignore")
    with os.fdopen(report, "w", buffering=1) as lines:
        lines.write("{}\n")  # ready: imports and valid files are not counted
        for seed in seeds:
            Path("/proc/self/clear_refs").write_text("5")  # peak memory is that of this file
            start, failure = time.perf_counter(), ""
            try:
                said = attempt(door, seed)
            except BaseException as error:
                said, failure = "", f"{type(error).__name__}: {error}"[:300] + f" at {_place(error)}"
            seconds, peak = time.perf_counter() - start, _peak_megabytes()
            if peak > MEGABYTES:
                failure = f"too big: {peak:.0f} MB"
            found = {"seed": seed, "said": said, "failure": failure, "seconds": round(seconds, 3), "mb": round(peak)}
            lines.write(json.dumps(found) + "\n")


def supervise(name: str, seeds: list[int], out: Path) -> None:
    """Have workers try all seeds; one that hangs, grows or dies is replaced, and its file is a failure."""
    while seeds:
        receive, send = os.pipe()
        command = [sys.executable, __file__, "--door", name, "--worker", str(send), "--seeds", json.dumps(seeds)]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, pass_fds=(send,), stdin=quiet, stdout=quiet, stderr=quiet) as process:
            os.close(send)
            failure = ""
            with os.fdopen(receive, "rb", buffering=0) as lines, out.open("a") as kept:
                rest, last, ready = b"", time.monotonic(), False
                while not failure:
                    if select.select([lines], [], [], 0.2)[0]:
                        chunk = lines.read(65536)
                        if not chunk:
                            break
                        *whole, rest = (rest + chunk).split(b"\n")
                        for line in whole:
                            found, last = json.loads(line), time.monotonic()
                            if found:
                                seeds.remove(found["seed"])
                                kept.write(json.dumps({"door": name, **found}) + "\n")
                            ready = True
                    elif ready and time.monotonic() - last > SECONDS:
                        failure = f"too slow: more than {SECONDS:g} s"
                    elif ready and _resident_megabytes(process.pid) > MEGABYTES:
                        failure = f"too big: more than {MEGABYTES:g} MB"
                if failure:
                    process.kill()
                code = process.wait()
                if not ready:
                    raise SystemExit(f"the door {name} has no valid files: run it with --seed 0")
                if seeds:
                    by = signal.Signals(-code).name if code < 0 else code
                    lost = {"seed": seeds.pop(0), "said": "", "failure": failure or f"ended by {by}"}
                    kept.write(json.dumps({"door": name, **lost}) + "\n")


def summary(name: str, rows: list[dict[str, Any]]) -> str:
    """One line on a door, and one for each kind of failure."""
    failed = [r for r in rows if r["failure"]]
    accepted = sum(r["said"] == "accepted" for r in rows)
    slowest, largest = (max((r.get(k, 0) for r in rows), default=0) for k in ("seconds", "mb"))
    kinds = Counter(r["failure"].rpartition(" at ")[2] for r in failed)
    lines = [
        f"{name:24} {len(rows):6} files  {accepted:6} accepted  {len(rows) - accepted - len(failed):6} refused  "
        f"{len(failed):4} failures   slowest {slowest:.1f} s, largest {largest:.0f} MB"
    ]
    for kind, count in kinds.most_common():
        first = next(r for r in failed if r["failure"].rpartition(" at ")[2] == kind)
        lines.append(f"    {count}x seed {first['seed']}: {first['failure']}")
    return "\n".join(lines)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "netsmith" in Path(f.filename).parts] or frames
    return f"{'/'.join(Path(own[-1].filename).parts[-2:])}:{own[-1].lineno}"


def _peak_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def _resident_megabytes(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, IndexError):
        return 0.0  # it has ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--door", action="append", help="name of a door; all of them by default")
    parser.add_argument("--files", type=int, default=2000, help="how many a door")
    parser.add_argument("--seed", type=int, help="try this one file here, with its traceback")
    parser.add_argument("--out", type=Path, default=Path("fuzz.jsonl"), help="what came of each file")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if given.worker is not None:
        return work(given.door[0], given.seeds, given.worker)

    from doors import attempt, doors

    names = given.door or sorted(doors())
    if unknown := set(names) - set(doors()):
        raise SystemExit(f"no door {', '.join(unknown)}; there are {', '.join(sorted(doors()))}")
    if given.seed is not None:
        return print(attempt(doors()[names[0]], given.seed))
    given.out.touch()
    for name in names:
        done = {(r["door"], r["seed"]) for r in map(json.loads, given.out.read_text().splitlines())}
        supervise(name, [s for s in range(given.files) if (name, s) not in done], given.out)
        rows = [r for r in map(json.loads, given.out.read_text().splitlines()) if r["door"] == name]
        print(summary(name, rows), flush=True)
    return None


if __name__ == "__main__":
    main()
