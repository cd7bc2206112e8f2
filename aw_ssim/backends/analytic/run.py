"""The loss and its gradient in closed form, with plain torch operations on small chunks.

A few planes or volumes, or a strip of one, go through the whole calculation while they lie in the
cache, and their gradient is formed in the same pass. Written for CPUs: the taps are read as
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...options import Options
from ..interface import Inputs, Outputs, inside
from . import absolute
from .passes import Found, formulas, gather, moments

# Pixels a chunk aims at in float32, half as many in float64: some twenty buffers of this size stay
# in the last-level cache.
CHUNK_PIXELS = 1 << 18
# Of volumes no more than this part, or the buffers would outgrow the images; but an operation on
# fewer voxels than this takes hardly less time.
PART, LEAST_VOXELS = 6, 1 << 17
# A GPU is idle in small operations.
CHUNK_OF_GPU = 1 << 22


def run(inputs: Inputs, options: Options, out: Outputs, upstream: Tensor | None) -> None:
    """As `interface.ClosedForm` describes it."""
    sums = None if out.sums is None else out.sums.zero_().flatten()
    maps = None if out.maps is None else out.maps.flatten(1, 2)
    upstream = None if upstream is None else upstream.flatten(1, 2)
    for group in _groups(inputs, options):
        wholes = [gradient.flatten(0, 1)[group.blocks] for gradient in out.gradients]
        gradients = [group.room(whole) for whole in wholes]
        for windows, rows in group.strips():
            images, mask = group.load(rows)
            found = moments(images, mask, group.taps)
            bracket = _evaluate(
                found,
                None if mask is None else inside(mask[None], len(group.taps) // 2)[0],
                options,
                None if sums is None else sums[group.blocks],
                None if maps is None else maps[:, group.blocks, windows],
                None if upstream is None else upstream[:, group.blocks, windows],
                bool(gradients),
            )
            if bracket is not None:
                targets = [gradient[:, rows] for gradient in gradients]
                gather(found, bracket, group.taps, targets)
        for gradient, whole in zip(gradients, wholes, strict=True):
            group.store(gradient, whole)
    if options.l1:
        absolute.add(inputs, options, out)


def _evaluate(
    found: Found,
    centre: Tensor | None,
    options: Options,
    sums: Tensor | None,
    maps: Tensor | None,
    upstream: Tensor | None,
    need_gradient: bool,
) -> tuple[Tensor, ...] | None:
    """The windows' terms into sums and maps, and their brackets if a gradient is wanted."""
    compare, differentiate = (
        (formulas.product, formulas.product_derivatives)
        if options.product
        else (formulas.terms, formulas.terms_derivatives)
    )
    shortfalls, shared = compare(found.moments, options.c1, options.c2)
    if maps is not None:
        for k, shortfall in enumerate(shortfalls):
            maps[k] = shortfall
    if sums is not None:
        sums += _weighted(shortfalls, options, centre).sum(
            tuple(range(1, found.pivots[0].ndim - 1))
        )
    if not need_gradient:
        return None
    weights: Sequence[Tensor | float] = options.term_weights
    if upstream is not None:
        weights = upstream.unbind()
    elif centre is not None:
        weights = [weight * centre for weight in weights]
    if found.inverse is not None:
        weights = [weight * found.inverse for weight in weights]
    derivatives = differentiate(found.moments, options.c2, shared, weights)
    bracket: tuple[Tensor, ...] = formulas.bracket_of(found.moments, derivatives)
    return bracket


