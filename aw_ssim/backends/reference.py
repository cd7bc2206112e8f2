"""The definition, in plain differentiable torch: slow, and the truth for the other backends.

Works with every dtype, device and transform of torch.

Variances of a separable window by the law of total variance, one axis at a time: the variance along
a window is the weighted mean of the variances within its entries, plus the variance of the entries'
means. Each is taken about the window's centre entry, so that no two large numbers are subtracted:
the relative error stays at rounding level, and a constant window gives exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import formulas
from ..options import Options
from .interface import Inputs, inside

Moments = tuple[Tensor, ...]


def run(inputs: Inputs, options: Options, *, maps: bool) -> Tensor:
    """As `interface.Backend` describes it."""
    taps, mask = inputs.taps, inputs.mask
    x, y = (image.to(taps.dtype) / options.divisor for image in (inputs.x, inputs.y))
    apart = x - y
    if options.same:
        x, y = reflect(x, taps), reflect(y, taps)
        mask = None if mask is None else reflect(mask, taps)
    half, spatial = taps.shape[0] // 2, tuple(range(2, x.ndim))
    compare: Callable[..., Any] = formulas.product if options.product else formulas.terms
    shortfalls, _ = compare(window_moments(x, y, taps, mask), options.c1, options.c2)
    if maps:
        return torch.stack(shortfalls)
    loss = sum(w * term for w, term in zip(options.term_weights, shortfalls, strict=True))
    assert isinstance(loss, Tensor)
    sums = (loss if mask is None else loss * inside(mask, half)).sum(spatial)
    return sums + options.l1 * apart.abs().sum(spatial) if options.l1 else sums


def window_moments(x: Tensor, y: Tensor, taps: Tensor, mask: Tensor | None) -> Moments:
    """Moments of all windows that lie inside the images, each side shorter by `window_size - 1`.

    With a mask, a window's weights are ``taps * mask`` divided by their sum; a window without
    any weight gives zeros. All tensors have one floating dtype.
    """
    if mask is not None:
        # Selecting, not multiplying: a NaN outside the mask must not count.
        x, y = torch.where(mask > 0, x, 0), torch.where(mask > 0, y, 0)
    found, weight = _merge_windows(x, y, None, mask, taps, dim=-1)
    # Rows, then columns, then slices.
    for dim in range(-2, 1 - x.ndim, -1):
        found, weight = _merge_windows(found[0], found[1], found, weight, taps, dim)
    whole: Moments = formulas.whole_window(found)
    return whole


def reflect(image: Tensor, taps: Tensor) -> Tensor:
    """Mirrors pixels beyond each edge, so that every pixel is a window's centre."""
    return F.pad(image, [taps.shape[0] // 2] * 2 * (image.ndim - 2), mode="reflect")


def _merge_windows(
    x: Tensor,
    y: Tensor,
    within: Moments | None,
    weight: Tensor | None,
    taps: Tensor,
    dim: int,
) -> tuple[Moments, Tensor | None]:
    """Moments along one axis, of entries x and y that may have moments within."""
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
        dx, dy = dx + windows(within[2]), dy + windows(within[3])
    sums = [(share * entry).sum(-1) for entry in (dx, dy, dx * dx, dy * dy, dx * dy)]
    found = formulas.moments_of(pivot_x, pivot_y, sums)
    if within is not None:
        inner = [(share * windows(entry)).sum(-1) for entry in within[4:]]
        found = (*found[:4], *(m + w for m, w in zip(found[4:], inner, strict=True)))
    return found, total
