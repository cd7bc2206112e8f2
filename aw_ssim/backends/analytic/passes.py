"""The two passes of the analytic backend over a chunk: moments forward, gradients back.

The moments are those of `reference`, one tap at a time instead of one window at a time. Both images
lie in one tensor, and so do all sums: few operations on large tensors cost a CPU less than many on
small ones.

The gradient of a pixel gathers the brackets (`formulas.bracket_of`) of all windows that hold it,
one axis at a time. Between the axes a bracket is kept relative to the pivot of the pixel's row, so
that its factors, which are huge on flat windows, only ever multiply differences of pixels.

Below, P counts the planes or volumes of a chunk, and `*S` are their two or three sides.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ...formulas import EPS, compiled, multiply_add

# The formulas of one window. torch differentiates nothing here: what is below 0 is cut off in one
# operation.
formulas = compiled(
    lambda formula: formula,
    EPS=EPS,
    sqrt=torch.sqrt,
    multiply_add=multiply_add,
    not_negative=lambda value: value.clamp(min=0),
)

# The order in which axes are merged, by the number of sides. Chunks are strips along a plane's rows
# or a volume's slices. Slices come first, so that strips share no work: a volume has few, and what
# strips of rows do twice is little.
AXES = {2: (-1, -2), 3: (-3, -2, -1)}


class Found(NamedTuple):
    """What one pass finds, and what the other needs."""

    moments: tuple[Tensor, ...]
    pivots: list[Tensor]
    """2 x P x *S: the pixels, then the pivots after each axis."""
    inverse: Tensor | None
    """With a mask, 1 over the windows' total weights."""


def moments(images: Tensor, mask: Tensor | None, taps: list[float]) -> Found:
    """Of the windows inside both images, 2 x P x *S."""
    pivots, sums, weight, inverse = [images], None, mask, None
    for dim in AXES[images.ndim - 2]:
        merged, sums, weight, inverse = _merge_taps(pivots[-1], sums, weight, taps, dim)
        pivots.append(merged)
    assert sums is not None
    return Found(formulas.whole_window((*pivots[-1], *sums)), pivots, inverse)


def _merge_taps(
    entries: Tensor, within: Tensor | None, weight: Tensor | None, taps: list[float], dim: int
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Pivots of both images, their five moments about these, the total weight and its inverse.

    `entries` may have moments of their own, `within`: shifts, variances and covariance.
    """
    each, size, total, inverse = _under_taps(entries, taps, dim), len(taps), None, None
    if weight is None:
        pivots = each[size // 2]
    else:
        total = _correlate(weight, taps, dim)
        inverse = 1 / torch.where(total > 0, total, 1)
        pivots = _correlate(weight * entries, taps, dim) * inverse

    sums = entries.new_zeros(5, *pivots.shape[1:])
    means, variances, covariance, inner_sums = sums[:2], sums[2:4], sums[4], sums[2:]
    # Fresh memory for each tap would cost more than the arithmetic.
    distance = torch.empty_like(pivots, memory_format=torch.contiguous_format)
    distance_x, distance_y = distance
    # Roots of the weights, so that variances and covariance are products of the same numbers: of
    # identical images they are equal to the bit, and x and y may change places.
    roots = [math.sqrt(tap) for tap in taps]
    # A number would be made a tensor by each operation that it multiplies in.
    root_tensors = entries.new_tensor(roots).unbind()
    if weight is not None:
        weights, shares = (_under_taps(w, taps, dim) for w in (weight, weight.sqrt()))
    if within is not None:
        shifts, inner = (_under_taps(part, taps, dim) for part in (within[:2], within[2:]))
    for j, (tap, root) in enumerate(zip(taps, roots, strict=True)):
        # Without a mask a pixel's distance to itself is 0; the next pass shows if it is not.
        if within is None and weight is None and j == size // 2:
            continue
        torch.sub(each[j], pivots, out=distance)
        if within is not None:
            distance += shifts[j]
        distance *= root_tensors[j]
        if weight is None:
            means.add_(distance, alpha=root)
        else:
            distance *= shares[j]
            means.addcmul_(distance, shares[j], value=root)
        variances.addcmul_(distance, distance)
        covariance.addcmul_(distance_x, distance_y)
        if within is not None and weight is None:
            inner_sums.add_(inner[j], alpha=tap)
        elif within is not None:
            inner_sums.addcmul_(inner[j], weights[j], value=tap)
    if inverse is not None:
        sums.mul_(inverse)
    variances.addcmul_(means, means, value=-1)
    covariance.addcmul_(means[0], means[1], value=-1)
    return pivots, sums, total, inverse


def _under_taps(entries: Tensor, taps: list[float], dim: int) -> tuple[Tensor, ...]:
    """For each tap of the windows along an axis, the entries that it falls on."""
    count = entries.shape[dim] - len(taps) + 1
    return entries.unfold(dim, count, 1).movedim(dim - 1, 0).movedim(-1, dim).unbind()


def _correlate(entries: Tensor, taps: list[float], dim: int) -> Tensor:
    each = _under_taps(entries, taps, dim)
    out = torch.zeros_like(each[0])
    for tap, part in zip(taps, each, strict=True):
        out.add_(part, alpha=tap)
    return out


def gather(found: Found, bracket: tuple[Tensor, ...], taps: list[float], out: list[Tensor]) -> None:
    """Adds each window's bracket to the pixels it holds: to the gradients of x, or of x and y."""
    base_x, own_x, base_y, own_y, cross = bracket
    for image, (base, own) in enumerate(((base_x, own_x), (base_y, own_y))[: len(out)]):
        _gather(found, torch.stack([base, own, cross]), taps, image, out[image])


def _gather(found: Found, brackets: Tensor, taps: list[float], image: int, out: Tensor) -> None:
    """`brackets`, 3 x P x *S': the base, and the factors of the own and the other pixel."""
    axes = AXES[out.ndim - 1]
    for number in reversed(range(len(axes))):
        dim, finer, coarser = axes[number], found.pivots[number], found.pivots[number + 1]
        _, own, cross = brackets
        # At the pixels themselves the base is the gradient; before, the factors go on.
        sums = brackets.new_zeros(3, *finer.shape[1:]) if number else out[None]
        brackets = brackets[: len(sums)]
        distance = coarser.new_empty(coarser.shape)
        distance_own, distance_other = distance[image], distance[1 - image]
        each, bases = (_under_taps(part, taps, dim) for part in (finer, sums[0]))
        for tap, entries, base, target in zip(
            taps, each, bases, _under_taps(sums, taps, dim), strict=True
        ):
            torch.sub(entries, coarser, out=distance)
            target.add_(brackets, alpha=tap)
            base.addcmul_(own, distance_own, value=tap)
            base.addcmul_(cross, distance_other, value=tap)
        brackets = sums
