"""Deep deterministic policy gradient: an agent for episodes of one continuous action in 0..1 a step.

It knows nothing of what the actions mean; bit-widths (HAQ) and keep ratios (AMC) are its callers' business. NumPy only:
at these sizes it is as fast as torch, and importing it costs nothing.
"""

from __future__ import annotations

from netsmith.search.agents.ddpg.agent import Agent, DdpgConfig
from netsmith.search.agents.ddpg.replay import Replay

__all__ = ["Agent", "DdpgConfig", "Replay"]
