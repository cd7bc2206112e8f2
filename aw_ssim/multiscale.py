"""SSIM over several scales: the product of Wang et al. (2003), and a weighted sum of AW-SSIM.

Each scale halves the images by the mean of 2 x 2 pixels (volumes: 2 x 2 x 2); an odd last row,
column or slice is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from . import checks, image_checks
from .comparison import plane_means
from .loss import StructuralLoss
from .options import EQUAL_WEIGHTS, Options, parse_weights
from .sigma_schedule import SigmaSchedule

# Of Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment",
# 2003, section 3.2; finest first.
WANG = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Below this a power goes on as a hyperbola: a root of numbers near 0 has no finite gradient, and a
# mean of covariances can be negative.
LEAST_BASE = 0.01

Scale = tuple[Tensor, Tensor, Tensor | None]


class _MultiScaleLoss(StructuralLoss):
    """The options of a structural loss, and the weight of each scale."""

    counts_planes_alike = True

    def __init__(
        self,
        options: Options,
        sigma: float | Tensor | SigmaSchedule,
        scale_weights: Sequence[float],
    ) -> None:
        super().__init__(options, sigma)
        checks.choice("reduction", self.reduction, ("mean", "sum", "image"))
        self.scale_weights = checks.scale_weights(scale_weights)

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        data_range: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; arguments as for :class:`AWSSIMLoss`.

        Every image counts alike, whatever a mask shows of it; one that it hides, at a scale or at
        all of them, counts as identical there.

        Returns:
            A scalar, or a value for each image (N,) with ``reduction="image"``.
        """
        options = self.options()
        if data_range is not None:
            options = options._replace(data_range=data_range)
        names, count = ("prediction", "target"), len(self.scale_weights)
        image_checks.images(prediction, target, names)
        least = options.smallest_image << (count - 1)
        image_checks.image_size_of_scales(prediction, least, count)
        if mask is not None:
            image_checks.mask(mask, prediction)
        scales = [
            plane_means(
                *scale,
                self.sigma,
                options,
                names,
                with_luminance=not options.product or number == count - 1,
            )
            for number, scale in enumerate(_scales(prediction, target, mask, count))
        ]
        planes = (_product if options.product else _sum)(scales, self.scale_weights)
        if self.reduction == "image":
            return planes.mean(1)
        return planes.mean() if self.reduction == "mean" else planes.sum()

    def extra_repr(self) -> str:
        weights = ", ".join(f"{weight:.4g}" for weight in self.scale_weights)
        return f"{super().extra_repr()}, scale_weights=({weights})"


class MSSSIMLoss(_MultiScaleLoss):
    """Multi-scale SSIM loss: 1 minus the product of contrast-structure over scales.

    ``1 - (l c s)_M^w_M * prod_j (c s)_j^w_j``, of the means over each channel of each image, and
    then their mean, as pytorch-msssim computes it (Wang et al. 2003, with luminance at the coarsest
    scale alone). It is 0 for identical images and at most 1. Where a mean is below 0.01 the power
    v^w goes on as ``0.01^w / (1 + w (1 - v / 0.01))``: smooth, and positive for negative means too,
    so that values and gradients stay finite and lead back to the target.

    Args:
        scale_weights: the exponents, finest scale first; as many as there are scales. The images'
            sides, the depth of volumes too, must be at least ``window_size * 2^(scales - 1)``: 176
            for the default.
        reduction: ``"mean"``, ``"image"`` for a value of each image, ``"sum"`` over images and
            channels.

    The other options are those of :class:`AWSSIMLoss`.

    Raises:
        TypeError, ValueError: as :class:`AWSSIMLoss`, and for images too small for the scales.

    Example:
        >>> image = torch.rand(2, 3, 192, 192)
        >>> MSSSIMLoss()(image, image)
        tensor(0.)
    """

    def __init__(
        self,
        *,
        scale_weights: Sequence[float] = WANG,
        data_range: float | Tensor = 1.0,
        window_size: int = 11,
        sigma: float | Tensor | SigmaSchedule = 1.5,
        k1: float = 0.01,
        k2: float = 0.03,
        reduction: str = "mean",
        padding: str = "valid",
        window: str = "gaussian",
        covariance: str = "population",
        backend: str = "auto",
    ) -> None:
        options = Options.of(locals(), product=True)
        super().__init__(options, sigma, scale_weights)


class MSAWSSIMLoss(_MultiScaleLoss):
    """AW-SSIM over several scales: the losses of the scales, weighted and added.

    As the terms of one scale are added (eq. 7), so are the scales; no product can vanish, and the
    loss is finite for all images. 0 for identical images.

    Args:
        weights: of luminance, contrast and structure, as for :class:`AWSSIMLoss`.
        scale_weights: of the scales, finest first, divided by their sum.

    The other options are those of :class:`MSSSIMLoss`.

    Raises:
        TypeError, ValueError: as :class:`MSSSIMLoss`.

    Example:
        >>> loss = MSAWSSIMLoss("carpet", scale_weights=(0.5, 0.3, 0.2))
        >>> prediction = torch.rand(2, 3, 64, 64, requires_grad=True)
        >>> loss(prediction, torch.rand(2, 3, 64, 64)).backward()
    """

    def __init__(
        self,
        weights: Sequence[float] | str = EQUAL_WEIGHTS,
        *,
        scale_weights: Sequence[float] = WANG,
        data_range: float | Tensor = 1.0,
        window_size: int = 11,
        sigma: float | Tensor | SigmaSchedule = 1.5,
        k1: float = 0.01,
        k2: float = 0.03,
        reduction: str = "mean",
        padding: str = "valid",
        window: str = "gaussian",
        covariance: str = "population",
        backend: str = "auto",
    ) -> None:
        options = Options.of(locals(), weights=parse_weights(weights), product=False)
        super().__init__(options, sigma, scale_weights)


def _scales(x: Tensor, y: Tensor, mask: Tensor | None, count: int) -> Iterator[Scale]:
    """The images and their mask, and each half as large as before."""
    # In half precision each scale would be rounded again.
    x, y = (image.to(torch.promote_types(image.dtype, torch.float32)) for image in (x, y))
    mask = None if mask is None else mask.to(torch.promote_types(x.dtype, y.dtype))
    for number in range(count):
        if number:
            x, y, mask = _halved(x, mask), _halved(y, mask), None if mask is None else _pool(mask)
        yield x, y, mask


def _halved(image: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of 2 x 2 pixels or 2 x 2 x 2, of those that the mask shows."""
    if mask is None:
        return _pool(image)
    share = _pool(mask)
    seen = torch.where(mask > 0, image, 0)
    return _pool(seen * mask) / torch.where(share > 0, share, 1)


def _pool(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 2) if image.ndim == 4 else F.avg_pool3d(image, 2)


def _product(losses: list[Tensor], exponents: Sequence[float]) -> Tensor:
    """1 - the product of the scales' similarities; all are N x C."""
    powers = [_power(1 - loss, exponent) for loss, exponent in zip(losses, exponents, strict=True)]
    return 1 - torch.stack(powers).prod(0)


def _sum(losses: list[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted mean of the scales' losses, N x C."""
    total = sum(weights)
    return torch.stack([w / total * loss for w, loss in zip(weights, losses, strict=True)]).sum(0)


def _power(base: Tensor, exponent: float) -> Tensor:
    """base^exponent from LEAST_BASE on, and its smooth continuation below."""
    small = base < LEAST_BASE
    power = torch.where(small, LEAST_BASE, base) ** exponent
    below = torch.where(small, 1 - base / LEAST_BASE, 0)
    return power / (1 + exponent * below)