@dataclass(frozen=True)
class _Group:
    """A few planes or volumes of both images, P x *S, each in its own dtype."""

    blocks: slice
    images: list[Tensor]
    mask: Tensor | None
    taps: list[float]
    dtype: torch.dtype
    options: Options
    chunk: int

    @property
    def margin(self) -> int:
        """Mirrored pixels around each side."""
        return len(self.taps) // 2 if self.options.same else 0

    @property
    def padded(self) -> list[int]:
        return [side + 2 * self.margin for side in self.images[0].shape[1:]]

    def strips(self) -> Iterator[tuple[slice, slice]]:
        """Rows of planes, or slices of volumes: the windows' numbers, and those of their pixels."""
        first, *others = self.padded
        windows, size = first - len(self.taps) + 1, len(self.taps)
        # Strips of planes do a part of their work twice.
        least = 4 * size if len(others) == 1 else 1
        step = max(least, self.chunk // (len(self.images[0]) * math.prod(others)))
        for start in range(0, windows, step):
            stop = min(start + step, windows)
            yield slice(start, stop), slice(start, stop + size - 1)

    def load(self, rows: slice) -> tuple[Tensor, Tensor | None]:
        """Both images, 2 x P x *S, over the data range, and the mask, padded if asked for."""
        images = torch.stack([self._part(image, rows) for image in self.images])
        images = images.div_(self.options.divisor)
        if self.mask is None:
            return images, None
        seen = self._part(self.mask, rows)
        # Selecting, not multiplying: a NaN outside the mask must not count.
        return torch.where(seen > 0, images, 0), seen

    def _part(self, image: Tensor, rows: slice) -> Tensor:
        """Some of the padded rows or slices, in the dtype to compute in."""
        if not self.margin:
            return image[:, rows].to(self.dtype)
        last = image.shape[1] - 1
        numbers = torch.arange(rows.start, rows.stop, device=image.device) - self.margin
        mirrored = last - (last - numbers.abs()).abs()
        part = image.index_select(1, mirrored).to(self.dtype)
        around = [self.margin] * 2 * (image.ndim - 2) + [0, 0]
        return F.pad(part, around, mode="reflect")

    def room(self, whole: Tensor) -> Tensor:
        """Where the gradient of the padded images is summed: in its place, if they are not."""
        if self.margin:
            return whole.new_zeros(len(whole), *self.padded)
        return whole.zero_()

    def store(self, gradient: Tensor, whole: Tensor) -> None:
        """Puts the gradient that `room` gave the room for into its place."""
        if self.mask is not None:
            seen = self._part(self.mask, slice(0, self.padded[0]))
            # Also 0 where the pixel is masked out and the gathered sum is not finite.
            gradient.mul_(seen).masked_fill_(~(seen > 0), 0)
        if self.margin:
            sides = whole.ndim - 1
            backward = getattr(torch.ops.aten, f"reflection_pad{sides}d_backward")
            gradient = backward(gradient, whole, [self.margin] * 2 * sides)
        torch.mul(gradient, 1 / self.options.divisor, out=whole)


def _groups(inputs: Inputs, options: Options) -> Iterator[_Group]:
    x, y, taps, mask = inputs
    # Read once: a GPU is waited for.
    numbers = taps.tolist()
    chunk = _chunk(x, taps.dtype)
    images = [image.reshape(-1, *x.shape[2:]) for image in (x, y)]
    mask = None if mask is None else mask.reshape(-1, *x.shape[2:])
    size = max(1, chunk // math.prod(x.shape[2:]))
    for start in range(0, len(images[0]), size):
        blocks = slice(start, start + size)
        yield _Group(
            blocks,
            [image[blocks] for image in images],
            None if mask is None else mask[blocks],
            numbers,
            taps.dtype,
            options,
            chunk,
        )


def _chunk(x: Tensor, dtype: torch.dtype) -> int:
    """How many pixels or voxels a chunk aims at, computed in a dtype."""
    most = CHUNK_PIXELS * 4 // dtype.itemsize if x.device.type == "cpu" else CHUNK_OF_GPU
    return most if x.ndim == 4 else min(most, max(LEAST_VOXELS, x.numel() // PART))


def _weighted(shortfalls: tuple[Tensor, ...], options: Options, centre: Tensor | None) -> Tensor:
    first, *others = options.term_weights
    total = first * shortfalls[0]
    for weight, shortfall in zip(others, shortfalls[1:], strict=True):
        total.add_(shortfall, alpha=weight)
    return total if centre is None else total.mul_(centre)
