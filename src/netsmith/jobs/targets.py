"""What hardware there is, with its figures."""

from __future__ import annotations

from typing import Any

from netsmith.errors import InputError
from netsmith.hardware.target import Target, get_target, roof_of, settings_of, target_names
from netsmith.network.layers import KIND, LayerTable


def list_targets() -> dict[str, Any]:
    """Every registered target.

    Returns:
        ``targets`` of ``{"name", "measured", "bits", "channels", "energy", "roof", "settings"}``: bit-widths with
        kernels of their own as "WEIGHTSxACTIVATIONS", preferred granularity of channels, whether energy is modelled,
        the roofs at what a network as given runs at, in MAC/s and bytes/s; or ``{"name", "needs"}`` for one that
        needs an argument.
    """
    rows: list[dict[str, Any]] = []
    for name in target_names():
        try:
            target = get_target(name)
        except InputError as error:  # a target that needs an argument says so itself
            rows.append({"name": name, "needs": str(error)})
            continue
        can = target.capabilities
        roof = roof_of(target, *can.bits[0])
        rows.append({
            "name": name, "measured": can.measured, "channels": can.channel_multiple,
            "bits": [f"{w}x{a}" for w, a in sorted(set(can.bits))], "native": list(can.bits[0]),
            "energy": _has_energy(target),
            "roof": None if roof is None else {"macs_per_s": roof.macs_per_s, "bytes_per_s": roof.bytes_per_s},
            "settings": dict(settings_of(target)),
        })  # fmt: skip
    return {"targets": rows}


def _has_energy(target: Target) -> bool:
    if target.capabilities.measured:  # asking for a cost would start to measure
        return False
    w_bits, a_bits = target.capabilities.bits[0]
    row = {"name": "layer", "kind": KIND["conv"], "c_in": 16, "c_out": 16, "w_bits": w_bits, "a_bits": a_bits}
    return target.cost(LayerTable.from_rows([row])).energy_j is not None
