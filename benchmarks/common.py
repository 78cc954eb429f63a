"""What the benchmarks share: where data is, results that survive a kill, timing, and pieces of markdown."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from netsmith.files import to_json, write_atomic

ROOT = Path(__file__).resolve().parent.parent


def data_dir() -> Path:
    """The folder of data sets and pretrained networks: NETSMITH_DATA, or ``../shared/data`` beside the repository."""
    folder = Path(os.environ.get("NETSMITH_DATA", ROOT / "../shared/data")).expanduser()
    if not folder.is_dir():
        sys.exit(f"there is no data folder {folder}; name it in NETSMITH_DATA")
    return folder


@dataclass(frozen=True)
class Network:
    """A network of the benchmarks.

    Attributes:
        spec: MODEL for netsmith.
        dataset: ``digits``, or a folder or file below the data folder.
        weights: file below the data folder; None for fresh weights.
    """

    spec: str
    dataset: str
    weights: str | None = None

    @property
    def data(self) -> str:
        return self.dataset if self.dataset == "digits" else str(data_dir() / self.dataset)

    @property
    def weights_file(self) -> str | None:
        return None if self.weights is None else str(data_dir() / self.weights)


_SAMPLE = "imagenet-sample/even.parquet"
NETWORKS: Mapping[str, Network] = {
    "digits": Network("zoo:digits?channels=64", "digits"),
    "cifar_resnet20": Network("zoo:cifar_resnet20", "cifar10-jpeg", "models/cifar10-resnet20.safetensors"),
    "cifar_resnet56": Network("zoo:cifar_resnet56", "cifar10-jpeg", "models/cifar10-resnet56.safetensors"),
    "plain20": Network("zoo:plain20", "cifar10-jpeg"),
    "mobilenet_v2_cifar": Network("zoo:mobilenet_v2?width=0.5&stem_stride=1", "cifar10-jpeg"),
    "mobilenet_v2_tf": Network("zoo:mobilenet_v2_tf", _SAMPLE, "models/imagenet-mobilenet_v2-folded.safetensors"),
    "squeezenet1_1": Network("zoo:squeezenet1_1", _SAMPLE, "models/imagenet-squeezenet1_1.safetensors"),
    "mobilenetv3_small_100": Network("timm:mobilenetv3_small_100", _SAMPLE),
    "timm_resnet18": Network("timm:resnet18", "cifar10-jpeg"),
}


def allow_torchvision() -> None:
    """Let the torchvision of PyPI import beside a CPU build of torch; timm needs it. The tests do the same."""
    sys.path.insert(0, str(ROOT / "tests"))
    from torchvision_shim import torchvision_works

    if not torchvision_works():
        sys.exit("timm needs torchvision: pip install --no-deps timm torchvision")


def parser(doc: str) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--results", type=Path, default=ROOT / "runs/benchmarks", help="folder of results")
    made.add_argument("--threads", type=int, default=1, help="threads of the deployed network")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--seconds", type=float, default=60.0, help="length of the final timing session")
    return made


def named(pairs: Sequence[str]) -> dict[str, str]:
    """``NETWORK=FILE`` words by network."""
    return dict(pair.split("=", 1) for pair in pairs)


def weights_of(name: str, given: str | None, results: Path, seed: int) -> str | None:
    """Weights of a network: as given, else the pretrained ones; digits is trained here, which takes seconds."""
    if given is not None or name != "digits":
        return given or NETWORKS[name].weights_file
    out = results / "digits.safetensors"
    if not out.is_file():
        from netsmith.jobs.train import train

        train(NETWORKS[name].spec, "digits", epochs=12, out=out, seed=seed)
    return str(out)


class Store:
    """Results of one benchmark: a JSON file of finished cells, rewritten after each, and the fragment made of them."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name, self.path = folder, name, folder / f"{name}.json"
        self.cells: dict[str, Any] = json.loads(self.path.read_text()) if self.path.is_file() else {}

    def cell(self, key: str, settings: Any, compute: Callable[[], Any]) -> Any:
        """The value of a cell, from the file if it was finished with equal settings before."""
        wanted = json.loads(to_json(settings))
        old = self.cells.get(key)
        if old is None or old["settings"] != wanted:
            print(f"{self.name}: {key}", flush=True)
            self.put(key, wanted, compute())
        return self.cells[key]["value"]

    def put(self, key: str, settings: Any, value: Any) -> None:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        self.cells[key] = json.loads(to_json({"settings": settings, "date": date, "value": value}))
        write_atomic(self.path, to_json(self.cells).encode())

    def fragment(self, title: str, lines: Sequence[str], threads: int, notes: Sequence[str] = ()) -> None:
        """Write the piece of docs/benchmarks.md that this benchmark is."""
        from netsmith.hardware.measured.fingerprint import fingerprint
        from netsmith.jobs.versions import versions

        dates = sorted({cell["date"][:10] for cell in self.cells.values()})
        device = fingerprint(threads).to_dict()
        made_with = ", ".join(f"{k} {v}" for k, v in versions().items())
        text = [f"## {title}", "", f"`{command()}`", "", *lines, "", *(f"- {n}" for n in notes)]
        text += [
            f"- Device: {device['processor']}, {device['cores']} cores, {threads} thread(s), {device['os']}; "
            f"{', '.join(str(f) for f in device['flags'])}.",
            f"- Made {' to '.join(dict.fromkeys([dates[0], dates[-1]])) if dates else 'never'} with {made_with}.",
        ]  # fmt: skip
        write_atomic(self.folder / f"{self.name}.md", ("\n".join(text) + "\n").encode())
        print("\n".join(text))


