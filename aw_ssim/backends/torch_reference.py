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
    along_rows, row_weight = _merge_windows(x, y, None, mask, taps, dim=-1)
    mean_x, mean_y, *within = along_rows
    stats, _ = _merge_windows(mean_x, mean_y, within, row_weight, taps, dim=-2)
    mean_x, mean_y, var_x, var_y, cov_xy = stats
    # Rounding can leave a variance a little below 0.
    return WindowedStatistics(mean_x, mean_y, var_x.clamp(min=0), var_y.clamp(min=0), cov_xy)


def reflect(image: Tensor, margin: int) -> Tensor:
    """Mirrors `margin` pixels beyond each edge, so that every pixel is a window's centre."""
    return F.pad(image, (margin, margin, margin, margin), mode="reflect")


def _merge_windows(
    mean_x: Tensor,
    mean_y: Tensor,
    within: list[Tensor] | None,
    weight: Tensor | None,
    taps: Tensor,
    dim: int,
) -> tuple[WindowedStatistics, Tensor | None]:
    """Statistics along one axis, from entries with their own means and second moments."""

    def windows(entries: Tensor) -> Tensor:
        return entries.unfold(dim, taps.shape[0], 1)

    x, y, total = windows(mean_x), windows(mean_y), None
    if weight is None:
        share = taps
        centre = taps.shape[0] // 2
        pivot_x, pivot_y = x[..., centre], y[..., centre]
    else:
        share = taps * windows(weight)
        total = share.sum(-1)
        share = share / torch.where(total > 0, total, 1)[..., None]
        # The centre entry may be masked out; the mean itself is as good a pivot.
        pivot_x, pivot_y = (share * x).sum(-1), (share * y).sum(-1)
    dx, dy = x - pivot_x[..., None], y - pivot_y[..., None]
    shift_x, shift_y = (share * dx).sum(-1), (share * dy).sum(-1)
    second = [
        (share * dx * dx).sum(-1) - shift_x * shift_x,
        (share * dy * dy).sum(-1) - shift_y * shift_y,
        (share * dx * dy).sum(-1) - shift_x * shift_y,
    ]
    if within is not None:
        second = [
            between + (share * windows(inner)).sum(-1)
            for between, inner in zip(second, within, strict=True)
        ]
    var_x, var_y, cov_xy = second
    return WindowedStatistics(pivot_x + shift_x, pivot_y + shift_y, var_x, var_y, cov_xy), total
