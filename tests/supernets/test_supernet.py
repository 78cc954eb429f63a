"""The network of all paths: its state, how it draws, and the plain networks that are taken out of it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from block_paths import CLASSES, graded_data, steep, tiny_space
from labelled import fit
from netsmith.compression.groups import find_groups
from netsmith.compression.prune import prune
from netsmith.errors import InputError
from netsmith.network.graph import trace
from netsmith.network.load import load_model
from netsmith.network.weights import save_weights
from netsmith.network.zoo.blueprint import read_blueprint, register_blueprint
from netsmith.supernets import SuperNet, load_space
from netsmith.supernets.supernet import draw
from netsmith.training import Training


def designs(network: SuperNet, n: int) -> list[np.ndarray]:
    """Random designs, and those that skip everything and nothing."""
    space = network.space.decisions
    return [np.zeros(len(space), dtype=int), space.sizes - 1, *space.sample(np.random.default_rng(0), n)]


def trained(dropout: float = 0.0) -> SuperNet:
    """All weights and statistics differ from those that a fresh network has."""
    torch.manual_seed(0)
    network = steep(SuperNet(tiny_space(dropout=dropout), CLASSES, 1))
    fit(network, graded_data(128, 32), Training(epochs=2, lr=0.05, batch_size=32, bf16=False, augment=None))
    return network


# ---- state ----------------------------------------------------------------------------------------------------------


def test_a_state_dict_restores_what_is_drawn_next():
    a, x = steep(SuperNet(tiny_space(4), CLASSES, 1, seed=3)), torch.zeros(2, 1, 8, 8)
    ran: list[list[int]] = [[], []]

    def follow(network: SuperNet, out: list[int]) -> None:
        for i, block in enumerate(network.blocks):
            for k, module in block.candidates.items():
                module.register_forward_hook(lambda *_, i=i, k=k: out.append(100 * i + int(k)))

    a.train()
    for _ in range(5):
        a(x)
    b = SuperNet(tiny_space(4), CLASSES, 1, seed=3)
    b.load_state_dict(a.state_dict())
    follow(a, ran[0])
    follow(b.train(), ran[1])
    for _ in range(10):
        a(x), b(x)
    assert ran[0] == ran[1] and len({tuple(ran[0][i : i + 6]) for i in range(0, 40, 6)}) > 3
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_a_network_depends_on_its_seed_alone_and_leaves_torchs_generator_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    a = SuperNet(tiny_space(), CLASSES, 1, seed=0)
    a.extract(a.most_probable())
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    b, c = SuperNet(tiny_space(), CLASSES, 1, seed=0), SuperNet(tiny_space(), CLASSES, 1, seed=1)
    same = [torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True)]
    assert all(same) and torch.equal(a.logits, b.logits) and not torch.equal(a.logits, c.logits)
    assert 0 < a.logits[a.there].abs().max() < 6e-3 and (a.logits[~a.there] == 0).all()


def test_fresh_candidates_beside_a_shortcut_add_nothing_and_those_without_one_do():
    network, x = SuperNet(tiny_space(), CLASSES, 1).eval(), torch.randn(4, 1, 8, 8)
    residual = [network.blocks[slot].residual for slot in network.space.searched]
    assert True in residual and False in residual
    a = network.most_probable()
    given = network(x)
    for d, shortcut in enumerate(residual):
        other = a.copy()
        other[d] = (a[d] + 1) % network.space.decisions.sizes[d]
        network.path = other
        assert torch.equal(network(x), given) == shortcut


def test_eval_mode_runs_the_most_probable_path_and_draws_nothing():
    network, x = steep(SuperNet(tiny_space(), CLASSES, 1)).eval(), torch.randn(4, 1, 8, 8)
    plain = network.extract(network.probabilities().argmax(1).numpy())
    assert torch.equal(network(x), network(x)) and int(network.passes) == 0
    torch.testing.assert_close(network(x), plain(x))
    network.path = [0, 0, 0]
    torch.testing.assert_close(network(x), network.extract(np.array([0, 0, 0]))(x))


def test_paths_are_drawn_by_the_probabilities_and_alike_while_uniform():
    network = steep(SuperNet(tiny_space(), CLASSES, 1), scale=2.0)
    network.train()
    for uniform in (False, True):
        network.uniform = uniform
        drawn = np.array([network._next() for _ in range(6000)])
        p = network.probabilities().numpy()
        for d, n in enumerate(network.space.decisions.sizes):
            wanted = np.full(n, 1 / n) if uniform else p[d, :n]
            assert np.abs(np.bincount(drawn[:, d], minlength=n) / 6000 - wanted).max() < 0.03
    assert network.entropy() == pytest.approx(np.log([4, 3, 3]).mean())


def test_a_choice_without_weight_is_never_drawn():
    p = np.array([[0.0, 0.0, 1.0, 0.0], [0.3, 0.0, 0.7, 0.0], [0.0, 2e-300, 0.0, 0.0]])
    for seed in range(300):
        found = draw(p, np.random.default_rng(seed))
        assert (p[np.arange(3), found] > 0).all()


# ---- plain networks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_a_plain_network_is_its_path(training):
    network = trained()
    x = torch.randn(6, 1, 8, 8)
    for design in designs(network, 8):
        network.train(training)
        plain = network.extract(design)
        assert plain.training == training
        network.path = design
        before = {k: v.clone() for k, v in network.state_dict().items()}
        torch.testing.assert_close(plain(x), network(x), rtol=1e-5, atol=1e-6)
        again = network.extract(design)  # after the same batch both have the same statistics
        for (name, a), b in zip(plain.state_dict().items(), again.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, msg=name)
        network.load_state_dict(before)


def test_a_plain_network_learns_as_its_path_does_and_shares_nothing_with_it():
    torch.manual_seed(0)
    network, data = steep(SuperNet(tiny_space(), CLASSES, 1)), graded_data(128, 32)
    for design in designs(network, 3):
        start = {k: v.clone() for k, v in network.state_dict().items()}
        plain = network.extract(design)
        network.path = design
        for model in (plain, network):
            fit(model, data, Training(epochs=1, lr=0.02, batch_size=32, bf16=False, augment=None))
            if model is plain:
                assert all(torch.equal(v, start[k]) for k, v in network.state_dict().items())
        for a, b in zip(plain.state_dict().values(), network.extract(design).state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        moved = [k for k, v in network.state_dict().items() if not torch.equal(v, start[k])]
        assert any(k.startswith("stem") for k in moved)


def test_a_space_without_a_head_and_with_dropout():
    space = replace(tiny_space(dropout=0.5), head=0)
    network = steep(SuperNet(space, CLASSES, 1))
    plain, x = network.eval().extract(np.array([1, 0, 2])), torch.randn(3, 1, 8, 8)
    network.path = np.array([1, 0, 2])
    torch.testing.assert_close(plain(x), network(x))
    assert plain.classifier[0].p == 0.5


# ---- as a file ------------------------------------------------------------------------------------------------------


def test_a_found_network_is_a_model_like_any_other(tmp_path: Path):
    """It loads, reloads its weights, is traced with the blocks of the design, grouped, and pruned."""
    network, x = trained().eval(), torch.randn(4, 1, 8, 8)
    for number, design in enumerate(designs(network, 3)):
        network.path = design
        file, weights = tmp_path / f"{number}.json", tmp_path / f"{number}.safetensors"
        file.write_text(network.space.describe(design, CLASSES, 1).to_json())
        save_weights(weights, network.extract(design).state_dict())
        loaded = load_model(f"design:{file}", weights=weights)
        assert (loaded.num_classes, loaded.input_shape) == (CLASSES, (1, 8, 8))
        model = loaded.model.eval()
        torch.testing.assert_close(model(x), network(x))
        layers = trace(model, loaded.input_shape).layers
        blocks = {name.split(".")[1] for name in layers.names if name.startswith("features")}
        there = sum(choice != "skip" for choice in network.space.chosen(design))
        assert blocks >= {str(i) for i in range(there + 2)}
        report = find_groups(model, loaded.example_input())
        keep = {g.name: list(range(0, g.channels, 2)) for g in report.groups}
        smaller = copy.deepcopy(model)
        prune(smaller, report, keep)
        assert report.groups and smaller(x).shape == (4, CLASSES)
        sizes = [sum(p.numel() for p in m.parameters()) for m in (smaller, model)]
        assert sizes[0] < 0.6 * sizes[1]


def test_a_description_survives_its_file(tmp_path: Path):
    space = load_space("mobile-small")
    file = tmp_path / "d.json"
    for design in (space.reference, np.zeros(13, dtype=int)):
        description = space.describe(design, 100)
        file.write_text(description.to_json())
        assert read_blueprint(file) == description


def test_a_family_of_ones_own_is_read_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("netsmith.network.zoo.blueprint._READERS", {})
    register_blueprint("towers", lambda record, where: (record, where))  # type: ignore[arg-type,return-value]
    file = tmp_path / "network.json"
    file.write_text('{"family": "towers", "floors": 3}')
    assert read_blueprint(file) == ({"floors": 3}, str(file))
    file.write_text('{"family": "tower", "floors": 3}')
    with pytest.raises(InputError, match=r"unknown family 'tower' \(did you mean 'towers'"):
        read_blueprint(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": 0}, "'classes' must be at least 1, not 0"),
        ({"input_shape": [3, 32]}, "three whole numbers above 0, not [3, 32]"),
        ({"input_shape": [3, 0, 32]}, "three whole numbers above 0"),
        ({"blocks": [{"kernel": 4, "expansion": 3, "channels": 8, "stride": 1}]}, "kernels must be odd, not 4"),
        ({"blocks": [{"kernel": 3}]}, "block 1: the key 'expansion' is missing"),
        ({"blocks": 3}, "describes no network of blocks"),
        ({"stem": "wide"}, "'stem' must be a whole number, not 'wide'"),
        ({"dropout": 1.0}, "'dropout' must be at most 0.99"),
        (None, "describes no network; write it by netsmith specialize"),
        ({"family": "treees"}, "of an unknown family 'treees'"),
    ],
)
def test_wrong_descriptions_get_one_sentence(tmp_path: Path, change, said):
    record = json.loads(tiny_space().describe(np.zeros(3, dtype=int), CLASSES, 1).to_json())
    file = tmp_path / "d.json"
    file.write_text(json.dumps([] if change is None else record | change))
    with pytest.raises(InputError) as caught:
        load_model(f"design:{file}")
    assert said in str(caught.value) and "d.json" in str(caught.value)


def test_a_found_network_says_what_it_was_found_for(tmp_path: Path):
    file = tmp_path / "d.json"
    file.write_text(tiny_space().describe(np.zeros(3, dtype=int), CLASSES, 1).to_json())
    with pytest.raises(InputError, match="describes a network of 10 classes and 1 input channels, but 5 and 1"):
        load_model(f"design:{file}", num_classes=5)
    with pytest.raises(InputError, match="takes no options"):
        load_model(f"design:{file}?width=2")
    with pytest.raises(InputError, match=r"absent\.json is missing"):
        load_model("design:absent.json")


def test_one_path_trains_and_the_others_keep_their_weights():
    network = SuperNet(tiny_space(), CLASSES, 1).train()
    network.path = [3, 0, 2]
    F.cross_entropy(network(torch.randn(4, 1, 8, 8)), torch.arange(4)).backward()
    got = {n.split(".candidates.")[0][-1] + n.split(".candidates.")[1][0] for n, p in network.named_parameters()
           if ".candidates." in n and p.grad is not None}  # fmt: skip
    assert got == {"00", "13", "32"}
