"""What everybody would try before a search: integers alone, where a front begins, and every layer pruned alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netsmith.decisions.integers import Integers
from netsmith.decisions.kind import Designs
from netsmith.jobs.front_search import least_share
from netsmith.jobs.front_tuning import is_smaller
from netsmith.search.ratios import CHANNELS
from netsmith.study.closing import Attempt

if TYPE_CHECKING:
    from netsmith.jobs.front import Front

_LEVELS = 129  #: shares of all channels that are tried


def int8_alone(front: Front) -> dict[str, Any] | None:
    """Every layer in 8-bit integers and nothing else; nothing where integers are not among what may change."""
    job = front.job
    if job.space.is_mixed or job.space.kind(Integers) is None:
        return None
    return _found(front, "int8", job.space.canonical(_integers(front, job.space.reference)))


def uniform(front: Front) -> dict[str, Any] | None:
    """The same share of every layer's channels, at about the predicted cost of the middle network, integers as there.

    Nothing where that prunes nothing. Where the tests go by a certificate nobody asks for it, and time is short.
    """
    job, middle = front.job, sorted(front.points, key=lambda p: p.cost)[len(front.points) // 2]
    if front.goal or not is_smaller(job, middle.design):
        return None
    sizes = job.space.decisions.sizes
    channels = np.array([d.kind == CHANNELS for d in job.space.decisions.decisions])
    base = middle.design if job.space.is_mixed else _integers(front, middle.design)
    alike = np.where(job.space.of_stage("topology", "structure"), job.space.reference, base)
    shares = np.linspace(0, 1, _LEVELS)[:, None]
    designs = np.where(channels, np.floor(shares * (sizes - 1) + 0.5), alike).astype(np.int64)
    limit = float(job.pricing.predict(middle.design, front.cost)[0])
    fits = np.flatnonzero(job.pricing.predict(designs, front.cost) <= limit)
    chosen = designs[fits[-1] if len(fits) else 0]  # the narrowest, where no share of channels alone is so cheap
    return _found(front, "uniform", job.space.canonical(chosen)) if is_smaller(job, chosen) else None


def _integers(front: Front, design: Designs) -> Designs:
    """A design with every layer in integers, where that is among what may change."""
    space = front.job.space
    return design if space.kind(Integers) is None else np.where(space.of_stage("numbers"), 0, design)


def _found(front: Front, name: str, design: Designs) -> dict[str, Any]:
    """A design as a search gives it."""
    job = front.job

    def make() -> dict[str, Any]:
        predicted = float(job.pricing.predict(design)[0])
        measured = predicted if job.simulated else job.quick(design)
        loss = float(front.sensitivity.loss[np.arange(len(design)), design].sum())
        attempt = Attempt(tuple(int(k) for k in design), predicted, measured, loss, None, True)
        least = least_share(job, front.sensitivity.loss, front.cost, design, loss)
        return {"best": attempt.to_dict(), "attempts": [], "additivity": None, "told": [], "least": least}

    return dict(job.run.stage(f"mark-{name}", make, [int(k) for k in design]))
