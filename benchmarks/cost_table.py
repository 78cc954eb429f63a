"""Designs a second that are priced, one core: by a cost table of 50 layers, and networks of a family. Seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import common
import numpy as np
from common import Store, table

if TYPE_CHECKING:
    from netsmith.space import CostTable

LAYERS, DESIGNS = 50, 1_000_000


def main() -> None:
    from netsmith.space import CostTable, Factor

    options = common.parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=7)
    args = options.parse_args()
    store = Store(args.results, "cost_table")
    rng = np.random.default_rng(args.seed)
    rows = []
    for choices in (8, 64):
        unary = rng.random((LAYERS, choices))
        pairs = tuple(Factor((i, i + 1), rng.random((choices, choices))) for i in range(LAYERS - 1))
        for name, costs in (
            ("separable", CostTable(0.0, unary)),
            ("with 49 pairwise factors", CostTable(0.0, unary, pairs)),
        ):
            for kind in (np.uint8, np.int64):
                designs = rng.integers(0, choices, (DESIGNS, LAYERS)).astype(kind)
                settings = {"choices": choices, "name": name, "kind": kind.__name__, "repeats": args.repeats}
                speed = store.cell(
                    f"{name} {choices} {kind.__name__}", settings, lambda c=costs, x=designs: speeds(c, x, args.repeats)
                )
                low, high = np.percentile(speed, [25, 75]) / 1e6
                rows.append([name, choices, kind.__name__, f"{np.median(speed) / 1e6:.2f} ({low:.2f} to {high:.2f})"])
    copied = store.cell("copy", {"repeats": args.repeats}, lambda: copy_rate(args.repeats))
    lines = table(["cost table", "choices a decision", "designs as", "million designs/s"], rows)
    gathers = float(np.median(store.cells["separable 8 uint8"]["value"])) * LAYERS
    notes = [
        f"{LAYERS} decisions, {DESIGNS:,} random designs, median and quartiles of {args.repeats} runs, one core.",
        f"What bounds it: {gathers / 1e6:.0f} million look-ups a second, one a decision and design, in a table that "
        "lies in the cache. Memory is far away: designs as bytes are read at "
        f"{gathers / 1e9:.2f} GB/s, where a plain copy moves {copied / 1e9:.1f} GB/s here.",
    ]
    family = store.cell("family", {"repeats": args.repeats}, lambda: family_rates(args.seed, args.repeats))
    lines += ["", "### The networks of the space `mobile` on `roofline-gpu`", ""]
    lines += table(["how", "networks/s"], [[how, f"{np.median(rates):,.0f}"] for how, rates in family.items()])
    store.fragment("Pricing designs with a cost table", lines, 1, notes)


def speeds(costs: CostTable, designs: np.ndarray, repeats: int) -> list[float]:
    costs.price(designs)
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        costs.price(designs)
        found.append(len(designs) / (time.perf_counter() - start))
    return found


def family_rates(seed: int, repeats: int) -> dict[str, list[float]]:
    """Networks a second: each by rows of its own, a population by rows of all networks, and by the cost table."""
    from netsmith.decisions.pricing import Pricing
    from netsmith.hardware import get_target
    from netsmith.supernets import load_space
    from netsmith.supernets.family import BlockFamily

    family = BlockFamily(load_space("mobile"), 1000)
    pricing = Pricing(family, get_target("roofline-gpu"))
    designs = family.decisions.sample(np.random.default_rng(seed), 4096)
    costs = pricing.table("latency")
    ways: dict[str, tuple[Callable[[np.ndarray], object], int]] = {
        "one after the other": (lambda x: [pricing.total(family.layers(d), "latency") for d in x], 64),
        "a population": (lambda x: pricing.predict(x), 4096),
        "the cost table": (lambda x: costs.price(x), 4096),
    }
    found: dict[str, list[float]] = {}
    for how, (run, count) in ways.items():
        run(designs[:2])
        for _ in range(repeats):
            start = time.perf_counter()
            run(designs[:count])
            found.setdefault(how, []).append(count / (time.perf_counter() - start))
    return found


def copy_rate(repeats: int) -> float:
    source = np.ones(50_000_000 // 8)
    target = np.empty_like(source)
    best = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        np.copyto(target, source)
        best = max(best, 2 * source.nbytes / (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    main()
