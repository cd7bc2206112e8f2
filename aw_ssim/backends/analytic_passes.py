"""The two passes of the analytic backend over a chunk: moments forward, gradients back.

The moments are those of `torch_reference`, one tap at a time instead of one window at a time.

The gradient of pixel i gathers, from every window c that holds it with weight w(i - c),

    G_mean_x + 2 G_var_x (x_i - mean_x) + G_cov (y_i - mean_y),

one axis at a time. Between the axes the bracket is kept relative to a nearby window's mean (the
pivot), so that G_var_x, which is huge on flat windows, only ever multiplies small differences.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..local_terms import LocalGradient, WindowedStatistics


def moments(
    x: Tensor, y: Tensor, mask: Tensor | None, taps: list[float]
) -> tuple[WindowedStatistics, Tensor | None]:
    """Statistics of the windows inside planes P x H x W, and with a mask their total weights."""
    rows, row_weight = _merge_taps(x, y, None, mask, taps, dim=2)
    mean_x, mean_y, *within = rows
    stats, total = _merge_taps(mean_x, mean_y, within, row_weight, taps, dim=1)
    stats.var_x.clamp_(min=0)
    stats.var_y.clamp_(min=0)
    return stats, total


def _merge_taps(
    mean_x: Tensor,
    mean_y: Tensor,
    within: list[Tensor] | None,
    weight: Tensor | None,
    taps: list[float],
    dim: int,
) -> tuple[WindowedStatistics, Tensor | None]:
    count, centre = mean_x.shape[dim] - len(taps) + 1, len(taps) // 2
    total = inverse = None
    if weight is None:
        pivot_x, pivot_y = mean_x.narrow(dim, centre, count), mean_y.narrow(dim, centre, count)
    else:
        total = _correlate(weight, taps, dim, count)
        inverse = 1 / torch.where(total > 0, total, 1)
        pivot_x = _correlate(weight * mean_x, taps, dim, count) * inverse
        pivot_y = _correlate(weight * mean_y, taps, dim, count) * inverse

    sums = [torch.zeros_like(pivot_x) for _ in range(5)]
    shift_x, shift_y, var_x, var_y, cov_xy = sums
    for j, tap in enumerate(taps):
        if within is not None:
            inner = [moment.narrow(dim, j, count) for moment in within]
            share = None if weight is None else weight.narrow(dim, j, count)
            for moment, entry in zip((var_x, var_y, cov_xy), inner, strict=True):
                if share is None:
                    moment.add_(entry, alpha=tap)
                else:
                    moment.addcmul_(entry, share, value=tap)
        if weight is None and j == centre:
            continue
        dx, dy = mean_x.narrow(dim, j, count) - pivot_x, mean_y.narrow(dim, j, count) - pivot_y
        weighted_x, weighted_y = dx, dy
        if weight is not None:
            share = weight.narrow(dim, j, count)
            weighted_x, weighted_y = dx * share, dy * share
        shift_x.add_(weighted_x, alpha=tap)
        shift_y.add_(weighted_y, alpha=tap)
        var_x.addcmul_(weighted_x, dx, value=tap)
        var_y.addcmul_(weighted_y, dy, value=tap)
        cov_xy.addcmul_(weighted_x, dy, value=tap)
    if inverse is not None:
        for moment in sums:
            moment.mul_(inverse)
    var_x.addcmul_(shift_x, shift_x, value=-1)
    var_y.addcmul_(shift_y, shift_y, value=-1)
    cov_xy.addcmul_(shift_x, shift_y, value=-1)
    return (
        WindowedStatistics(shift_x.add_(pivot_x), shift_y.add_(pivot_y), var_x, var_y, cov_xy),
        total,
    )


def _correlate(entries: Tensor, taps: list[float], dim: int, count: int) -> Tensor:
    out = torch.zeros_like(entries.narrow(dim, 0, count))
    for j, tap in enumerate(taps):
        out.add_(entries.narrow(dim, j, count), alpha=tap)
    return out


def gather(
    x: Tensor,
    y: Tensor,
    stats: WindowedStatistics,
    local: LocalGradient,
    taps: list[float],
    out_x: Tensor | None,
    out_y: Tensor | None,
) -> None:
    """Adds each window's derivatives to the pixels it holds, into `out_x` and `out_y`."""
    half, columns = len(taps) // 2, stats.mean_x.shape[2]
    # Each row's pivot is the mean of the window centred on it, or of the nearest one.
    pivot_x, pivot_y = (F.pad(mean, (0, 0, half, half), mode="replicate") for mean in stats[:2])
    base_x, var_x, base_y, var_y, cov = _down_columns(
        stats, local, taps, pivot_x, pivot_y, out_x is not None, out_y is not None
    )
    for j, tap in enumerate(taps):
        dx = x.narrow(2, j, columns) - pivot_x
        dy = y.narrow(2, j, columns) - pivot_y
        if out_x is not None:
            target = out_x.narrow(2, j, columns).add_(base_x, alpha=tap)
            target.addcmul_(var_x, dx, value=tap).addcmul_(cov, dy, value=tap)
        if out_y is not None:
            target = out_y.narrow(2, j, columns).add_(base_y, alpha=tap)
            target.addcmul_(var_y, dy, value=tap).addcmul_(cov, dx, value=tap)


def _down_columns(
    stats: WindowedStatistics,
    local: LocalGradient,
    taps: list[float],
    pivot_x: Tensor,
    pivot_y: Tensor,
    need_x: bool,
    need_y: bool,
) -> list[Tensor]:
    """Per input row: the bracket's constant part and the factors of x - pivot and y - pivot."""
    rows = stats.mean_x.shape[1]
    twice_x, twice_y = 2 * local.var_x, 2 * local.var_y
    sums = [torch.zeros_like(pivot_x) for _ in range(5)]
    for j, tap in enumerate(taps):
        base_x, var_x, base_y, var_y, cov = (total.narrow(1, j, rows) for total in sums)
        dx = stats.mean_x - pivot_x.narrow(1, j, rows)
        dy = stats.mean_y - pivot_y.narrow(1, j, rows)
        cov.add_(local.cov_xy, alpha=tap)
        if need_x:
            var_x.add_(twice_x, alpha=tap)
            base_x.add_(local.mean_x, alpha=tap)
            base_x.addcmul_(twice_x, dx, value=-tap).addcmul_(local.cov_xy, dy, value=-tap)
        if need_y:
            var_y.add_(twice_y, alpha=tap)
            base_y.add_(local.mean_y, alpha=tap)
            base_y.addcmul_(twice_y, dy, value=-tap).addcmul_(local.cov_xy, dx, value=-tap)
    return sums
