"""Hardware files: what they give, every way to get them wrong, packaged machines, and the page that documents them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass

import pytest

from family_page import PAGE, family_table, refreshed
from netsmith.errors import InputError
from netsmith.hardware import family_names, family_schema, get_target, load_config, register_family, settings_of
from netsmith.hardware import target_names as names_of_targets
from netsmith.hardware.simulated.families import CONFIGS, family, packaged_names
from netsmith.testing import check_target

BISMO = """
family = "bismo"
rows = 8
lanes = 64
columns = 8
frequency_hz = 200e6
port_bits_per_cycle = 64
dram_bytes_per_s = 2_000_000_000
energy_per_binary_mac_j = 1e-13
energy_per_buffer_bit_j = 0
energy_per_dram_bit_j = 1e-11
"""
ROOFLINE = 'family = "roofline"\nbandwidth_bytes_per_s = 1e9\n[peak_macs_per_s]\n"8x8" = 1e9\n'
SYSTOLIC = """
family = "systolic"
rows = 8
columns = 8
dataflow = "ws"
frequency_hz = 1e9
input_sram_bytes = 65536
weight_sram_bytes = 65536
output_sram_bytes = 65536
bandwidth_words_per_cycle = 10
energy_per_mac16_j = 1e-12
"""


def has(name):
    return family(name).installed


def family_of(name):
    with (CONFIGS / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)["family"]


# ---- files ----------------------------------------------------------------------------------------------------------


def test_a_file_becomes_a_target(tmp_path, monkeypatch):
    (tmp_path / "my_accelerator.toml").write_text(BISMO)
    target = get_target(str(tmp_path / "my_accelerator.toml"))
    assert target.name == "my_accelerator"
    assert target.config.rows == 8 and target.config.left_entries == 1024
    assert target.config.dram_bytes_per_s == 2e9 and isinstance(target.config.dram_bytes_per_s, float)
    check_target(target)
    monkeypatch.chdir(tmp_path)
    assert get_target("my_accelerator.toml").config == target.config
    assert load_config(tmp_path / "my_accelerator.toml").config == target.config
    assert load_config(tomllib.loads(BISMO)).config == target.config
    assert get_target("my_accelerator.toml", rows=4).config.rows == 4
    other = tmp_path / "some.v2.toml"
    other.write_text(ROOFLINE)
    assert get_target("some.v2.toml").name == "some.v2"


CASES = {
    "unknown key": (BISMO + "colums = 9", r"unknown key 'colums' \(did you mean 'columns'\?\)"),
    "missing key": (BISMO.replace("rows = 8", ""), r"the key 'rows' is missing; it is a whole number"),
    "missing key with unit": (
        BISMO.replace("frequency_hz = 200e6", ""), r"the key 'frequency_hz' is missing; it is a number, in Hz",
    ),
    "text for a number": (
        BISMO.replace("200e6", '"fast"'), r"the key 'frequency_hz' must be a number, not 'fast'",
    ),
    "fraction for a whole number": (
        BISMO.replace("rows = 8", "rows = 8.5"), r"the key 'rows' must be a whole number, not 8\.5",
    ),
    "truth for a whole number": (
        BISMO.replace("rows = 8", "rows = true"), r"the key 'rows' must be a whole number, not True",
    ),
    "truth for a number": (
        BISMO.replace("200e6", "true"), r"the key 'frequency_hz' must be a number, not True",
    ),
    "number for a truth": (
        BISMO + "pack_groups = 1", r"the key 'pack_groups' must be true or false, not 1",
    ),
    "list for a number": (BISMO.replace("200e6", "[1]"), r"the key 'frequency_hz' must be a number, not \[1\]"),
    "too small": (BISMO.replace("rows = 8", "rows = 0"), r"the key 'rows' must be at least 1, not 0"),
    "not above 0": (BISMO.replace("200e6", "-1.0"), r"the key 'frequency_hz' must be above 0, not -1\.0"),
    "too large": (BISMO + "max_bits = 17", r"the key 'max_bits' must be at most 16, not 17"),
    "not finite": (BISMO.replace("200e6", "inf"), r"the key 'frequency_hz' must be finite, not inf"),
    "not a number": (BISMO.replace("200e6", "nan"), r"the key 'frequency_hz' must be finite, not nan"),
    "not one of the choices": (
        SYSTOLIC.replace('"ws"', '"rs"'), r"the key 'dataflow' must be one of ws, os, is .*, not 'rs'",
    ),
    "keys that contradict each other": (
        BISMO + "left_entries = 1", r"the keys 'left_entries' .* at least 2 with 'double_buffered'",
    ),
    "no family": (BISMO.replace('family = "bismo"', ""), r"the key 'family' is missing; it is one of bismo, b"),
    "unknown family": (
        BISMO.replace('"bismo"', '"bizmo"'), r"unknown family 'bizmo' \(did you mean 'bismo'\?\); known famil",
    ),
    "family of a wrong type": (BISMO.replace('"bismo"', "[1]"), r"the key 'family' must be a text, not \[1\]"),
    "no TOML": ("rows = = 8", r"is no valid TOML: .*line 1"),
    "number for a table": (
        'family = "roofline"\nbandwidth_bytes_per_s = 1e9\npeak_macs_per_s = 1e9',
        r"the key 'peak_macs_per_s' must be a table of numbers, not 1000000000\.0",
    ),
    "text in a table": (
        ROOFLINE + '"4x4" = "fast"', r"the key 'peak_macs_per_s\.4x4' must be a number, not 'fast'",
    ),
    "zero in a table": (ROOFLINE + '"4x4" = 0', r"the key 'peak_macs_per_s\.4x4' must be above 0, not 0\.0"),
    "empty table": (
        'family = "roofline"\nbandwidth_bytes_per_s = 1e9\n[peak_macs_per_s]', r".*'peak_macs_per_s' is empty",
    ),
    "no pair of widths": (ROOFLINE + '"int8" = 1e9', r"the key 'peak_macs_per_s\.int8' must be weight bits x"),
    "pair beyond 32 bits": (ROOFLINE + '"64x64" = 1e9', r"the key 'peak_macs_per_s\.64x64' must be weight"),
    "energies of other pairs": (
        ROOFLINE + '"4x4" = 2e9\n[energy_per_mac_j]\n"8x8" = 1e-12', r'the pair "4x4" is in one of',
    ),
    "energy without the table": (
        "static_w = 1.0\n" + ROOFLINE, r"the key 'static_w' needs the table 'energy_per_mac_j'",
    ),
    "activations without a memory": (
        "activations_on_chip = true\n" + ROOFLINE, r"the key 'activations_on_chip' needs 'on_chip_bytes'",
    ),
    "scaling without one start": (
        'scaling = "linear"\n' + ROOFLINE + '"4x4" = 2e9', r"scaling 'linear' starts at one pair .* there are 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_file_is_refused_with_one_sentence(tmp_path, case):
    text, message = CASES[case]
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(InputError, match=r"bad\.toml:? " + message) as caught:
        get_target(str(tmp_path / "bad.toml"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_cannot_be_read(tmp_path):
    (tmp_path / "edge.toml").write_text(BISMO)
    with pytest.raises(
        InputError, match=r"no hardware file .*edgy\.toml \(did you mean 'edge\.toml'\?\); docs/hardware"
    ):
        get_target(str(tmp_path / "edgy.toml"))
    with pytest.raises(InputError, match=r"no hardware file nowhere/at/all\.toml; docs"):
        get_target("nowhere/at/all.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match=r"folder\.toml cannot be read"):
        get_target(str(tmp_path / "folder.toml"))
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(InputError, match=r"latin\.toml is not in UTF-8; write it so"):
        get_target(str(tmp_path / "latin.toml"))


def test_a_mapping_is_checked_as_a_file_is():
    with pytest.raises(InputError, match="hardware configuration: unknown key 'row'"):
        load_config(tomllib.loads(BISMO) | {"row": 1})
    with pytest.raises(InputError, match="'rows' must be a whole number"):
        family("bismo").classes()[0](**{k: v for k, v in tomllib.loads(BISMO).items() if k != "family"} | {"rows": "8"})


# ---- names ----------------------------------------------------------------------------------------------------------


def test_every_packaged_file_is_a_target_name():
    names = packaged_names()
    assert {"roofline-edge", "systolic-eyeriss", "systolic-google", "systolic-scale", "bismo-edge"} <= set(names)
    assert set(names) | {"cpu", "roofline"} <= set(names_of_targets())
    with pytest.raises(InputError, match="did you mean 'bismo-edge'"):
        get_target("bismo-egde")


@pytest.mark.parametrize("name", packaged_names())
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_every_packaged_machine_keeps_the_contract(name, batch):
    if not has(family_of(name)):
        pytest.skip(f"the family {family_of(name)} is not installed")
    target = get_target(name)
    assert target.name == name and not target.capabilities.measured
    check_target(target, batch=batch)
    assert json.loads(json.dumps(settings_of(target))) == settings_of(target)


@pytest.mark.parametrize("name", [n for n in packaged_names() if family_of(n) != "bitfusion"])
def test_settings_hold_the_whole_configuration(name):
    settings = settings_of(get_target(name))
    assert settings["simulated"] is True and settings["rules"]
    assert load_config({"family": settings["family"]} | settings["config"]).config == get_target(name).config


def test_keys_of_a_packaged_machine_can_be_changed():
    target = get_target("bismo-edge:rows=16, dram_bytes_per_s=4.2e9,pack_groups=false")
    assert (target.config.rows, target.config.dram_bytes_per_s, target.config.pack_groups) == (16, 4.2e9, False)
    assert get_target("systolic-scale:dataflow=ws").config.dataflow == "ws"
    assert get_target("bismo-edge", rows=4).config.rows == 4
    with pytest.raises(InputError, match=r"target bismo-edge: unknown key 'row' \(did you mean 'rows'\?\)"):
        get_target("bismo-edge:row=16")
    with pytest.raises(InputError, match="target bismo-edge: 'rows' is no assignment"):
        get_target("bismo-edge:rows")


def test_listing_names_reads_no_file_and_loads_no_family():
    code = (
        "import sys, netsmith.hardware as h; names = h.target_names(); "
        "print(len(names), [m for m in sys.modules if m.startswith('netsmith.hardware.') and m.rpartition('.')[2] in "
        "('roofline', 'systolic', 'bismo')], 'tomllib' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(" ", 1)[1].strip() == "[] False False"


def test_a_family_of_ones_own(monkeypatch):
    module = type(sys)("my_family")

    @dataclass(frozen=True)
    class Config:
        """One number.

        Attributes:
            rate: multiply-accumulates
                a second.
            label: free text.
        """

        rate: float
        label: str | None = None

    class Mine:
        def __init__(self, config):
            self.config, self.name = config, "mine"

    module.Config, module.Mine = Config, Mine
    monkeypatch.setitem(sys.modules, "my_family", module)
    monkeypatch.setattr("netsmith.hardware.simulated.families._FAMILIES", {})
    register_family("mine", "my_family", "Config", "Mine")
    assert load_config({"family": "mine", "rate": 3}, name="other").config == Config(3.0)
    assert [(p.name, p.type, p.default, p.doc) for p in family_schema("mine")] == [
        ("rate", "number", None, "multiply-accumulates a second"), ("label", "text", "not given", "free text"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="'rate' must be a number, not 'x'"):
        load_config({"family": "mine", "rate": "x"})


# ---- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", family_names())
def test_the_page_lists_every_key_as_the_code_has_it(name):
    if not has(name):
        pytest.skip(f"the family {name} is not installed")
    page = PAGE.read_text(encoding="utf-8")
    assert family_table(name) in page, "docs/hardware.md is behind the code; run tests/family_page.py"
    assert refreshed(page) == page
    for p in family_schema(name):
        assert p.doc and p.type != "value", f"{name}.{p.name} has no meaning or no type that a file can hold"


def test_every_example_of_the_page_is_a_machine_that_keeps_the_contract():
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    families = set()
    for block in blocks:
        values = tomllib.loads(block)
        families.add(values["family"])
        if has(values["family"]):
            check_target(load_config(values))
    assert {"roofline", "systolic", "bismo"} <= families


def test_the_page_names_every_packaged_machine():
    page = PAGE.read_text(encoding="utf-8")
    assert [n for n in packaged_names() if f"`{n}`" not in page] == []


@pytest.mark.parametrize("name", [n for n in packaged_names() if family_of(n) != "bitfusion"])
def test_every_packaged_file_says_that_it_is_simulated_and_what_is_assumed(name):
    text = (CONFIGS / f"{name}.toml").read_text(encoding="utf-8")
    assert "Simulated" in text
    assert "ASSUMPTION" in text or name == "roofline-bitfusion"  # all of whose constants are published
