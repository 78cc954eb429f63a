"""Time ONNX files against the first one: ``time_onnx.py BASELINE.onnx MODEL.onnx [..]``. Ten seconds.

Knows nothing of netsmith; needs only onnxruntime and numpy.
"""

from __future__ import annotations

import argparse
import json
import random
import time

import numpy as np
import onnxruntime as ort


def session(path: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5, help="runs in one round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    sessions = [session(f, args.threads) for f in args.files]
    feeds = []
    for s in sessions:
        item = s.get_inputs()[0]
        shape = [d if isinstance(d, int) else 1 for d in item.shape]
        feeds.append({item.name: np.random.default_rng(0).standard_normal(shape, dtype=np.float32)})
    times = np.zeros((args.rounds, len(sessions)))
    order = list(range(len(sessions)))
    for r in range(-10, args.rounds):  # the first ten warm up
        random.shuffle(order)
        for i in order:
            sessions[i].run(None, feeds[i])
            start = time.perf_counter()
            for _ in range(args.runs):
                sessions[i].run(None, feeds[i])
            if r >= 0:
                times[r, i] = (time.perf_counter() - start) / args.runs
    ratios = times / times[:, :1]
    rows = []
    for i, name in enumerate(args.files):
        q = np.percentile(ratios[:, i], [25, 50, 75])
        median = float(np.median(times[:, i]) * 1e3)
        rows.append({"file": name, "median_ms": median, "ratio": q[1], "ratio_quartiles": [q[0], q[2]]})
    if args.json:
        print(json.dumps(rows))
        return
    for row in rows:
        low, high = row["ratio_quartiles"]
        print(f"{row['median_ms']:9.4f} ms  {row['ratio']:.3f} of the first ({low:.3f} to {high:.3f})  {row['file']}")


if __name__ == "__main__":
    main()
