"""A structural loss mixed with L1, as super-resolution, restoration and splatting train with it.

Zhao, Gallo, Frosio and Kautz, "Loss functions for image restoration with neural networks", IEEE
Transactions on Computational Imaging, 2017; Kerbl et al., "3D Gaussian splatting for real-time
radiance field rendering", ACM Transactions on Graphics, 2023.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from . import checks
from .availability import being_exported
from .backends.interface import inside
from .comparison import SMALLEST_RANGE, compare, window_width
from .gaussian_window import window_for
from .image_checks import inside_torch_func
from .loss import SSIMLoss, StructuralLoss
from .memory_format import gradient_as
from .options import Options

# Beside a smaller share of windows, a pixel's could be too much for float32.
SMALLEST_MIX = 1e-6


class CombinedL1Loss(nn.Module):
    """``mix * structural + (1 - mix) * L1``, L1 being the mean of ``|prediction - target|``.

    L1 is in units of the structural loss's ``data_range``, so that both terms are of one scale,
    and follows its mask and ``reduction``. By default it counts every pixel once, as
    ``torch.nn.functional.l1_loss``, whatever the padding; in the map of ``reduction="none"`` it
    stands at the windows' centres.

    With ``smoothed`` each window has one value, the mean of ``|prediction - target|`` under the
    structural loss's own window, padding and mask, as in Zhao et al.; over several scales it is
    taken at the finest. But for the border, the mean of all windows is that of all pixels.

    Args:
        structural: any structural loss of this package; :class:`SSIMLoss` by default. It holds
            every other option.
        mix: the structural term's share, from 0 to 1. Zhao et al. have 0.84, and 3D Gaussian
            splatting 0.2 beside ``SSIMLoss(padding="zeros")``.
        smoothed: L1 of windows in place of pixels.

    Raises:
        TypeError, ValueError: an option here, or an image in a call, is not as described.

    Example:
        >>> loss = CombinedL1Loss(SSIMLoss(padding="zeros"), mix=0.2)
        >>> prediction = torch.rand(2, 3, 64, 64, requires_grad=True)
        >>> loss(prediction, torch.rand(2, 3, 64, 64)).backward()
    """

    def __init__(
        self, structural: StructuralLoss | None = None, mix: float = 0.84, smoothed: bool = False
    ) -> None:
        super().__init__()
        self.structural = SSIMLoss() if structural is None else structural
        checks.loss_of_this_package(self.structural, StructuralLoss)
        self.mix = checks.fraction("mix", mix)
        self.smoothed = checks.flag("smoothed", smoothed)

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        data_range: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch of images; arguments and result as for the structural loss."""
        options = self.structural.options()
        if data_range is not None:
            options = options._replace(data_range=data_range)
        if mask is None and self._takes_one_pass(options):
            options = options._replace(l1=(1 - self.mix) / self.mix)
            names = ("prediction", "target")
            compared = compare(prediction, target, None, self.structural.sigma, options, names)
            return self.mix * compared.loss
        # It checks the images and the mask first.
        structural: Tensor = self.structural(prediction, target, mask, data_range)
        l1 = self._l1(prediction, target, mask, options)
        return self.mix * structural + (1 - self.mix) * l1

    def _takes_one_pass(self, options: Options) -> bool:
        """Whether a backend can add the pixels to its sums of windows, and their gradients."""
        structural = self.structural
        plain = type(structural).forward is StructuralLoss.forward and not self.smoothed
        heard = structural._forward_hooks or structural._forward_pre_hooks
        if heard or self.mix < SMALLEST_MIX or options.reduction == "none":
            return False
        return plain and not _traced()

    @property
    def reduction(self) -> str:
        """The structural loss's."""
        return self.structural.reduction

    @property
    def data_range(self) -> float | Tensor:
        """The structural loss's."""
        return self.structural.data_range

    def _l1(self, x: Tensor, y: Tensor, mask: Tensor | None, options: Options) -> Tensor:
        dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        x, y = gradient_as(x).to(dtype), gradient_as(y).to(dtype)
        mask = None if mask is None else mask.to(dtype)
        ranges = torch.as_tensor(options.data_range, dtype=dtype, device=x.device)
        ranges = ranges.clamp(min=SMALLEST_RANGE).reshape(-1, *[1] * (x.ndim - 1))
        taps = None
        if self.smoothed:
            width = window_width(self.structural.sigma, options)
            taps = window_for(x, options.window_size, width, dtype)
        if options.reduction == "none":
            return _map(x, y, mask, taps, options) / ranges
        sums, counts = _sums(x, y, mask, taps, options)
        sums = sums / ranges.flatten(1)
        if self.structural.counts_planes_alike:
            means = sums / torch.where(counts > 0, counts, 1)
            if options.reduction == "image":
                return means.mean(1)
            return means.mean() if options.reduction == "mean" else means.sum()
        if options.reduction == "image":
            return sums.sum(1) / counts.sum(1)
        return sums.sum() / counts.sum() if options.reduction == "mean" else sums.sum()

    def extra_repr(self) -> str:
        return f"mix={self.mix:g}, smoothed={self.smoothed}"


