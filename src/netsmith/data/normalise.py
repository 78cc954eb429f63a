"""How pixels become floats: one mean and one standard deviation a channel, always on the scale of x / 255."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import torch

from netsmith.errors import InputError, shown

_LEAST = 1e-9  #: of a standard deviation; smaller ones make infinite values
_MOST = 2.0  #: a mean beyond it is one of 0 to 255; networks that want a shift of their own stay below


class Normalisation(NamedTuple):
    """``(x / 255 - mean) / std`` for uint8 pixels ``x``; one value a channel, or none: inputs are taken as given."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: torch.Tensor, *, channels_last: bool = False) -> torch.Tensor:
        """Normalise uint8 images ``(N, C, H, W)`` to float32 of the same shape, which shares no memory with them."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        if not self.std:
            return images.to(torch.float32, memory_format=layout, copy=True)
        x = images.to(torch.float32, memory_format=layout)
        scale = (1.0 / (255.0 * torch.tensor(self.std, dtype=torch.float64))).float().view(1, -1, 1, 1)
        shift = (-torch.tensor(self.mean, dtype=torch.float64) / torch.tensor(self.std, dtype=torch.float64)).float()
        return torch.addcmul(shift.view(1, -1, 1, 1), x, scale)

    def check(self, channels: int) -> Normalisation:
        """Repeat a single value over ``channels``.

        Raises:
            InputError: neither one value nor one a channel, a value that is not finite, or a standard deviation that is
                not positive.
        """
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)):
            raise InputError(
                f"mean {list(self.mean)} and std {list(self.std)} of the normalisation must be finite numbers; "
                "give --mean and --std on the scale of x/255"
            )
        if any(s <= _LEAST for s in self.std) or any(abs(v) > 1 / _LEAST for v in (*self.mean, *self.std)):
            raise InputError(f"--std {list(self.std)} must be positive, one value a channel, on the scale of x/255")
        if {len(self.mean), len(self.std)} - {1, channels}:
            raise InputError(
                f"--mean and --std have {len(self.mean)} and {len(self.std)} values but the images have "
                f"{channels} channel(s); give one value a channel, on the scale of x/255"
            )
        if max(self.mean) > _MOST:
            raise InputError(
                f"the mean {list(self.mean)} of the normalisation is no mean of x/255, which is at most 1; divide "
                "--mean and --std by 255 if they are on the scale of 0 to 255"
            )
        wide = [v if len(v) == channels else v * channels for v in self]
        return Normalisation(*wide)


AS_GIVEN = Normalisation((), ())  #: of inputs that are floats already, which the network takes as they are


def statistics(images: torch.Tensor) -> Normalisation:
    """Mean and standard deviation of x / 255 of uint8 images ``(N, C, H, W)``, per channel."""
    mean, std = [], []
    values = torch.arange(256, dtype=torch.float64) / 255.0
    for c in range(images.shape[1]):
        # a histogram needs one pass over bytes instead of a float copy of the whole split
        counts = torch.bincount(images[:, c].reshape(-1).int(), minlength=256).double()
        total = counts.sum()
        m = float((counts * values).sum() / total)
        mean.append(m)
        std.append(max(float((counts * (values - m) ** 2).sum() / total) ** 0.5, 1e-3))
    return Normalisation(tuple(mean), tuple(std))


def normalisation_from_metadata(metadata: Mapping[str, str] | None) -> Normalisation | None:
    """Read what a weights file says about its input.

    Understands ``mean`` and ``std`` as JSON lists on the scale of x/255, and in ``input`` the forms ``x/127.5-1`` and
    ``0..255 minus (a,b,c)``.

    Returns:
        ``(mean, std)`` on x/255, or None if the metadata does not say.

    Raises:
        InputError: ``mean`` and ``std``, or numbers of ``input``, are there but cannot be read.
    """
    metadata = metadata or {}
    if "mean" in metadata and "std" in metadata:
        try:
            values = [tuple(float(v) for v in _as_list(metadata[k])) for k in ("mean", "std")]
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InputError(
                f"the weights' metadata gives mean {shown(metadata['mean'])} and std {shown(metadata['std'])}, "
                "which are not lists of numbers; give --mean and --std"
            ) from error
        return Normalisation(*values)
    text = metadata.get("input", "").replace(" ", "").lower()
    if re.search(r"x/127\.5-1(\.0)?(?![\d.])", text):
        return Normalisation((0.5,) * 3, (0.5,) * 3)
    minus = re.search(r"0\.\.255minus\(([-\d.,]+)\)", text)
    if minus:
        try:
            mean = tuple(float(v) / 255.0 for v in minus.group(1).split(","))
        except ValueError as error:
            raise InputError(
                f"the weights' metadata gives the input {shown(metadata['input'])}, which cannot be read; give "
                "--mean and --std"
            ) from error
        return Normalisation(mean, (1.0 / 255.0,) * len(mean))
    return None


def _as_list(value: object) -> list[float]:
    parsed = json.loads(value) if isinstance(value, str) else value
    return parsed if isinstance(parsed, list) else [parsed]  # type: ignore[list-item]
