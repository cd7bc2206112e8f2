"""The loss and its gradient in closed form, with plain torch operations on small chunks.

A few planes, or rows of one plane, go through the whole calculation while they lie in the cache,
and their gradient is formed in the same pass. Written for CPUs: the taps are read as numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ... import formulas
from ...options import Options
from ..interface import Inputs, Outputs
from ..reference import at_centres, reflect
from .passes import gather, moments

# Pixels a chunk aims at: some twenty float32 buffers of this size stay in the last-level cache.
CHUNK_PIXELS = 1 << 18


def run(inputs: Inputs, options: Options, out: Outputs, upstream: Tensor | None) -> None:
    """As `interface.ClosedForm` describes it."""
    form = formulas.PRODUCT if options.product else formulas.ADDITIVE
    sums = None if out.sums is None else out.sums.zero_().flatten()
    maps = None if out.maps is None else out.maps.flatten(1, 2)
    upstream = None if upstream is None else upstream.flatten(1, 2)
    for group in _groups(inputs, options):
        gradients = [torch.zeros_like(group.images[0]) for _ in out.gradients]
        for strip in group.strips():
            found = moments(strip.images, strip.mask, strip.taps)
            shortfalls, shared = form.shortfalls(found.moments, options.c1, options.c2)
            centre = None if strip.mask is None else at_centres(strip.mask, inputs.taps)
            if maps is not None:
                for k, shortfall in enumerate(shortfalls):
                    maps[k, group.planes, strip.windows] = shortfall
            if sums is not None:
                sums[group.planes] += _weighted(shortfalls, options, centre).sum((1, 2))
            if gradients:
                weights: Sequence[Tensor | float] = options.term_weights
                if upstream is not None:
                    weights = upstream[:, group.planes, strip.windows].unbind()
                elif centre is not None:
                    weights = [weight * centre for weight in weights]
                if found.inverse is not None:
                    weights = [weight * found.inverse for weight in weights]
                derivatives = form.derivatives(found.moments, options.c2, shared, weights)
                bracket = formulas.bracket_of(found.moments, derivatives)
                rows = [gradient[:, strip.rows] for gradient in gradients]
                gather(strip.images, found, bracket, strip.taps, rows)
        for gradient, whole in zip(gradients, out.gradients, strict=True):
            group.store(gradient, whole.flatten(0, 1)[group.planes], options)


@dataclass(frozen=True)
class _Strip:
    """Whole rows of a group of planes: numbers of the windows' rows, and the pixels they hold."""

    windows: slice
    rows: slice
    images: Tensor
    mask: Tensor | None
    taps: list[float]


@dataclass(frozen=True)
class _Group:
    """A few planes of both images, 2 x P x H x W, over the data range, padded if asked for."""

    planes: slice
    images: Tensor
    mask: Tensor | None
    taps: list[float]

    def strips(self) -> Iterator[_Strip]:
        _, count, h, w = self.images.shape
        windows, size = h - len(self.taps) + 1, len(self.taps)
        step = max(4 * size, CHUNK_PIXELS // (count * w))
        for start in range(0, windows, step):
            stop = min(start + step, windows)
            rows = slice(start, stop + size - 1)
            mask = None if self.mask is None else self.mask[:, rows]
            yield _Strip(slice(start, stop), rows, self.images[:, :, rows], mask, self.taps)

    def store(self, gradient: Tensor, whole: Tensor, options: Options) -> None:
        """Puts the gradient of the group's pixels into the whole gradient's planes."""
        if self.mask is not None:
            # Also 0 where the pixel is masked out and the gathered sum is not finite.
            gradient = torch.where(self.mask > 0, gradient * self.mask, 0)
        if options.same:
            margin = [len(self.taps) // 2] * 4
            gradient = torch.ops.aten.reflection_pad2d_backward(gradient, whole, margin)
        torch.mul(gradient, 1 / options.divisor, out=whole)


def _groups(inputs: Inputs, options: Options) -> Iterator[_Group]:
    n, c, h, w = inputs.x.shape
    dtype, taps = inputs.taps.dtype, inputs.taps.tolist()
    x, y = (image.reshape(n * c, h, w) for image in (inputs.x, inputs.y))
    mask = None if inputs.mask is None else inputs.mask.reshape(n * c, h, w)
    size = max(1, CHUNK_PIXELS // (h * w))
    for start in range(0, n * c, size):
        planes = slice(start, start + size)
        images = torch.stack([image[planes].to(dtype) for image in (x, y)])
        images = images.div_(options.divisor)
        seen = None
        if mask is not None:
            seen = mask[planes].to(dtype)
            # Selecting, not multiplying: a NaN outside the mask must not count.
            images = torch.where(seen > 0, images, 0)
        if options.same:
            images = reflect(images, inputs.taps)
            seen = None if seen is None else reflect(seen, inputs.taps)
        yield _Group(planes, images, seen, taps)


def _weighted(shortfalls: tuple[Tensor, ...], options: Options, centre: Tensor | None) -> Tensor:
    first, *others = options.term_weights
    total = first * shortfalls[0]
    for weight, shortfall in zip(others, shortfalls[1:], strict=True):
        total.add_(shortfall, alpha=weight)
    return total if centre is None else total.mul_(centre)
