"""The golden script: whether a change of the code changes what the jobs come to, to the last bit.

    python tests/golden.py --out NEW.json                 run the jobs below, write a digest of each of their results
    python tests/golden.py --compare OLD.json NEW.json    say what is equal, differs, was removed or added
    python tests/golden.py --against COMMIT               run that commit and this checkout in turn, and compare

Exits with 1 if anything differs or was removed; what was added is only listed. The jobs are small and run on simulated
targets, so no clock decides. Digests hold on one machine and with one set of installed packages: other processors round
otherwise. The command line is called, and not the Python functions, so one script can run any commit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

COMPRESS = "compress zoo:digits --weights digits.safetensors --data digits --evaluations 4"
#: name of a job's run folder -> its options; in this order, for the first writes the weights that others read
JOBS = {
    "train": "train zoo:digits --data digits --epochs 2 --out digits.safetensors",
    "demo": f"{COMPRESS} --target roofline-edge --latency 0.5x --widths 4 --epochs 1",
    "prune": f"{COMPRESS} --target systolic-eyeriss --latency 0.7x --methods prune --widths 4 --epochs 0",
    "bits": f"{COMPRESS} --target bismo-edge --latency 0.5x --methods quantize --least-bits 4 --epochs 0",
    "joint": f"{COMPRESS} --target bitfusion --latency 0.5x --widths 3 --least-bits 5 --epochs 0",
    "trimming": f"{COMPRESS.removesuffix(' --evaluations 4')} --target systolic-eyeriss --latency 0.8x --methods prune "
    "--strategy netadapt --widths 4 --epochs 0",
    "share": f"{COMPRESS} --target roofline-edge --size 0.2x --methods share --least-bits 3 --epochs 0",
    "specialize": "specialize --space tiny --data digits --target roofline-edge --latency 0.6x --system proxylessnas "
    "--compare multiplier --search-epochs 2 --warmup-epochs 1 --every 1 --epochs 1 --evaluations 20 --train-limit 400",
}

#: keys of JSON files that hold wall-clock times, so that they differ between two runs of the same code
TIMES = (
    "seconds",  # of the sensitivity stage, of an epoch, a training and a search, and in their histories
    "search_seconds",  # in the summary of a specialization, of each system
    "train_seconds",  # likewise, of training what it found
)
#: keys of summary.json that say where and with what it was made, and nothing of the result
ORIGIN = ("run", "versions")
#: keys in the graph of a .pt2 file that say where in the source code a node comes from, and compute nothing
SOURCE = ("nn_module_stack", "torch_fn", "custom", "stack_trace")


def digest(value: Any, without: Sequence[str] = TIMES) -> str:
    """A short digest of bytes, or of a JSON value in which the keys of ``without`` are left out at any depth."""
    content = value if isinstance(value, bytes) else json.dumps(_only(value, without), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _only(value: Any, without: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {key: _only(item, without) for key, item in value.items() if key not in without}
    return [_only(item, without) for item in value] if isinstance(value, list) else value


def digests_of_file(path: Path) -> Iterator[tuple[str, str]]:
    """What is compared of one file of a run: pairs of the name of a part and its digest."""
    if path.suffix == ".json" and path.parent.name == "stages":
        stage = json.loads(path.read_bytes())
        yield (
            "its digest",
            stage["digest"],
        )  # depends on the options: apart, so that it is told from a change of results
        yield from _by_key(stage["value"])
    elif path.name == "summary.json":
        summary = json.loads(path.read_bytes())
        yield from _by_key({key: value for key, value in summary.items() if key not in ORIGIN})
    elif path.name in ("layers.json", "network.json") or path.name.endswith("recipe.json"):
        yield from _by_key(json.loads(path.read_bytes()))
    elif path.suffix == ".onnx":
        yield from _onnx(path)
    elif path.suffix == ".safetensors":
        yield from _safetensors(path)
    elif path.suffix == ".sqlite":
        yield from _tables(path)
    elif path.suffix == ".pt2":
        with zipfile.ZipFile(path) as archive:
            # serialization_id is torch's own checksum of all entries: it changes whenever one is added
            for name in (name for name in archive.namelist() if not name.endswith("/serialization_id")):
                content = archive.read(name)
                yield name, digest(json.loads(content) if name.endswith(".json") else content, SOURCE)
    else:  # of the options, the report and the like, which say the same in words that may change, only the presence
        yield "", digest(path.read_bytes()) if path.suffix == ".nsw" else "present"


def _by_key(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Keys in keys one by one, joined with dots, so that a key that is new somewhere within is told from a change."""
    if isinstance(value, dict) and value:
        for key in (key for key in value if key not in TIMES):
            yield from _by_key(value[key], f"{name}.{key}" if name else key)
    else:
        yield name or "value", digest(value)


def _onnx(path: Path) -> Iterator[tuple[str, str]]:
    """The model without metadata and descriptions, which compute nothing, and the metadata one by one."""
    import onnx

    model = onnx.load(path)
    yield from ((f"metadata {prop.key}", digest(prop.value)) for prop in model.metadata_props)
    del model.metadata_props[:]
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input):
        part.doc_string = ""
    yield "graph", digest(model.SerializeToString(deterministic=True))


