"""The device that a network trains on: all that differs between a CPU and a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from netsmith.data.batch import Batch
from netsmith.errors import InputError


def choose_device(name: str = "auto") -> torch.device:
    """The device called ``name``: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` is a GPU where there is one.

    Raises:
        InputError: there is no such device.
    """
    has_cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"device {name!r} is unknown; choose auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not has_cuda:
            raise InputError(
                f"device {name!r} cannot be used, as torch finds no GPU here; use device cpu, or install a driver "
                "and a build of torch for it"
            )
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise InputError(f"device {name!r} does not exist; GPUs here are cuda:0 to cuda:{count - 1}")
    return device


def device_of(model: nn.Module) -> torch.device:
    """Where the network's parameters (or else its buffers) are; the CPU if it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


@contextmanager
def placed(device: torch.device, model: nn.Module, teacher: nn.Module | None) -> Iterator[None]:
    """Move the networks to ``device``; afterwards the model is on the CPU and the teacher where it was."""
    home = device_of(teacher) if teacher is not None else None
    try:
        model.to(device)
        if teacher is not None:
            teacher.to(device)
        yield
    finally:
        model.to("cpu")
        if teacher is not None:
            teacher.to(home)


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches, moved."""
    return (batch.to(device) for batch in batches)


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    """Convolutions and products in bfloat16 on ``device``, or explicitly not."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Copies of torch's generators that a training on ``device`` draws from, by name."""
    state = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put :func:`random_state` back; one of another device sets the CPU's generator alone."""
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators of :func:`random_state`, and no other device's."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators for a while, and leave the caller's state alone."""
    before = random_state(device)
    try:
        seed_generators(seed, device)
        yield
    finally:
        set_random_state(before, device)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively."""
    return torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_bf16()


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 natively (AVX512-BF16 or AMX); elsewhere it is emulated and slow."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16"} & set(flags))
