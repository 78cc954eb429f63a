"""Latency predictors on HAT's measured Transformers: a few hundred rows train, the rest of the 2,000 tests.

Baselines on the same rows: the mean, least squares on the ten features, and a perceptron of the form that HAT uses
(four hidden layers of 400 units). Every cell is one set, number of rows and seed, and is kept, so a killed run goes on.
About a minute and a half of one core a seed, most of it for the perceptron and for the long end of the learning curves.
"""

from __future__ import annotations

import csv
import time
import warnings
from collections.abc import Callable
from itertools import product
from statistics import median
from typing import Any

import common
import numpy as np
from common import Store, percent, table

from netsmith.hardware.predictor import fit_predictor, score

SETS = ("wmt14ende_cpu_raspberrypi", "wmt14ende_gpu_titanxp", "wmt14enfr_cpu_raspberrypi", "iwslt14deen_gpu_titanxp")
FIRST_SEED = 1000  # the splits that the predictors were worked out on had small seeds
RATES, DECAYS = (3e-4, 1e-4), (1e-4, 1.0)
MARKS = "abcd"
Fitted = Callable[[np.ndarray], np.ndarray]


def load(name: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Feature names, features ``(2000, 10)`` and total latency in ms."""
    with (common.data_dir() / "hat-latency" / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [c for c in rows[0] if not c.startswith("latency")]
    x = np.array([[float(r[c]) for c in names] for r in rows])
    return names, x, np.array([float(r["latency_mean_encoder"]) + float(r["latency_mean_decoder"]) for r in rows])


def mean(x: np.ndarray, y: np.ndarray, names: list[str], seed: int) -> Fitted:
    return lambda new: np.full(len(new), y.mean())


def least_squares(x: np.ndarray, y: np.ndarray, names: list[str], seed: int) -> Fitted:
    solution = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), y, rcond=None)[0]
    return lambda new: np.column_stack([np.ones(len(new)), new]) @ solution


def perceptron(x: np.ndarray, y: np.ndarray, names: list[str], seed: int) -> Fitted:
    """Adam on the squared error of standardised values; a part of the rows stops it early and chooses the settings."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    center, scale = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    best = None
    for rate, decay in product(RATES, DECAYS):
        model = MLPRegressor(
            hidden_layer_sizes=(400,) * 4, learning_rate_init=rate, alpha=decay, batch_size=32, early_stopping=True,
            validation_fraction=0.15, n_iter_no_change=15, max_iter=200, random_state=seed,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit((x - center) / scale, (y - y.mean()) / y.std())
        if best is None or model.best_validation_score_ > best.best_validation_score_:
            best = model
    return lambda new: best.predict((new - center) / scale) * y.std() + y.mean()


def ours(x: np.ndarray, y: np.ndarray, names: list[str], seed: int) -> Fitted:
    made = fit_predictor(x, y, "best", names=names, held_out=0, seed=seed, unit="ms")
    return lambda new: np.stack([made.predict(new), made.predict(new, quantile=0.9)])


MODELS: dict[str, Callable[[np.ndarray, np.ndarray, list[str], int], Fitted]] = {
    "mean": mean, "least squares": least_squares, "perceptron, 4 x 400": perceptron, "netsmith": ours,
}  # fmt: skip


def cell(name: str, model: str, rows: int, seed: int) -> dict[str, Any]:
    """Errors on the rows that were not trained on; ``below``: share below the 0.9 quantile."""
    names, x, y = load(name)
    order = np.random.default_rng(FIRST_SEED + seed).permutation(len(y))
    train, test = order[:rows], order[rows:]
    start = time.process_time()
    found = MODELS[model](x[train], y[train], names, seed)(x[test])
    seconds = time.process_time() - start
    result: dict[str, Any] = {"seconds": seconds}
    if found.ndim == 2:
        found, upper = found
        result["below"] = float((y[test] <= upper).mean())
    return result | vars(score(found, y[test]))


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--rows", type=int, default=200, help="rows to train on in the comparison")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--curve", nargs="*", type=int, default=[50, 100, 200, 400, 800, 1600], help="rows")
    options.add_argument("--curve-seeds", type=int, default=3)
    options.add_argument("--curve-models", nargs="+", default=["netsmith", "least squares"], choices=list(MODELS))
    args = options.parse_args()
    store = Store(args.results, "hat_predictor")

    def cells(name: str, model: str, rows: int, seeds: int) -> list[dict[str, Any]]:
        return [
            store.cell(f"{name} {model} {rows} {s}", {"first seed": FIRST_SEED}, lambda s=s: cell(name, model, rows, s))
            for s in range(seeds)
        ]

    head = ["set", "predictor", "MAPE", "of the splits", "Kendall's tau", "of the splits", "within 10 %", "CPU s"]
    lines, below = [], []
    for name in SETS:
        for model in MODELS:
            found = cells(name, model, args.rows, args.seeds)
            lines.append([
                name, model, middle(found, "mape", percent), spread(found, "mape", percent),
                middle(found, "tau", "{:.3f}".format), spread(found, "tau", "{:.3f}".format),
                middle(found, "within_10", percent), middle(found, "seconds", "{:.2f}".format),
            ])  # fmt: skip
            below += [c["below"] for c in found if "below" in c]
    text = table(head, lines)
    rows = sorted(args.curve)
    if rows:
        curves = {
            (name, model): {r: median(c["mape"] for c in cells(name, model, r, args.curve_seeds)) for r in rows}
            for name in SETS
            for model in args.curve_models
        }
        text += ["", f"MAPE on the other rows, by rows to train on; medians over {args.curve_seeds} splits:", ""]
        marks = dict(zip(SETS, MARKS, strict=True))
        text += table(
            ["set", "predictor", *map(str, rows)],
            [[f"{marks[n]} {n}", m, *(percent(v) for v in found.values())] for (n, m), found in curves.items()],
        )
        text += ["", "```", *plot({n: curves[n, args.curve_models[0]] for n in SETS}, args.curve_models[0]), "```"]
    store.fragment(
        "Latency predictors on measured Transformers", text, args.threads,
        [
            f"Medians, least and most over {args.seeds} random splits; latency is encoder plus decoder; trained on "
            f"{args.rows} rows, tested on all others of the 2,000.",
            "netsmith: `fit_predictor(kind=\"best\")` on the ten raw features; products, penalty and kind of model are "
            "chosen by cross-validation on the training rows. It was worked out on other splits of the same four sets.",
            "Perceptron: four hidden layers of 400, ReLU, Adam, squared error of standardised latency, as HAT has it; "
            "15 % of the training rows stop it early and choose its rate and weight decay "
            f"({', '.join(f'{r:g}' for r in RATES)}; {', '.join(f'{d:g}' for d in DECAYS)}).",
            f"Share of test rows below netsmith's 0.9 quantile, the median over all splits: {percent(median(below))}.",
        ],
    )  # fmt: skip


def middle(found: list[dict[str, Any]], key: str, form: Callable[[float], str]) -> str:
    return form(median(c[key] for c in found))


def spread(found: list[dict[str, Any]], key: str, form: Callable[[float], str]) -> str:
    return f"{form(min(c[key] for c in found))} to {form(max(c[key] for c in found))}"


def plot(curves: dict[str, dict[int, float]], title: str, width: int = 60, height: int = 14) -> list[str]:
    """The learning curves as text, both axes logarithmic."""
    rows = sorted({r for c in curves.values() for r in c})
    low = min(v for c in curves.values() for v in c.values())
    high = max(v for c in curves.values() for v in c.values())
    across = np.log(rows[-1] / rows[0]) or 1.0
    up = np.log(high / low) or 1.0
    grid = [[" "] * (width + 1) for _ in range(height + 1)]
    column = {r: round(np.log(r / rows[0]) / across * width) for r in rows}
    for mark, found in zip(MARKS, curves.values(), strict=True):
        for r, value in found.items():
            grid[round(np.log(high / value) / up * height)][column[r]] = mark
    lines = [f"{100 * high * (low / high) ** (i / height):6.2f} % │{''.join(line)}" for i, line in enumerate(grid)]
    axis = [" "] * (width + 6)
    for r in rows:
        axis[column[r] : column[r] + len(str(r))] = str(r)
    return [
        *lines,
        " " * 9 + "└" + "─" * (width + 1),
        " " * 10 + "".join(axis).rstrip(),
        " " * 10 + f"rows to train on; {title}",
    ]


if __name__ == "__main__":
    main()
