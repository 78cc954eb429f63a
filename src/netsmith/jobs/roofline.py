"""Where the layers of a network stand under the roofs of a target."""

from __future__ import annotations

from typing import Any

import numpy as np

from netsmith.hardware.target import Target, as_run, price, roof_of
from netsmith.jobs.profile import kind_of
from netsmith.network.layers import LayerTable


def roofline(target: Target, *, batch: int = 1, **networks: LayerTable) -> dict[str, Any] | None:
    """Roofs of a target and the layers of networks under them (Williams, Waterman, Patterson 2009).

    Args:
        batch: samples at once.
        networks: name -> table of shape ``(L,)``.

    Returns:
        ``roofs`` of ``{"bits": [w, a], "macs_per_s", "bytes_per_s"}``, one for each pair of bit-widths in use, and
        ``layers`` of ``{"network", "name", "kind", "kernel", "bits", "intensity", "macs_per_s"}``, the intensity in
        multiply-accumulates a byte of traffic, and ``short``, how many layers take too little time to have a rate;
        None if the target knows neither traffic nor roofs.
    """
    roofs: dict[tuple[int, int], dict[str, Any]] = {}
    layers, short, least = [], 0, 0.0
    for network, given in networks.items():
        table = as_run(given, target.capabilities)
        cost = price(target, table, batch)
        if cost.traffic_bytes is None:
            return None
        shown = np.flatnonzero(table.is_compute & (cost.latency_s > 0) & (cost.traffic_bytes > 0))
        for i in shown:
            bits = int(table.w_bits[i]), int(table.a_bits[i])
            if bits not in roofs:
                roof = roof_of(target, *bits)
                if roof is None:
                    return None
                roofs[bits] = {"bits": list(bits), "macs_per_s": roof.macs_per_s, "bytes_per_s": roof.bytes_per_s}
                least = roof.least_s
            if cost.latency_s[i] < least:
                short += 1
                continue
            macs = float(table.macs[i]) * batch
            layers.append({
                "network": network, "name": table.names[i], "kind": kind_of(table, int(i)),
                "kernel": [int(table.kernel_h[i]), int(table.kernel_w[i])], "bits": list(bits),
                "intensity": macs / float(cost.traffic_bytes[i]), "macs_per_s": macs / float(cost.latency_s[i]),
            })  # fmt: skip
    return {"roofs": list(roofs.values()), "layers": layers, "short": short} if layers else None
