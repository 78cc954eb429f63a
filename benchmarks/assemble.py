"""Put the fragments of all benchmarks together as docs/benchmarks.md. A second."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import gettempdir

ROOT = Path(__file__).resolve().parent.parent
ORDER = (
    "demo_check", "promise", "cifar_curve-cifar_resnet56",
    "cifar_curve-cifar_resnet20", "peers_cifar-cifar_resnet56",
    "peers_cifar-cifar_resnet20", "front", "max_drop-cifar_resnet20", "imagenet_ptq",
    "any_network", "tasks-0.5x", "evaluation_throughput",
    "channel_pruning", "channel_pruning_settled", "streams", "latency_or_macs-cifar_resnet20", "two_targets",
    "joint", "joint_measured", "reconstruction",
    "proxyless", "memory", "supernet_memory",
    "mixed_precision", "second_reward", "ddpg_ablations", "specialization", "size_kmeans", "deep_compression",
    "peers_mixed-cifar_resnet20",
    "bitfusion_speed", "cost_table", "hat_predictor", "cpu_predictor", "roofline_figure", "certificates",
)  # fmt: skip
#: for fragments that are a bare table
HEADINGS = {
    "any_network": "## Any network\n\n"
    "`python benchmarks/any_network.py --json runs/benchmarks/any_network.json "
    "--out runs/benchmarks/any_network.md --limit 43`\n\n"
}
HEADER = """# Benchmarks

Every figure on this page was written by the script named above its table, and the page itself by
`benchmarks/assemble.py`; nothing is typed by hand. Latencies were measured on the device that stands below each table,
both sides in one session; on another machine they will differ, and so will what netsmith chooses. Test data:
`NETSMITH_DATA`, by default `../shared/data` beside the repository.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "runs/benchmarks")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks.md")
    args = parser.parse_args()
    parts, missing = [], []
    for name in ORDER:
        fragment = args.results / f"{name}.md"
        if fragment.is_file():
            text = fragment.read_text().strip()
            parts.append(text if text.startswith("#") else HEADINGS.get(name, f"## {name}\n\n") + text)
        else:
            missing.append(name)
    if not parts:
        raise SystemExit(f"{args.results} has no fragments; run the benchmarks first")
    text = "\n\n".join([HEADER.strip(), *parts]) + "\n"
    local = {str(ROOT.parent), str(Path.home()), gettempdir()} - {"/"}
    if any(f"{folder}/" in text for folder in local):
        raise SystemExit("a fragment names a folder of this machine; repeat it with relative paths")
    args.out.write_text(text)
    print(f"{args.out}: {len(parts)} sections" + (f"; not run: {', '.join(missing)}" if missing else ""))


if __name__ == "__main__":
    main()
