"""Spaces of blocks: those that come along, wrong files, other sizes and widths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from block_paths import tiny_space
from netsmith.errors import InputError
from netsmith.supernets import SuperNet, load_space, space_names

GOOD = """
image = 32
stem = 8
stem_stride = 1
head = 16
[[stages]]
channels = 8
blocks = 2
stride = 2
kernels = [3, 5]
"""


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_the_published_space():
    space = load_space("mobile")
    sizes = space.decisions.sizes
    assert len(space.searched) == 21 and int(sizes.sum()) == 141
    assert sorted(set(sizes.tolist())) == [6, 7] and (sizes == 6).sum() == 6
    assert [s.side for s in space.slots if s.stride == 2] == [56, 28, 14, 7] and space.slots[0].side == 112
    network = SuperNet(space, 1000)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 16.03
    assert int(network.there.sum()) == 141 and network.logits.shape == (21, 7)


def test_the_small_space():
    space = load_space("mobile-small")
    assert space.name == "mobile-small" and len(space.searched) == 13 and space.slots[-1].side == 4
    assert space_names() == ["mobile", "mobile-small", "tiny"]
    fixed, first, second = space.slots[:3]
    assert fixed.choices == ("k3e1",) and first.choices == ("k3e3", "k5e3", "k7e3", "k3e6", "k5e6", "k7e6")
    assert second.choices == ("skip", *first.choices) and second.name == "stage2.block2" and second.stage == 2


def test_a_skip_is_offered_only_where_the_shape_stays():
    for name in space_names():
        for slot in load_space(name).slots:
            assert ("skip" in slot.choices) == (slot.stride == 1 and slot.c_in == slot.channels and slot.stage > 1)
    assert all("skip" not in s.choices for s in tiny_space(skip=False).slots)


def test_the_reference_is_mobilenetv2s_block_everywhere():
    space = load_space("mobile-small")
    assert set(space.chosen(space.reference)) == {"k3e1", "k3e6"}
    assert space.chosen(np.zeros(13, dtype=int))[:3] == ("k3e1", "k3e3", "skip")
    stages = tuple(replace(s, kernels=(5,), expansions=(2, 4), skip=False) for s in space.stages)
    other = replace(space, stages=stages)
    assert set(other.chosen(other.reference)) == {"k5e4"}  # the dearest, where there is no such block


def test_other_sizes_of_images():
    space = load_space("mobile-small")
    assert space.resized(64).stem_stride == 2 and space.resized(48).stem_stride == 1
    assert space.resized(64).slots[-1].side == space.slots[-1].side and space.resized(64).image == 64
    assert load_space("mobile").resized(448).stem_stride == 2
    with pytest.raises(InputError, match=r"images of 8 pixels are too small for the space 'mobile-small'"):
        space.resized(8)


def test_other_widths():
    space = load_space("mobile")
    half, wide = space.scaled(0.5), space.scaled(1.4)
    assert (half.stem, half.head) == (16, 1280) and [s.channels for s in half.stages] == [8, 16, 24, 40, 48, 96, 160]
    assert wide.head == 1792 and [s.channels for s in wide.stages] == [24, 32, 56, 112, 136, 272, 448]
    assert space.scaled(1.0) == space
    assert all(n % 8 == 0 for s in (half, wide) for n in (s.stem, s.head, *(t.channels for t in s.stages)))
    assert all(len(a.choices) == len(b.choices) for a, b in zip(half.slots, space.slots, strict=True))


def test_a_space_of_ones_own(tmp_path):
    space = load_space(written(tmp_path, GOOD))
    assert space.name == "mine" and [s.choices for s in space.slots] == [
        ("k3e3", "k5e3", "k3e6", "k5e6"), ("skip", "k3e3", "k5e3", "k3e6", "k5e6"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "image = 32",
            "",
            "mine.toml: the key 'image' is missing; it is a whole number, in pixels (see docs/specialize.md)",
        ),
        ("image = 32", "image = 4", "the key 'image' must be at least 8, not 4"),
        ("image = 32", "image = true", "the key 'image' must be a whole number, not True"),
        ("image = 32", "image = 32.5", "the key 'image' must be a whole number, not 32.5"),
        ("stem = 8", 'stem = "wide"', "the key 'stem' must be a whole number, not 'wide'"),
        ("stem = 8", "stem = [8]", "the key 'stem' must be a whole number, not [8]"),
        ("head = 16", "haed = 16", "unknown key 'haed' (did you mean 'head'?)"),
        ("head = 16", "head = 16\ndropout = 1.5", "the key 'dropout' must be at most 0.9, not 1.5"),
        ("head = 16", "head = 16\ndropout = nan", "the key 'dropout' must be finite, not nan"),
        ("channels = 8", "", "mine.toml, stage 1: the key 'channels' is missing; it is a whole number (see"),
        ("stride = 2", "stride = 3", "stage 1: the key 'stride' must be at most 2, not 3"),
        ("stride = 2", "strides = 2", "stage 1: unknown key 'strides' (did you mean 'stride'?)"),
        ("stride = 2", "skip = 1", "the key 'skip' must be true or false, not 1"),
        ("[3, 5]", "[3, 4]", "mine.toml, stage 1: kernels must be odd, not 4"),
        ("[3, 5]", "[3, 3]", "the key 'kernels' must be a list of different whole numbers, not [3, 3]"),
        ("[3, 5]", "3", "the key 'kernels' must be a list of different whole numbers, not 3"),
        ("[3, 5]", "[3, 5.0]", "the key 'kernels[1]' must be a whole number, not 5.0"),
        ("[3, 5]", "[3, 33]", "the key 'kernels[1]' must be at most 31, not 33"),
        ("[3, 5]", "[]", "the key 'kernels' must be a list of different whole numbers, not []"),
        ("[3, 5]", "[3]\nexpansions = [6]\nskip = false", "leaves nothing to choose"),
        ("image", 'name = "mine"\nimage', "has the name of its file; remove the key 'name'"),
        ("[[stages]]", "[stages]", "has no [[stages]]"),
        ("[[stages]]", "stages = [1, 2]\n[other]", "every one of its stages must be a table of keys"),
        ("[3, 5]", "[3, 5", "mine.toml"),
    ],
)
def test_a_wrong_file_gets_one_clear_sentence(tmp_path, old, new, said):
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        load_space(written(tmp_path, GOOD.replace(old, new)))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_names_and_missing_files():
    with pytest.raises(
        InputError, match=r"unknown space 'mobil' \(did you mean 'mobile'\?\); known: mobile, mobile-sm"
    ):
        load_space("mobil")
    with pytest.raises(InputError, match=r"none\.toml"):
        load_space("none.toml")
