"""Where to clip magnitudes: least squared error, percentile, or least divergence; many rows at once."""

from __future__ import annotations

import torch

from netsmith.compression.calibrate import BINS

BLOCK = 1 << 18  # numbers held at once by a search: small enough for the cache
COARSE, FINE, REFINED = 36, 14, 3
SMALLEST_RATIO = 0.05  # of the largest magnitude; ternary heavy tails need about 0.1


def mse_scale(rows: torch.Tensor, top: int) -> torch.Tensor:
    """Step ``(C,)`` of the grid -top..top with the least squared error on magnitudes ``(C, N)``.

    A geometric search, two finer ones around its best, then a few steps of the alternating minimisation: with the
    integers q fixed the best step is <w, q> / <q, q>, and rounding again cannot raise the error. The unclipped step
    competes at the end, so the result is never worse than it.
    """
    unclipped = rows.amax(dim=1) / top
    ratio = torch.logspace(0, 1, COARSE, base=SMALLEST_RATIO, dtype=torch.float64).to(rows)
    best = _best(rows, unclipped[:, None] * ratio, top)
    width = SMALLEST_RATIO ** (1 / (COARSE - 1))
    for _ in range(2):
        near = torch.logspace(-1, 1, FINE + 1, base=width, dtype=torch.float64).to(rows)
        best = _best(rows, best[:, None] * near, top)
        width **= 2 / FINE
    candidates = [unclipped, best]
    for _ in range(REFINED):
        q = _on_grid(rows, candidates[-1][:, None], top)
        square = q.square().sum(dim=1)
        better = torch.where(square > 0, (rows * q).sum(dim=1) / square.clamp(min=1.0), candidates[-1])
        candidates.append(better)
    return _best(rows, torch.stack(candidates, dim=1), top)


def _on_grid(rows: torch.Tensor, step: torch.Tensor, top: int) -> torch.Tensor:
    # magnitudes of a row of zeros are 0 / 0
    return torch.div(rows, step).nan_to_num_(nan=0.0).round_().clamp_(max=top)


def _best(rows: torch.Tensor, steps: torch.Tensor, top: int) -> torch.Tensor:
    """Of the steps ``(C, K)`` the one ``(C,)`` with the least squared error in each row, the first of equals."""
    errors = torch.empty_like(steps)
    channels, n = rows.shape
    k = min(steps.shape[1], max(1, BLOCK // n))
    c = max(1, BLOCK // (n * k))
    for i in range(0, channels, c):
        w = rows[i : i + c, None]
        for j in range(0, steps.shape[1], k):
            s = steps[i : i + c, j : j + k, None]
            errors[i : i + c, j : j + k] = _on_grid(w, s, top).mul_(s).sub_(w).square_().sum(dim=-1)
    return steps.gather(1, errors.argmin(dim=1, keepdim=True)).squeeze(1)


def percentile_threshold(rows: torch.Tensor, percentile: float) -> torch.Tensor:
    """The smallest magnitude ``(C,)`` that at least ``percentile`` per cent of each row ``(C, N)`` do not exceed."""
    n = rows.shape[1]
    k = min(max(int(-(-percentile * n // 100)), 1), n)
    threshold = rows.kthvalue(k, dim=1).values
    return torch.where(threshold > 0, threshold, rows.amax(dim=1))  # sparse rows: nothing would be left


def kl_threshold(rows: torch.Tensor, bits: int) -> torch.Tensor:
    """Clipping threshold ``(C,)`` of magnitudes ``(C, N)`` by least KL divergence, at most the largest magnitude.

    For every number i > 2^(bits-1) of histogram bins kept: P is the histogram with the tail added to bin i-1, Q the
    kept bins resampled to 2^(bits-1) levels and spread back over the non-empty ones; the threshold is
    (i + 0.5) * binwidth of the best (the rule of HAQ, Wang et al. 2019). Cumulative sums score all i at once.
    From 5 bits on only every (levels / 8)-th number is tried. A threshold that clips more than half of the weights
    does not compete: P and Q then agree trivially.
    """
    top = rows.amax(dim=1)
    levels = 2 ** (bits - 1)
    stride = max(1, levels // 8)  # the work for one threshold grows with the levels
    kept = torch.arange(BINS, levels, -stride, device=rows.device).flip(0)
    edges = torch.arange(levels + 1, device=rows.device) * kept[:, None] // levels  # (I, levels + 1)
    block = max(1, 8 * BLOCK // edges.numel())
    best = [_kl_bins(_histogram(rows[i : i + block]), kept, edges) for i in range(0, len(rows), block)]
    return torch.minimum((torch.cat(best) + 0.5) * (top.double() / BINS), top.double())


def _histogram(rows: torch.Tensor) -> torch.Tensor:
    top = rows.amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    bins = (rows.double() / top * BINS).long().clamp_(max=BINS - 1)
    bins += BINS * torch.arange(len(rows), device=rows.device)[:, None]
    return torch.bincount(bins.reshape(-1), minlength=BINS * len(rows)).reshape(-1, BINS).double()


def _kl_bins(counts: torch.Tensor, kept: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """How many bins ``(C,)`` of the histograms ``(C, BINS)`` to keep."""
    total = counts.sum(dim=1, keepdim=True)
    zero = counts.new_zeros(len(counts), 1)
    mass = torch.cat([zero, counts.cumsum(1)], 1)
    filled = torch.cat([zero, (counts > 0).double().cumsum(1)], 1)
    entropy = torch.cat([zero, _xlogx(counts / total).cumsum(1)], 1)
    inside, last = mass[:, kept], counts[:, kept - 1]
    tail = total - inside
    # sum of p log p: the bins before the last one kept, and that one with the tail
    p_log_p = entropy[:, kept - 1] + _xlogx((last + tail) / total)
    q_mass, bins = mass[:, edges].diff(dim=-1), filled[:, edges].diff(dim=-1)  # (C, I, levels)
    p_mass = q_mass.clone()
    p_mass[..., -1] += tail
    bins[..., -1] += (last == 0) & (tail > 0)  # the bin that the tail fills
    q = q_mass / (bins.clamp(min=1) * inside.clamp(min=1.0)[..., None])
    p_log_q = (p_mass / total[..., None] * q.clamp(min=1e-12).log()).sum(dim=-1)
    divergence = torch.where(inside * 2 >= total, p_log_p - p_log_q, torch.inf)
    return kept[divergence.argmin(dim=1)]


def _xlogx(p: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = torch.special.xlogy(p, p)
    return result
