"""From single layers to a whole network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """From single layers to a whole network: ``T = beta + gamma * sum_i t_i``, in seconds.

    Attributes:
        gamma: what a layer takes in a network over what it takes among copies of itself; (floating point, integer).
        beta_s: each run, for the call and its feeds.
        residual: largest relative error on the networks that were fitted.
        rank: Kendall's tau of predicted and measured latency of these networks; None where it was not noted.
    """

    gamma: tuple[float, float]
    beta_s: float
    residual: float
    rank: float | None = None