def _sums(
    x: Tensor, y: Tensor, mask: Tensor | None, taps: Tensor | None, options: Options
) -> tuple[Tensor, Tensor]:
    """Of each plane: the sum of what it shows, and how much that is; both N x C."""
    sides, axes = x.shape[2:], tuple(range(2, x.ndim))
    if taps is not None and mask is not None:
        seen = inside(mask, options.margin).sum(axes)
        return _map(x, y, mask, taps, options).sum(axes), seen.expand(x.shape[:2])
    margin = 0 if taps is None else options.margin
    count = x.new_ones(())
    for side in sides:
        count = count * (side - 2 * margin)
    weight = mask
    if taps is not None:
        # A sum of windows is a weighted sum of pixels: no window is formed.
        weight = torch.ones((), dtype=x.dtype, device=x.device)
        for axis, side in enumerate(sides):
            of_axis = _coverage(side, taps, options)
            weight = weight * of_axis.reshape(-1, *[1] * (len(sides) - 1 - axis))
    elif mask is not None:
        count = mask.sum(axes)
    return _weighted_sums(x, y, mask, weight), count.expand(x.shape[:2])


def _coverage(side: int, taps: Tensor, options: Options) -> Tensor:
    """How much each pixel along an axis counts in all windows together, (side,)."""
    size = len(taps)
    beyond = 0 if options.padding == "valid" else size // 2
    windows = side + 2 * beyond - size + 1
    # Of the pixel at a place, border included, the taps from one sum to another.
    place = torch.arange(1, side + 2 * beyond + 1, device=taps.device)
    running = F.pad(taps.cumsum(0), (1, 0))
    coverage = running[place.clamp(max=size)] - running[(place - windows).clamp(min=0)]
    if options.padding == "same":
        pixel = torch.arange(side, device=taps.device, dtype=taps.dtype)[None]
        mirrored = F.pad(pixel, (beyond, beyond), mode="reflect")[0].long()
        return taps.new_zeros(side).index_add(0, mirrored, coverage)
    return coverage[beyond : beyond + side]


def _map(
    x: Tensor, y: Tensor, mask: Tensor | None, taps: Tensor | None, options: Options
) -> Tensor:
    """``|x - y|`` at each window's centre, or its mean over the window, times the mask there."""
    means, seen = _difference(x, y, mask).abs(), mask
    centre = None if mask is None else inside(mask, options.margin)
    if taps is None:
        means = inside(means, options.margin)
        return means if centre is None else means * centre
    if options.padding != "valid":
        around = [len(taps) // 2] * 2 * (x.ndim - 2)
        mode, shown = {"same": ("reflect", None), "zeros": ("constant", 1.0)}[options.padding]
        means = F.pad(means, around, mode)
        seen = None if seen is None else F.pad(seen, around, mode, shown)
    if seen is None or centre is None:
        return _smoothed(means, taps)
    total = _smoothed(seen, taps)
    return _smoothed(means * seen, taps) / torch.where(total > 0, total, 1) * centre


def _smoothed(image: Tensor, taps: Tensor) -> Tensor:
    """Weighted means over the windows inside an image, one axis after the other.

    Sums of slices, since a GPU may round the factors of a convolution to ten bits.
    """
    for axis in range(2, image.ndim):
        count = image.shape[axis] - len(taps) + 1
        slices = [tap * image.narrow(axis, j, count) for j, tap in enumerate(taps.unbind())]
        image = torch.stack(slices).sum(0)
    return image


def _weighted_sums(x: Tensor, y: Tensor, mask: Tensor | None, weight: Tensor | None) -> Tensor:
    """The sum of ``weight * |x - y|`` in each plane, N x C, over pixels that the mask shows."""
    if _traced() or (weight is not None and weight.requires_grad):
        difference = _difference(x, y, mask).abs()
        return _plane_sums(difference if weight is None else difference * weight)
    sums: Tensor = _WeightedSums.apply(x, y, mask, weight)
    return sums


def _traced() -> bool:
    return torch.compiler.is_compiling() or inside_torch_func() or being_exported()


def _difference(x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    # Selecting, not multiplying: a NaN outside the mask must not count.
    return x - y if mask is None else torch.where(mask > 0, x - y, 0)


def _plane_sums(image: Tensor) -> Tensor:
    return image.sum(tuple(range(2, image.ndim)))


class _WeightedSums(Function):
    """Keeps the images alone, where autograd would keep their difference and its sign as well."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, mask: Tensor | None, weight: Tensor | None) -> Tensor:
        difference = _difference(x, y, mask).abs_()
        return _plane_sums(difference if weight is None else difference.mul_(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, y, mask, weight = ctx.saved_tensors
        gradient = _difference(x, y, mask).sign_()
        if weight is not None:
            gradient.mul_(weight)
        gradient.mul_(upstream[(...,) + (None,) * (x.ndim - 2)])
        need_x, need_y, *_ = ctx.needs_input_grad
        return gradient if need_x else None, -gradient if need_y else None, None, None

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor | None, of_y: Tensor | None, *_: Any) -> Tensor:
        x, y, mask, weight = ctx.saved_tensors
        change = (0 if of_x is None else of_x) - (0 if of_y is None else of_y)
        along = _difference(x, y, mask).sign() * change
        return _plane_sums(along if weight is None else along * weight)
