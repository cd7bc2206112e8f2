"""The definition of the windowed statistics, in plain differentiable torch.

Variances of a separable window by the law of total variance, one axis at a time: the variance
along a window is the weighted mean of the variances within its entries plus the variance of the
entries' means. Each is taken about the window's centre entry, so that no two large numbers are
subtracted: the relative error stays at rounding level and a constant window gives exactly 0.

Works with every dtype, device and transform of torch; slow, and the truth for other backends.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..local_terms import WindowedStatistics


def windowed_statistics(
    x: Tensor, y: Tensor, taps: Tensor, mask: Tensor | None = None
) -> WindowedStatistics:
    """Statistics of all windows that lie inside the images: N x C x (H - K + 1) x (W - K + 1).

    With a mask, a window's weights are ``taps * mask`` divided by their sum; a window without
    any weight gives zeros. All tensors have one floating dtype.
    """
    if mask is not None:
        # Selecting, not multiplying: a NaN outside the mask must not count.
        x, y = torch.where(mask > 0, x, 0), torch.where(mask > 0, y, 0)
    rows, row_weight = _merge_windows(x, y, None, mask, taps, dim=-1)
    stats, _ = _merge_windows(rows.pivot_x, rows.pivot_y, rows, row_weight, taps, dim=-2)
    # Rounding can leave a variance a little below 0.
    var_x, var_y = stats.var_x.clamp(min=0), stats.var_y.clamp(min=0)
    return WindowedStatistics(
        stats.pivot_x, stats.pivot_y, stats.shift_x, stats.shift_y, var_x, var_y, stats.cov_xy
    )


def reflect(image: Tensor, margin: int) -> Tensor:
    """Mirrors `margin` pixels beyond each edge, so that every pixel is a window's centre."""
    return F.pad(image, (margin, margin, margin, margin), mode="reflect")


def _merge_windows(
    x: Tensor,
    y: Tensor,
    within: WindowedStatistics | None,
    weight: Tensor | None,
    taps: Tensor,
    dim: int,
) -> tuple[WindowedStatistics, Tensor | None]:
    """Statistics along one axis, of entries x and y that may have shifts and moments within."""
    size = taps.shape[0]

    def windows(entries: Tensor) -> Tensor:
        count = entries.shape[dim] - size + 1
        return torch.stack([entries.narrow(dim, j, count) for j in range(size)], dim=-1)

    x, y, total = windows(x), windows(y), None
    if weight is None:
        share = taps
        pivot_x, pivot_y = x[..., size // 2], y[..., size // 2]
    else:
        share = taps * windows(weight)
        total = share.sum(-1)
        share = share / torch.where(total > 0, total, 1)[..., None]
        # The centre entry may be masked out; near the mean is as good a pivot.
        pivot_x, pivot_y = (share * x).sum(-1), (share * y).sum(-1)
    dx, dy = x - pivot_x[..., None], y - pivot_y[..., None]
    if within is not None:
        dx, dy = dx + windows(within.shift_x), dy + windows(within.shift_y)
    shift_x, shift_y = (share * dx).sum(-1), (share * dy).sum(-1)
    var_x = (share * dx * dx).sum(-1) - shift_x * shift_x
    var_y = (share * dy * dy).sum(-1) - shift_y * shift_y
    cov_xy = (share * dx * dy).sum(-1) - shift_x * shift_y
    if within is not None:
        var_x = var_x + (share * windows(within.var_x)).sum(-1)
        var_y = var_y + (share * windows(within.var_y)).sum(-1)
        cov_xy = cov_xy + (share * windows(within.cov_xy)).sum(-1)
    return WindowedStatistics(pivot_x, pivot_y, shift_x, shift_y, var_x, var_y, cov_xy), total
