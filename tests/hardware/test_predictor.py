"""Predictors of latency from feature vectors: skill, honesty of the metrics, margins, files."""

from __future__ import annotations

import csv
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware.predictor import Predictor, fit_predictor, score
from netsmith.hardware.predictor.metrics import upper_margin
from netsmith.hardware.predictor.mlp import MlpOptions, fit_mlp, predict_mlp
from netsmith.hardware.predictor.ridge import RidgeOptions, fit_ridge, hub, predict_ridge
from netsmith.hardware.predictor.trees import TreeOptions, drawn_in, fit_trees, predict_trees

DATA = Path(os.environ.get("NETSMITH_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "hat-latency"
NAMES = ["width", "depth", "ffn", "heads"]


def transformers(n: int, seed: int = 0, noise: float = 0.02, disturbed: float = 0.15):
    """Latency that depth scales, and a share of runs that something slowed down."""
    rng = np.random.default_rng(seed)
    x = np.column_stack(
        [rng.choice([512, 640], n), rng.integers(1, 7, n), rng.uniform(512, 3072, n), rng.uniform(2, 8, n)]
    )
    y = 3 + x[:, 1] * (0.01 * x[:, 0] + 0.004 * x[:, 2] + 0.3 * x[:, 3])
    clean = y * np.exp(rng.normal(0, noise, n))
    return x, clean * np.where(rng.random(n) < disturbed, rng.uniform(1.2, 1.4, n), 1), y


def test_products_and_relative_errors_beat_least_squares_under_outliers() -> None:
    x, y, _ = transformers(200)
    new, _, truth = transformers(1000, seed=1)
    made = fit_predictor(x, y, "ridge", names=NAMES, held_out=0)
    found = score(made.predict(new), truth)
    design = np.column_stack([np.ones(200), x])
    linear = np.column_stack([np.ones(1000), new]) @ np.linalg.lstsq(design, y, rcond=None)[0]
    assert found.mape < 0.02 and found.tau > 0.96
    assert found.mape < 0.3 * score(linear, truth).mape
    assert any(1 in p for p in made.about["models"][0]["products"])  # that depth scales the rest was found out


def test_an_effect_of_products_is_found_exactly_without_noise() -> None:
    x, _, y = transformers(100)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    arrays = fit_ridge(standard, y, RidgeOptions(hub([0, 1, 2, 3], 1), penalty=1e-9))
    assert predict_ridge(arrays, standard) == pytest.approx(y, rel=1e-3)
    powers = x[:, 0] ** 1.5 * x[:, 2] ** 0.5  # effects that multiply are sums of logarithms
    logs = np.log(x)
    standard = (logs - logs.mean(axis=0)) / logs.std(axis=0)
    arrays = fit_ridge(standard, powers, RidgeOptions(log=True))
    assert predict_ridge(arrays, standard) == pytest.approx(powers, rel=1e-3)


@pytest.mark.parametrize("kind", ["ridge", "trees", "mlp"])
def test_every_kind_has_skill_and_says_so(kind: str) -> None:
    x, y, _ = transformers(160, disturbed=0.0)
    made = fit_predictor(x, y, kind, names=NAMES, folds=2, seed=3, unit="ms", device={"processor": "P"})
    m = made.metrics
    assert m["on"] == "32 rows held out" and m["predictor"]["rows"] == 32
    assert m["predictor"]["mape"] < 0.1 < m["mean"]["mape"] and m["predictor"]["tau"] > 0.85
    assert m["mean"]["tau"] == 0 and m["linear"]["mape"] < m["mean"]["mape"]
    assert made.unit == "ms" and made.device == {"processor": "P"} and made.about["trained_on"] == 128


def test_best_is_the_best_by_cross_validation_and_equal_seeds_are_equal() -> None:
    x, y, _ = transformers(40)
    first, again = (fit_predictor(x, y, "best", folds=2, seed=3) for _ in range(2))
    errors = first.about["cross_validated_error"]
    assert set(errors) == {"ridge", "trees", "mlp"}
    assert first.about["models"][0]["kind"] == min(errors, key=lambda k: errors[k]) == "ridge"
    assert (again.predict(x) == first.predict(x)).all() and again.metrics == first.metrics
    one, other = (fit_predictor(x, y, "ridge", seed=s).metrics["predictor"] for s in (3, 4))
    assert one != other  # other rows are held out


def test_metrics_are_of_rows_that_were_not_trained_on() -> None:
    x, y, _ = transformers(100)
    made = fit_predictor(x, y, "ridge", seed=5)
    held = np.random.default_rng(5).permutation(100)[:20]
    assert score(made.predict(x[held]), y[held]).mape == made.metrics["predictor"]["mape"]
    changed = y.copy()
    changed[held] *= 3  # the model cannot know
    assert (fit_predictor(x, changed, "ridge", seed=5).predict(x) == made.predict(x)).all()
    crossed = fit_predictor(x, y, "ridge", seed=5, held_out=0)
    assert crossed.metrics["on"] == "100 rows, 5-fold cross-validated" and len(crossed.residuals) == 100


@pytest.mark.parametrize("kind", ["ridge", "best"])
def test_shuffled_labels_leave_no_skill(kind: str) -> None:
    x, y, _ = transformers(150)
    shuffled = np.random.default_rng(0).permutation(y)
    m = fit_predictor(x, shuffled, kind, held_out=0.5, folds=2).metrics
    assert abs(m["predictor"]["tau"]) < 0.2  # a standard error of 0.08
    # against a constant that is as good as a constant can be in this measure
    constant = min(np.abs(c / shuffled - 1).mean() for c in np.quantile(shuffled, np.linspace(0.05, 0.6, 23)))
    assert m["predictor"]["mape"] > 0.8 * constant


@pytest.mark.parametrize("quantile", [0.5, 0.8, 0.95])
def test_a_share_of_new_measurements_stays_below_the_margin(quantile: float) -> None:
    x, y, _ = transformers(1200)
    new, measured, _ = transformers(2000, seed=1)
    made = fit_predictor(x, y, "ridge", held_out=0.5)
    below = (measured <= made.predict(new, quantile=quantile)).mean()
    assert below == pytest.approx(quantile, abs=0.05)  # 600 rows held out: a standard error of up to 0.023


def test_margin_is_the_conformal_rank() -> None:
    residuals = np.arange(1, 10) / 100  # nine of them
    assert upper_margin(residuals, 0.5) == 0.05 and upper_margin(residuals, 0.9) == 0.09
    assert upper_margin(residuals, 0.91) is None
    x, y, _ = transformers(50)
    made = fit_predictor(x, y, "ridge")
    with pytest.raises(InputError, match=r"quantile 0\.95 needs 19 held-out rows, the predictor has 10"):
        made.predict(x, quantile=0.95)
    with pytest.raises(InputError, match="between 0 and 1, not 1"):
        made.predict(x, quantile=1)


def test_plain_arrays_say_what_scikit_learn_says() -> None:
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.neural_network import MLPRegressor

    x, y, _ = transformers(120)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    new = np.random.default_rng(0).normal(size=(300, 4))
    target = drawn_in(x, y)
    trees = GradientBoostingRegressor(
        n_estimators=20, learning_rate=0.1, max_depth=3, subsample=0.6, min_samples_leaf=3, random_state=7, init="zero"
    ).fit(x, target - np.median(target))
    ours = predict_trees(fit_trees(x, y, TreeOptions(trees=20), seed=7), new)
    assert ours == pytest.approx(np.exp(trees.predict(new) + np.median(target)), rel=1e-9)
    target = (np.log(y) - np.log(y).mean()) / np.log(y).std()
    mlp = MLPRegressor(hidden_layer_sizes=(32, 32), alpha=1e-4 * 120, solver="lbfgs", max_iter=300, random_state=7)
    with warnings.catch_warnings(action="ignore"):  # that it stops early
        mlp.fit(x, target)
    ours = predict_mlp(fit_mlp(x, y, MlpOptions(members=1), seed=7), new)
    assert ours == pytest.approx(np.exp(mlp.predict(new) * np.log(y).std() + np.log(y).mean()), rel=1e-9)


def test_trees_are_not_led_astray_by_outliers() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    truth = np.exp(x @ [0.5, -0.3, 0.1])
    far = rng.random(300) < 0.15
    y = truth * np.where(far, 1.5, 1) * np.exp(rng.normal(0, 0.01, 300))
    moved = np.exp(drawn_in(x, y))
    assert moved[~far] == pytest.approx(truth[~far], rel=0.06) and (moved[far] / truth[far]).max() < 1.06


@pytest.mark.parametrize("kind", ["ridge", "trees", "mlp"])
def test_file_round_trip(tmp_path: Path, kind: str) -> None:
    x, y, _ = transformers(40)
    made = fit_predictor(x, y, kind, names=NAMES, folds=2, device={"processor": "P"}, extra={"a": 1})
    path = tmp_path / "p.safetensors"
    made.save(path)
    back = Predictor.load(path)
    assert (back.predict(x, quantile=0.6) == made.predict(x, quantile=0.6)).all()
    assert back.names == tuple(NAMES) and back.device == made.device and back.extra == {"a": 1}
    assert back.metrics == made.metrics and back.about["seed"] == 0 and back.floor == made.floor
    assert b"pickle" not in path.read_bytes() and not list(tmp_path.glob(".*"))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    x, y, _ = transformers(60)
    path = tmp_path / "p.safetensors"
    with pytest.raises(InputError, match="does not exist"):
        Predictor.load(path)
    fit_predictor(x, y, "ridge").save(path)
    arrays = load_file(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read as a predictor"):
        Predictor.load(path)
    save_file(arrays, path)
    with pytest.raises(InputError, match="not a predictor of format"):
        Predictor.load(path)
    del arrays["residuals"]
    record = '{"format": "netsmith-predictor/1", "names": [], "unit": "s", "kinds": ["forest"], "weights": [1]}'
    save_file(arrays, path, metadata={"netsmith": record})
    with pytest.raises(InputError, match=r"damaged predictor: it lacks metrics, .*residuals, 'forest'"):
        Predictor.load(path)


def test_shapes_ranges_and_floor() -> None:
    x, y, _ = transformers(60)
    made = fit_predictor(x, y, "ridge", names=NAMES)
    assert made.predict(x.reshape(6, 10, 4)).shape == (6, 10)
    assert made.predict(x[0]).shape == ()
    assert made.inside(x).sum() >= 48 and not made.inside([0, 3, 1000, 4])
    wild = made.predict([[-1e6, -50, 0, -1e3], [512, 0, 0, 0]])
    assert (wild >= made.floor).all() and made.floor > 0  # never negative, however far from the data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "forest"}, "no predictor of kind 'forest'"), ({"kind": "tree"}, "did you mean 'trees'"),
        ({"held_out": 1.0}, "held_out is a share"), ({"held_out": 0.9}, "6 rows are too few"),
        ({"names": ["a"]}, "1 names for 4 features"), ({"products": "some"}, "auto, none or a list"),
        ({"products": [("width", "dept")]}, "no feature 'dept'.*'depth'"),
    ],
)  # fmt: skip
def test_messages_of_options(change: dict, message: str) -> None:
    x, y, _ = transformers(60)
    with pytest.raises(InputError, match=message):
        fit_predictor(x, y, **({"names": NAMES} | change))


def test_messages_of_values() -> None:
    x, y, _ = transformers(60)
    with pytest.raises(InputError, match=r"features \(N, F\) and values \(N,\) are needed"):
        fit_predictor(x, y[:-1])
    bad = y.copy()
    bad[7] = -1
    with pytest.raises(InputError, match="row 7: the measured value is -1"):
        fit_predictor(x, bad)
    holes = x.copy()
    holes[9, 2] = np.nan
    with pytest.raises(InputError, match="feature 'ffn' has a value that is not finite, in row 9"):
        fit_predictor(holes, y, names=NAMES)
    made = fit_predictor(x, y, "ridge", names=NAMES)
    with pytest.raises(InputError, match="takes 4 features"):
        made.predict(x[:, :3])
    with pytest.raises(InputError, match="feature 'ffn' has a value that is not finite"):
        made.predict(holes)


def test_products_can_be_given_and_switched_off() -> None:
    x, y, _ = transformers(120, disturbed=0)
    given = fit_predictor(x, y, "ridge", names=NAMES, products=[("depth", "ffn"), ("depth", "width")])
    none = fit_predictor(x, y, "ridge", names=NAMES, products="none")
    assert given.metrics["predictor"]["mape"] < none.metrics["predictor"]["mape"]
    assert [tuple(p) for p in given.about["models"][0]["products"]] == [(1, 2), (1, 0)]


def test_two_models_are_blended_where_that_is_better() -> None:
    from netsmith.hardware.predictor.predictor import Member

    x, y, _ = transformers(80)
    made = fit_predictor(x, y, "ridge")
    (only,) = made.members
    twice = replace(made, members=(replace(only, weight=0.25), replace(only, weight=0.75)))
    assert twice.predict(x) == pytest.approx(made.predict(x))
    double = Member("ridge", dict(only.arrays) | {"unit": only.arrays["unit"] * 4}, 0.5)
    mixed = replace(made, members=(replace(only, weight=0.5), double))
    assert mixed.predict(x) == pytest.approx(2 * made.predict(x))  # a geometric mean


@pytest.mark.skipif(not DATA.is_dir(), reason="HAT's latency tables are not here: set NETSMITH_DATA to their folder")
@pytest.mark.parametrize(("name", "most"), [("wmt14ende_cpu_raspberrypi", 0.04), ("wmt14enfr_cpu_raspberrypi", 0.01)])
def test_measured_transformers_from_200_rows(name: str, most: float) -> None:
    with (DATA / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [c for c in rows[0] if not c.startswith("latency")]
    x = np.array([[float(r[c]) for c in names] for r in rows])
    y = np.array([float(r["latency_mean_encoder"]) + float(r["latency_mean_decoder"]) for r in rows])
    order = np.random.default_rng(11).permutation(len(y))
    train, test = order[:200], order[200:]
    made = fit_predictor(x[train], y[train], "ridge", names=names, held_out=0, unit="ms")
    found = score(made.predict(x[test]), y[test])
    design = np.column_stack([np.ones(200), x[train]])
    linear = np.column_stack([np.ones(len(test)), x[test]]) @ np.linalg.lstsq(design, y[train], rcond=None)[0]
    baseline = score(linear, y[test])
    assert found.mape < min(most, baseline.mape) and found.tau > baseline.tau
    assert (y[test] <= made.predict(x[test], quantile=0.9)).mean() == pytest.approx(0.9, abs=0.06)
