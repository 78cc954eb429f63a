"""Run an ONNX file on arrays as somebody does who has the file and nothing else: no torch, no netsmith.

    python stranger.py MODEL.onnx FEED.npz OUT.npz

FEED has an array for each input, by the name that the file gives it. The file says names, types and shapes, and in
its metadata what it is for, which is printed.
"""

import json
import sys
import time

import numpy as np
import onnxruntime


def session_of(file: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def input_names(file: str) -> list[str]:
    """Names of the inputs, in order."""
    return [item.name for item in session_of(file).get_inputs()]


def run(file: str, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All outputs by name; a file that has a batch of one size is called with batches of that size."""
    session = session_of(file)
    size = session.get_inputs()[0].shape[0]
    size, n = size if isinstance(size, int) else 128, len(next(iter(feed.values())))
    found = []
    for start in range(0, n, size):  # the last example fills up the last batch
        index = np.arange(start, start + size).clip(max=n - 1)
        values = session.run(None, {item.name: feed[item.name][index] for item in session.get_inputs()})
        found.append([value[: n - start] for value in values])
    names = [item.name for item in session.get_outputs()]
    return {name: np.concatenate(parts) for name, parts in zip(names, zip(*found, strict=True), strict=True)}


def say(file: str) -> None:
    session = session_of(file)
    for what, items in (("takes", session.get_inputs()), ("gives", session.get_outputs())):
        print(what, ", ".join(f"{item.name} {item.type} {item.shape}" for item in items))
    said = session.get_modelmeta().custom_metadata_map
    for key in sorted(said):
        print(key, json.dumps(json.loads(said[key]))[:400])


def seconds(files: list[str], feed: dict[str, np.ndarray], rounds: int = 200) -> list[float]:
    """The time of one example with one thread that other work disturbs little, files by turns."""
    sessions = [session_of(file) for file in files]
    one = {name: value[:1] for name, value in feed.items()}
    took = np.zeros((rounds, len(files)))
    rng = np.random.default_rng(0)
    for r in range(rounds):
        for i in rng.permutation(len(files)):
            for _ in range(5):  # the first runs after another file are slower
                sessions[i].run(None, one)
            start = time.perf_counter()
            for _ in range(5):
                sessions[i].run(None, one)
            took[r, i] = (time.perf_counter() - start) / 5
    return [float(value) for value in np.quantile(took, 0.1, axis=0)]


if __name__ == "__main__":
    model, given, out = sys.argv[1:]
    say(model)
    np.savez(out, **run(model, dict(np.load(given))))
    assert not {"torch", "netsmith"} & set(sys.modules)
