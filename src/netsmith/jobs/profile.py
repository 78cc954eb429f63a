"""Every layer's cost on a target, what bounds it, and what is frozen and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netsmith.compression.placement import place, quantizable
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.registry import Given, kinds_of
from netsmith.decisions.search_space import Storage
from netsmith.export.packed import layer_bytes
from netsmith.hardware.target import (
    Cost,
    as_run,
    limits_of,
    prepare_target,
    price,
    settings_of,
    target_of,
    unknown_costs,
)  # fmt: skip
from netsmith.jobs.assembly import assemble, takes
from netsmith.jobs.config import ProfileConfig, Prune
from netsmith.jobs.memory import memory_of
from netsmith.network.behaviour import fault_of
from netsmith.network.graph import Graph, count_parameters, trace
from netsmith.network.layers import KIND, KINDS, LayerTable
from netsmith.network.load import load_model
from netsmith.progress import Progress, progress_of


@takes(ProfileConfig)
def profile(model: Any, *, progress: Progress | None = None, **options: Any) -> dict[str, Any]:
    """Price a network layer by layer.

    Args:
        model: MODEL or a module.
        options: of the command, by name (``target="bitfusion"``, ``bits=8``); see
            :class:`netsmith.jobs.config.ProfileConfig` and ``docs/options.md``. Layers that cannot be quantized stay
            at 32 bits; a target without floating point prices those at the first widths it has.

    Returns:
        ``layers`` (name, kind, in_shape, out_shape, macs, params, bits, calls, latency_s, share, energy_j,
        energy_parts, cycles, traffic_bytes, intensity in MACs a byte, bound, frozen; macs are null where the cost of an
        operator is unknown), ``glue`` (what lies between them, together: latency_s, operators, and params of norms and
        the like), ``unknown`` (operators whose cost nobody knows, which the totals lack), ``memory`` (see
        :func:`netsmith.jobs.memory.memory_of`: what lives at each step of one sample, null with unknown operators),
        ``fits`` (on a target with limits of its own, by cost: ``limit``, ``needed`` and what is ``missing``, in bytes),
        ``totals`` (``size_bytes`` is of the packed file) and ``settings`` of the target; ``warnings``, what keeps its
        outputs from being those of each image.

    Raises:
        InputError: the model, shape or target cannot be used.
    """
    config, progress = assemble(ProfileConfig, {"model": model} | options), progress_of(progress)
    device = target_of(config.target, config.threads)
    progress.stage("load")
    loaded = load_model(model, weights=config.weights, num_classes=config.num_classes, input_shape=config.input_shape)
    for note in loaded.notes:
        progress.note(note)
    example = loaded.example_input()
    shape = tuple(example.shape[1:])
    warning = fault_of(loaded.model, example)
    graph = trace(loaded.model, shape)
    progress.stage("groups")
    frozen = GivenSpace(graph, kinds_of(Given(loaded.model, example, graph, device.capabilities), (Prune(),))).frozen
    table = as_run(with_bits(graph, config.bits), device.capabilities)
    prepare_target(device, table, progress)
    cost = price(device, table, config.batch)
    compute, unknown = table.is_compute, table.kind == KIND["unknown"]
    total = float(cost.latency_s.sum() + cost.fixed_s)
    rows = []
    for i in np.flatnonzero(compute | unknown):
        row = table.row(int(i))
        reasons = [r for r in (frozen.get(row["name"].split("#")[0]), graph.layers.frozen.get(row["name"])) if r]
        macs = None if unknown[i] else int(table.macs[i]) * config.batch
        rows.append({
            "name": row["name"], "kind": kind_of(table, int(i)), "in_shape": _shape(row, "in"),
            "out_shape": _shape(row, "out"), "macs": macs, "params": int(table.params[i]), "bits": row["w_bits"],
            "calls": row["calls"], "latency_s": float(cost.latency_s[i]),
            "share": float(cost.latency_s[i]) / total if total else 0.0, **_details(cost, int(i), macs),
            "frozen": "; ".join(reasons) or None,
        })  # fmt: skip
    params, between = count_parameters(loaded.model), ~(compute | unknown)
    energy = None if cost.energy_j is None else float(np.sum(cost.energy_j))
    held = memory_of(graph, device, with_bits(graph, config.bits))
    storage = Storage.of(graph)
    size = float(layer_bytes(table, storage.scheme, stored=storage.stored).sum() + storage.frame_bytes)
    return {
        "model": loaded.spec, "target": config.target, "input": list(shape), "batch": config.batch, "layers": rows,
        "glue": {
            "latency_s": float(cost.latency_s[between].sum()), "operators": int(between.sum()),
            "params": max(0, params - sum(row["params"] for row in rows)),
        },
        "unknown": list(table.unknown),
        "totals": {
            "macs": int(table.macs.sum()) * config.batch, "params": params, "latency_s": total,
            "energy_j": energy, "memory_bytes": held["peak_bytes"] if held else None, "size_bytes": size,
            "simulated": not device.capabilities.measured,
        },
        "memory": held, "fits": _fits(limits_of(device), held, size),
        "settings": dict(settings_of(device)),
        "warnings": [*([warning] if warning else []), *unknown_costs(table), *graph.warnings],
    }  # fmt: skip


def _fits(limits: Mapping[str, float], held: Mapping[str, Any] | None, size: float) -> dict[str, Any] | None:
    """What the target has room for, what is needed, and what is missing, in bytes; None where it has no limits."""
    needs = {"size": size} | ({"memory": float(held["peak_bytes"])} if held else {})
    return {
        n: {"limit": v, "needed": needs[n], "missing": max(0.0, needs[n] - v)} for n, v in limits.items() if n in needs
    } or None


def _details(cost: Cost, i: int, macs: int | None) -> dict[str, Any]:
    """What a target says of a row beside its latency; null where it has no model."""

    def at(values: Any) -> float | None:
        return None if values is None else float(values[i])

    traffic = at(cost.traffic_bytes)
    return {
        "energy_j": at(cost.energy_j), "energy_parts": {k: float(v[i]) for k, v in cost.energy_parts.items()} or None,
        "cycles": at(cost.cycles), "traffic_bytes": traffic, "intensity": macs / traffic if macs and traffic else None,
        "bound": None if cost.bound is None else str(cost.bound[i]),
    }  # fmt: skip


def with_bits(graph: Graph, bits: int) -> LayerTable:
    """The table of a traced network with every quantizable layer, and the glue that follows, at ``bits``."""
    if bits >= 32:
        return graph.layers
    layers = quantizable(graph)
    integer = {graph.node_names[n] for n in place(graph, list(layers)).glue if n in graph.node_names} | set(layers)
    mask = np.array([n in integer for n in graph.layers.names])
    return graph.layers.replace(w_bits=np.where(mask, bits, 32), a_bits=np.where(mask, bits, 32))


def kind_of(table: LayerTable, i: int) -> str:
    """Kind of a row in words; depthwise and grouped convolutions are told apart."""
    if table.kind[i] != KIND["conv"]:
        return KINDS[int(table.kind[i])].replace("_", " ")
    return "depthwise" if table.is_depthwise[i] else "grouped conv" if table.groups[i] > 1 else "conv"


def _shape(row: dict[str, Any], side: str) -> list[int]:
    return [row[f"c_{side}"], row[f"h_{side}"], row[f"w_{side}"]]
