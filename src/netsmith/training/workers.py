"""Several processes that train one network, as ``torchrun`` starts them: each takes its rows of every batch."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as dist

from netsmith.errors import InputError

#: for one process while it does what the others need not do, such as choosing among networks
PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Workers:
    """The processes of a training, seen from one of them. All of them must make the same calls in the same order.

    Attributes:
        rank: of this process, from 0.
        world: number of processes; with 1 nothing is exchanged and no method does anything.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def from_environment(cls) -> Workers:
        """Join the processes that ``torchrun`` started; without it there is one.

        Connects them once (nccl between GPUs, gloo between CPUs) and makes the GPU of this process, that of its
        ``LOCAL_RANK``, the one that ``cuda`` means.

        Raises:
            InputError: the environment has only some of torchrun's variables, or the others cannot be reached.
        """
        try:
            world = int(os.environ.get("WORLD_SIZE", "1"))
            if world == 1:
                return cls()
            rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
        except (KeyError, ValueError) as error:
            raise InputError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']!r} but RANK and LOCAL_RANK do not go with it ({error}); "
                "start the processes with torchrun, or unset WORLD_SIZE"
            ) from error
        if not dist.is_available():
            raise InputError("this build of torch cannot connect processes; start one process without torchrun")
        has_cuda = torch.cuda.is_available()
        if has_cuda:
            if local >= torch.cuda.device_count():
                raise InputError(
                    f"process {local} has no GPU of its own, as there are {torch.cuda.device_count()}; "
                    "give torchrun a --nproc_per_node of at most that many"
                )
            torch.cuda.set_device(local)
        if not dist.is_initialized():
            try:
                dist.init_process_group("cpu:gloo,cuda:nccl" if has_cuda else "gloo", timeout=PATIENCE)
            except (RuntimeError, ValueError) as error:
                raise InputError(f"the processes could not be connected ({error}); start them with torchrun") from error
            atexit.register(_leave)
        return cls(rank, world)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def rows(self, n: int) -> int:
        """How many of ``n`` rows this process has of ``rank::world``."""
        return len(range(self.rank, n, self.world))

    def weight(self, n: int) -> float:
        """What a mean over this process's share of ``n`` rows weighs in :meth:`average`."""
        return self.rows(n) * self.world / n

    def average(self, tensors: Iterable[torch.Tensor], weight: float = 1.0) -> None:
        """Put the mean over the processes into floating-point tensors, in place, with one exchange for all of them.

        Args:
            tensors: of the same number and shapes in every process.
            weight: of this process; over all processes the weights average 1.
        """
        tensors = [t.detach() for t in tensors]
        if self.world == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        flat *= weight / self.world
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def share(self, tensors: Iterable[torch.Tensor]) -> None:
        """Put the first process's values into all processes' tensors, in place."""
        if self.world > 1:
            for tensor in tensors:
                value = tensor.detach().contiguous()
                dist.broadcast(value, src=0)
                tensor.detach().copy_(value)

    def broadcast(self, value: Any) -> Any:
        """The first process's ``value``, made of what JSON can hold, in every process."""
        if self.world == 1:
            return value
        box = [value if self.is_first else None]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            dist.barrier()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
