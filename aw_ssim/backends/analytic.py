"""The loss and its gradient in closed form, with plain torch operations on small chunks.

The same tap-centred moments as `torch_reference`, but each chunk of a few planes or rows goes
through the whole calculation while it lies in the cache, and its gradient is formed in the same
pass. Written for CPUs: the taps are read as Python numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import local_terms as terms
from ..local_terms import Constants, LocalGradient, WindowedStatistics
from .analytic_passes import Moments, gather, moments
from .torch_reference import reflect

# Pixels a chunk aims at: some twenty float32 buffers of this size stay in the last-level cache.
CHUNK_PIXELS = 1 << 18


@dataclass(frozen=True)
class Options:
    """What the backends' functions need beside images; `weights` None means the product."""

    weights: tuple[float, ...] | None
    constants: Constants
    data_range: float
    same: bool


def dissimilarity_sums(
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    mask: Tensor | None,
    options: Options,
    need_x: bool,
    need_y: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Each image's summed loss map, N values, and the gradients of these sums."""
    n, c = x.shape[:2]
    plane_sums = taps.new_zeros(n * c)
    gradients = _Gradients(x, taps.dtype, need_x, need_y)
    for group in _groups(x, y, taps, mask, options):
        out_x, out_y = gradients.buffers(group)
        for strip in group.strips():
            found = moments(strip.images, strip.mask, strip.taps)
            stats = found.stats
            centre = strip.mask_at_centres()
            if gradients.needed:
                scale = 1.0 if centre is None else centre
                shortfalls, local = _local_gradient(stats, options, scale)
                strip.gather(found, _share(local, found.total), out_x, out_y)
            else:
                shortfalls = _terms(stats, options)
            shortfall = _weighted(shortfalls, options)
            if centre is not None:
                shortfall = shortfall * centre
            plane_sums[group.planes] += shortfall.sum((1, 2))
        gradients.store(group, out_x, out_y, options)
    return plane_sums.view(n, c).sum(1), *gradients.finished()


def local_terms(
    x: Tensor, y: Tensor, taps: Tensor, mask: Tensor | None, options: Options
) -> Tensor:
    """The maps 1 - l, 1 - c, 1 - s, or 1 - l c s alone: K x N x C x H' x W'."""
    n, c, h, w = x.shape
    count = 1 if options.weights is None else 3
    margin = 0 if options.same else taps.shape[0] - 1
    out = taps.new_empty(count, n * c, h - margin, w - margin)
    for group in _groups(x, y, taps, mask, options):
        for strip in group.strips():
            stats = moments(strip.images, strip.mask, strip.taps).stats
            for k, shortfall in enumerate(_terms(stats, options)):
                out[k, group.planes, strip.windows] = shortfall
    return out.view(count, n, c, h - margin, w - margin)


def local_terms_backward(
    upstream: Tensor,
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    mask: Tensor | None,
    options: Options,
    need_x: bool,
    need_y: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of `local_terms` under any upstream gradient; the moments are formed anew."""
    upstream = upstream.flatten(1, 2)
    gradients = _Gradients(x, taps.dtype, need_x, need_y)
    for group in _groups(x, y, taps, mask, options):
        out_x, out_y = gradients.buffers(group)
        for strip in group.strips():
            found = moments(strip.images, strip.mask, strip.taps)
            stats = found.stats
            at = upstream[:, group.planes, strip.windows]
            if options.weights is None:
                _, local = terms.product_gradient(stats, options.constants, at[0])
            else:
                weights = at[0], at[1], at[2]
                _, local = terms.weighted_gradient(stats, options.constants, weights)
            strip.gather(found, _share(local, found.total), out_x, out_y)
        gradients.store(group, out_x, out_y, options)
    return gradients.finished()


@dataclass(frozen=True)
class _Strip:
    """Whole rows of a group of planes: the windows' slice of rows, and the pixels they hold."""

    windows: slice
    images: Tensor
    mask: Tensor | None
    taps: list[float]

    def mask_at_centres(self) -> Tensor | None:
        half = len(self.taps) // 2
        end = -half or None
        return None if self.mask is None else self.mask[:, half:end, half:end]

    def gather(
        self,
        found: Moments,
        local: LocalGradient,
        out_x: Tensor | None,
        out_y: Tensor | None,
    ) -> None:
        rows = slice(self.windows.start, self.windows.start + self.images.shape[2])
        out_x, out_y = (None if out is None else out[:, rows] for out in (out_x, out_y))
        gather(self.images, found, local, self.taps, out_x, out_y)


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
            yield _Strip(slice(start, stop), self.images[:, :, rows], mask, self.taps)


def _groups(
    x: Tensor, y: Tensor, taps: Tensor, mask: Tensor | None, options: Options
) -> Iterator[_Group]:
    n, c, h, w = x.shape
    tap_list = taps.tolist()
    x, y = x.reshape(n * c, h, w), y.reshape(n * c, h, w)
    if mask is not None:
        mask = mask.expand(n, c, h, w).reshape(n * c, h, w)
    margin = len(tap_list) // 2 if options.same else 0
    size = max(1, CHUNK_PIXELS // (h * w))
    for start in range(0, n * c, size):
        planes = slice(start, start + size)
        images = torch.stack([t[planes].to(taps.dtype) for t in (x, y)]).div_(options.data_range)
        group_mask = None
        if mask is not None:
            group_mask = mask[planes].to(taps.dtype)
            # Selecting, not multiplying: a NaN outside the mask must not count.
            images = torch.where(group_mask > 0, images, 0)
        if margin:
            images = reflect(images, margin)
            group_mask = None if group_mask is None else reflect(group_mask, margin)
        yield _Group(planes, images, group_mask, tap_list)


class _Gradients:
    """The gradients being filled, N x C x H x W, one group of planes at a time."""

    def __init__(self, x: Tensor, dtype: torch.dtype, need_x: bool, need_y: bool) -> None:
        self.shape = x.shape
        n, c, h, w = x.shape
        self.whole = [
            torch.empty(n * c, h, w, dtype=dtype, device=x.device) if need else None
            for need in (need_x, need_y)
        ]
        self.needed = need_x or need_y

    def buffers(self, group: _Group) -> tuple[Tensor | None, Tensor | None]:
        out_x, out_y = (
            None if t is None else torch.zeros_like(group.images[0]) for t in self.whole
        )
        return out_x, out_y

    def store(
        self, group: _Group, out_x: Tensor | None, out_y: Tensor | None, options: Options
    ) -> None:
        for whole, out in zip(self.whole, (out_x, out_y), strict=True):
            if whole is None or out is None:
                continue
            if group.mask is not None:
                # Also 0 where the pixel is masked out and the gathered sum is not finite.
                out = torch.where(group.mask > 0, out * group.mask, 0)
            if options.same:
                margin = len(group.taps) // 2
                out = torch.ops.aten.reflection_pad2d_backward(
                    out, whole[group.planes], [margin] * 4
                )
            torch.mul(out, 1 / options.data_range, out=whole[group.planes])

    def finished(self) -> tuple[Tensor | None, Tensor | None]:
        grad_x, grad_y = (None if t is None else t.view(self.shape) for t in self.whole)
        return grad_x, grad_y


def _terms(stats: WindowedStatistics, options: Options) -> tuple[Tensor, ...]:
    if options.weights is None:
        return (terms.product_shortfall(stats, options.constants),)
    return (
        terms.luminance_shortfall(stats, options.constants),
        terms.contrast_shortfall(stats, options.constants),
        terms.structure_shortfall(stats, options.constants),
    )


def _weighted(shortfalls: tuple[Tensor, ...], options: Options) -> Tensor:
    weights = options.weights or (1.0,)
    total = torch.zeros_like(shortfalls[0])
    for weight, shortfall in zip(weights, shortfalls, strict=True):
        total.add_(shortfall, alpha=weight)
    return total


def _local_gradient(
    stats: WindowedStatistics, options: Options, scale: Tensor | float
) -> tuple[tuple[Tensor, ...], LocalGradient]:
    if options.weights is None:
        return terms.product_gradient(stats, options.constants, scale)
    a, b, g = options.weights
    return terms.weighted_gradient(stats, options.constants, (a * scale, b * scale, g * scale))


def _share(local: LocalGradient, total: Tensor | None) -> LocalGradient:
    """With a mask, a pixel's share of its window is divided by the window's total weight."""
    if total is None:
        return local
    inverse = 1 / torch.where(total > 0, total, 1)
    return LocalGradient(*(derivative * inverse for derivative in local))
