"""Random option lists through the whole command line, jobs and all: each ends well, or in one sentence.

    python benchmarks/fuzz_options.py --lists 1000

A list that ends in a traceback, in an exit code other than 0, 2 and 3, after more than a minute or above 2 GB is
printed with its seed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
LIMIT_S, LIMIT_BYTES = 60.0, 2_000_000_000


def run(seed: int) -> dict[str, Any]:
    """One list in a folder of its own: exit code, what was printed, seconds and bytes."""
    from netsmith.cli import main
    from option_lists import option_list

    words, out, err, start, code = option_list(seed), io.StringIO(), io.StringIO(), time.monotonic(), None
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main(words)
        except SystemExit as stopped:
            code = stopped.code
        except BaseException as error:
            code = repr(error)[:200]
        os.chdir("/")
    problems = [] if code in (0, 2, 3) else [f"ended with {code}"]
    problems += ["traceback"] if "Traceback" in err.getvalue() else []
    if "--json" in words:
        try:
            json.loads(out.getvalue())
        except ValueError:
            problems.append("no JSON")
    seconds = time.monotonic() - start
    problems += [f"{seconds:.0f} s"] if seconds > LIMIT_S else []
    return {"seed": seed, "words": words, "code": code, "problems": problems, "said": err.getvalue()[-300:]}


def _worker(tasks: Any, results: Any) -> None:
    import torch

    torch.set_num_threads(1)
    while (seed := tasks.get()) is not None:
        found = run(seed)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        results.put(found | {"bytes": most})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--lists", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    args = parser.parse_args()
    context, codes, bad = multiprocessing.get_context("spawn"), collections.Counter[str](), 0
    tasks, results, worker = context.Queue(), context.Queue(), None
    for seed in range(args.first, args.first + args.lists):
        if worker is None or not worker.is_alive():
            tasks, results = context.Queue(), context.Queue()
            worker = context.Process(target=_worker, args=(tasks, results), daemon=True)
            worker.start()
        tasks.put(seed)
        try:
            found = results.get(timeout=2 * LIMIT_S)
        except Exception:  # it hangs or has died
            found = {"seed": seed, "code": "none", "problems": ["no answer"], "words": [], "said": "", "bytes": 0}
            worker.kill()
            worker.join()
        if found["bytes"] > LIMIT_BYTES:
            found["problems"].append(f"{found['bytes'] / 1e9:.1f} GB")
        if found["bytes"] > LIMIT_BYTES * 0.8:  # torch keeps what it had: the next list starts from little
            worker.kill()
            worker.join()
        codes[str(found["code"])] += 1
        if found["problems"]:
            bad += 1
            print(f"seed {seed}: {', '.join(found['problems'])}: {found['words']}\n  {found['said']}", flush=True)
    print(f"{args.lists} lists: {bad} failures; exit codes {dict(codes)}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
