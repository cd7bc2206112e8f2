"""The two passes of the analytic backend over a chunk: moments forward, gradients back.

The moments are those of `reference`, one tap at a time instead of one window at a time. Both images
lie in one tensor, and so do all sums: few operations on large tensors cost a CPU less than many on
small ones.

The gradient of a pixel gathers the brackets (`formulas.bracket_of`) of all windows that hold it,
one axis at a time. Between the axes a bracket is kept relative to the pivot of the pixel's row, so
that its factors, which are huge on flat windows, only ever multiply differences of pixels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ... import formulas


class Found(NamedTuple):
    """What one pass finds, and what the other needs."""

    moments: tuple[Tensor, ...]
    pivots: Tensor
    row_pivots: Tensor
    inverse: Tensor | None
    """With a mask, 1 over the windows' total weights."""


def moments(images: Tensor, mask: Tensor | None, taps: list[float]) -> Found:
    """Of the windows inside both images' planes, 2 x P x H x W."""
    row_pivots, rows, row_weight, _ = _merge_taps(images, None, mask, taps, dim=-1)
    pivots, sums, _, inverse = _merge_taps(row_pivots, rows, row_weight, taps, dim=-2)
    return Found(formulas.whole_window((*pivots, *sums)), pivots, row_pivots, inverse)


def _merge_taps(
    entries: Tensor, within: Tensor | None, weight: Tensor | None, taps: list[float], dim: int
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Pivots of both images, their five moments about these, the total weight and its inverse.

    `entries` may have moments of their own, `within`: shifts, variances and covariance.
    """
    count, centre = entries.shape[dim] - len(taps) + 1, len(taps) // 2
    total = inverse = None
    if weight is None:
        pivots = entries.narrow(dim, centre, count)
    else:
        total = _correlate(weight, taps, dim, count)
        inverse = 1 / torch.where(total > 0, total, 1)
        pivots = _correlate(weight * entries, taps, dim, count) * inverse

    sums = entries.new_zeros(5, *pivots.shape[1:])
    # Fresh memory for each tap would cost more than the arithmetic.
    distance = torch.empty_like(pivots, memory_format=torch.contiguous_format)
    root_weight = None if weight is None else weight.sqrt()
    for j, tap in enumerate(taps):
        # Without a mask a pixel's distance to itself is 0; the second pass shows if it is not.
        if within is None and weight is None and j == centre:
            continue
        torch.sub(entries.narrow(dim, j, count), pivots, out=distance)
        if within is not None:
            distance += within.narrow(dim, j, count)[:2]
        # Roots of the weights, so that variances and covariance are products of the same numbers:
        # of identical images they are equal to the bit, and x and y may change places.
        root = math.sqrt(tap)
        distance *= root
        if root_weight is None:
            sums[:2].add_(distance, alpha=root)
        else:
            share = root_weight.narrow(dim, j, count)
            distance *= share
            sums[:2].addcmul_(distance, share, value=root)
        sums[2:4].addcmul_(distance, distance)
        sums[4].addcmul_(distance[0], distance[1])
        if within is not None:
            inner = within.narrow(dim, j, count)[2:]
            if weight is None:
                sums[2:].add_(inner, alpha=tap)
            else:
                sums[2:].addcmul_(inner, weight.narrow(dim, j, count), value=tap)
    if inverse is not None:
        sums.mul_(inverse)
    sums[2:4].addcmul_(sums[:2], sums[:2], value=-1)
    sums[4].addcmul_(sums[0], sums[1], value=-1)
    return pivots, sums, total, inverse


def _correlate(entries: Tensor, taps: list[float], dim: int, count: int) -> Tensor:
    out = torch.zeros_like(entries.narrow(dim, 0, count))
    for j, tap in enumerate(taps):
        out.add_(entries.narrow(dim, j, count), alpha=tap)
    return out


def gather(
    images: Tensor,
    found: Found,
    bracket: tuple[Tensor, ...],
    taps: list[float],
    out: list[Tensor],
) -> None:
    """Adds each window's bracket to the pixels it holds: to the gradients of x, or of x and y."""
    base_x, own_x, base_y, own_y, cross = bracket
    for image, (base, own) in enumerate(((base_x, own_x), (base_y, own_y))[: len(out)]):
        _gather(images, found, torch.stack([base, own, cross]), taps, image, out[image])


def _gather(
    images: Tensor, found: Found, brackets: Tensor, taps: list[float], image: int, out: Tensor
) -> None:
    """`brackets`, 3 x P x H' x W': the base, and the factors of the own and the other pixel."""
    other, (rows, columns) = 1 - image, brackets.shape[2:]
    _, own, cross = brackets
    # Down the columns: per row of pixels, about the pivots of the windows along it.
    sums = brackets.new_zeros(3, *found.row_pivots.shape[1:])
    distance = brackets.new_empty(found.pivots.shape)
    for j, tap in enumerate(taps):
        torch.sub(found.pivots, found.row_pivots.narrow(-2, j, rows), out=distance)
        target = sums.narrow(-2, j, rows).add_(brackets, alpha=tap)[0]
        target.addcmul_(own, distance[image], value=-tap)
        target.addcmul_(cross, distance[other], value=-tap)
    base, own, cross = sums
    distance = brackets.new_empty(found.row_pivots.shape)
    for j, tap in enumerate(taps):
        torch.sub(images.narrow(-1, j, columns), found.row_pivots, out=distance)
        target = out.narrow(-1, j, columns).add_(base, alpha=tap)
        target.addcmul_(own, distance[image], value=tap)
        target.addcmul_(cross, distance[other], value=tap)
