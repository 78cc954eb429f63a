"""What a network does in training mode and not in evaluation: auxiliary classifiers read channels as well."""

from __future__ import annotations

import torch
from torch import nn

from netsmith.compression.trial import Inputs, where
from netsmith.network.copying import copy_network


def breaks_in_training(small: nn.Module, inputs: Inputs) -> str | None:
    """Why a network does not run in training mode, or None if it does; it stays as it is."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            copy_network(small).train()(*inputs)
    except Exception as error:
        return f"with fewer of its channels the forward fails in training{where(error)}"
    return None