def command() -> str:
    """The command line of this process; of a path outside the repository only the last part is of interest."""
    words = []
    for word in sys.argv[1:]:
        key, equals, rest = word.rpartition("=")
        path = Path(rest)
        if path.is_absolute():
            rest = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        words.append(f"{key}{equals}{rest}")
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join("" if v is None else str(v).replace("|", "/") for v in line) + " |" for line in lines]


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def digest(path: str | Path | None) -> str:
    """What tells one weights file from another."""
    if path is None:
        return "fresh weights"
    return f"{Path(path).name}, sha256 {sha256(Path(path).read_bytes()).hexdigest()[:12]}"


def time_interleaved(models: Mapping[str, str | Path], threads: int, seconds: float, seed: int = 0) -> dict[str, Any]:
    """Time ONNX files round by round in one session; ratios are to the first one.

    Returns:
        Name -> median, undisturbed time and interquartile range in ms, ratio with its 95 % interval, rounds, size of
        the file.
    """
    from netsmith.hardware.measured.timing import time_models

    load = os.getloadavg()[0]
    timed = time_models({k: Path(v) for k, v in models.items()}, threads=threads, seconds=seconds, seed=seed)
    return {
        k: {
            "ms": t.median_s * 1e3, "quiet_ms": t.quiet_s * 1e3, "iqr_ms": t.iqr_s * 1e3,
            "ratio": t.ratio, "ratio_ci": list(t.ratio_ci),
            "rounds": t.n, "bytes": Path(models[k]).stat().st_size, "load": load,
        }
        for k, t in timed.items()
    }  # fmt: skip


def ratio_text(timing: Mapping[str, Any] | None) -> str:
    if not timing:
        return ""
    return f"{timing['ratio']:.3f} ({timing['ratio_ci'][0]:.3f} to {timing['ratio_ci'][1]:.3f})"


def ms_text(timing: Mapping[str, Any] | None) -> str:
    return f"{timing['ms']:.3f} ± {timing['iqr_ms'] / 2:.3f}" if timing else ""


def timing_note(timed: Mapping[str, Any]) -> str:
    first = next(iter(timed.values()))
    return (
        f"Times: ONNX Runtime, batch 1, {len(timed)} files interleaved in random order over {first['rounds']} rounds "
        "of one session; median ± half the interquartile range; ratios within rounds, to the first row, with the 95 % "
        "interval. "
        f"Load average of the machine before: {first['load']:.1f}."
    )


def predictions(model: str | Path, split: Any, normalisation: Any, batch_size: int = 64) -> np.ndarray:
    """Predicted class of every image, by running an ONNX file as its user would."""
    from netsmith.hardware.measured.timing import make_session

    session = make_session(Path(model), threads=os.cpu_count() or 1)
    item = session.get_inputs()[0]
    size = item.shape[0] if isinstance(item.shape[0], int) else batch_size
    found = []
    for x, _ in split.batches(size, normalise=normalisation, channels_last=False):
        n = len(x)
        full = np.concatenate([x.numpy(), np.zeros((size - n, *x.shape[1:]), np.float32)]) if n < size else x.numpy()
        found.append(session.run(None, {item.name: np.ascontiguousarray(full)})[0][:n].argmax(axis=1))
    return np.concatenate(found)


@contextmanager
def clocked(folder: Path) -> Iterator[Callable[[], float]]:
    """Count the seconds of a run; an interrupted one goes on, and its time counts. Yields what tells them."""
    clock, start = folder.parent / f"{folder.name}.seconds", time.perf_counter()
    before = float(clock.read_text()) if clock.is_file() else 0.0
    try:
        yield lambda: float(clock.read_text())
    finally:
        clock.parent.mkdir(parents=True, exist_ok=True)
        clock.write_text(str(before + time.perf_counter() - start))


def run_compress(folder: Path, **options: Any) -> dict[str, Any]:
    """``compress`` into ``folder``, or what it said before; a budget that cannot be met is a result, not an error.

    Returns:
        ``seconds`` that it took, interruptions included, and ``summary``, or ``infeasible`` with ``reachable``.
    """
    from netsmith.errors import InfeasibleError
    from netsmith.jobs.compress import compress
    from netsmith.progress import Lines

    known = folder / "outcome.json"
    wanted = json.loads(to_json(options))
    if known.is_file():
        outcome: dict[str, Any] = json.loads(known.read_text())
        if outcome["options"] != wanted:
            sys.exit(f"{folder} was made with other options; delete it or choose another --runs")
        return outcome
    outcome = {"options": wanted}
    with clocked(folder) as took:
        try:
            outcome["summary"] = compress(out=folder, resume=True, progress=Lines(), **options).summary
        except InfeasibleError as error:
            outcome |= {"infeasible": str(error), "reachable": error.reachable}
    outcome["seconds"] = took()
    write_atomic(known, to_json(outcome))
    return json.loads(known.read_text())