def _safetensors(path: Path) -> Iterator[tuple[str, str]]:
    """The tensors, in whatever order they lie in the file, and the metadata of its header one by one."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    yield from ((f"metadata {key}", digest(text)) for key, text in header.pop("__metadata__", {}).items())
    tensors = [
        [name, entry["dtype"], entry["shape"], digest(content[start:][slice(*entry["data_offsets"])])]
        for name, entry in sorted(header.items())
    ]
    yield "tensors", digest(tensors)


def _tables(path: Path) -> Iterator[tuple[str, str]]:
    """Every column of every table of a database, so that a new column is told from other rows."""
    with closing(sqlite3.connect(path)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = database.execute(f'SELECT * FROM "{table}" ORDER BY rowid')
            names = [column[0] for column in rows.description]
            columns = list(zip(*rows)) or [()] * len(names)
            yield from ((f"{table}.{name}", digest(list(column))) for name, column in zip(names, columns))


def run_jobs(source: Path, folder: Path) -> dict[str, str]:
    """Run all jobs.

    Args:
        source: the folder that holds the package ``netsmith`` to run.
        folder: an empty one to work in.

    Returns:
        ``job/file: part`` -> digest.

    Raises:
        SystemExit: a job failed, or Python took ``netsmith`` from elsewhere.
    """
    environment = {**os.environ, "PYTHONPATH": str(source), "NETSMITH_CACHE": str(folder / "cache")}
    environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def python(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"python {' '.join(arguments)}\nexited with {done.returncode}:\n{done.stderr[-4000:]}")
        return done.stdout.strip()

    found = Path(python("-c", "import netsmith; print(netsmith.__file__)")).resolve()
    if not found.is_relative_to(source.resolve()):
        raise SystemExit(f"netsmith comes from {found} and not from {source}; give --source the folder that holds it")
    for name, options in JOBS.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        python("-m", "netsmith", *options.split(), *(() if name == "train" else ("--out", name)))
    return digests_of_folder(folder)


def digests_of_folder(folder: Path) -> dict[str, str]:
    """What is compared of all runs in a folder."""
    paths = [folder / "digits.safetensors", *(path for name in JOBS for path in sorted((folder / name).rglob("*")))]
    return {
        f"{path.relative_to(folder)}: {part}".removesuffix(": "): value
        for path in paths
        # what lies in checkpoints/ is working files; what they come to is in the stages and weights; a log has times
        if path.is_file()
        and not path.name.startswith(".")
        and path.name != "log.txt"
        and "checkpoints" not in path.parts
        for part, value in digests_of_file(path)
    }


def compare(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    """What became of each part: ``equal``, ``differs``, ``removed`` or ``added``."""
    verdicts = {
        part: "removed" if part not in new else "equal" if new[part] == old[part] else "differs" for part in old
    }
    return verdicts | {part: "added" for part in new if part not in old}


def print_comparison(verdicts: dict[str, str]) -> int:
    """Print everything that is not equal, and counts for each job; returns the exit code."""
    for part, verdict in verdicts.items():
        if verdict != "equal":
            print(f"{verdict:8}  {part}")
    words = ("equal", "differs", "removed", "added")
    counts = Counter((part.split("/")[0].split(":")[0], verdict) for part, verdict in verdicts.items())
    print(f"\n{'':20}" + "".join(f"{word:>9}" for word in words))
    for job in dict.fromkeys(job for job, _ in counts):
        print(f"{job:20}" + "".join(f"{counts[job, word]:9}" for word in words))
    return int(any(verdict in ("differs", "removed") for verdict in verdicts.values()))


def against(commit: str, source: Path) -> int:
    """Run ``commit`` and ``source`` in turn on this machine, and compare."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run([*git, "add", "--quiet", "--detach", str(folder / "checkout"), commit], check=True)
        try:
            results = []
            for name, code in (("old", folder / "checkout" / "src"), ("new", source)):
                (folder / name).mkdir()
                results.append(run_jobs(code, folder / name))
        finally:
            subprocess.run([*git, "remove", "--force", str(folder / "checkout")], check=True)
    return print_comparison(compare(*results))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="FILE.json", help="run the jobs and write their digests")
    what.add_argument("--compare", type=Path, nargs=2, metavar=("OLD.json", "NEW.json"), help="compare two such files")
    what.add_argument("--against", metavar="COMMIT", help="run a commit as well, and compare")
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="the code to run [default: this checkout's]")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="with --out: leave the run folders in a new FOLDER")
    given = parser.parse_args()
    if given.compare:
        old, new = (json.loads(path.read_text()) for path in given.compare)
        return print_comparison(compare(old, new))
    source = given.source.resolve()
    if given.against:
        return against(given.against, source)
    if given.keep:
        given.keep.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        digests = run_jobs(source, given.keep.resolve() if given.keep else Path(temporary))
    given.out.write_text(json.dumps(digests, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
