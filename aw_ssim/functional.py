"""AW-SSIM and SSIM as functions: images -> windowed statistics -> l, c, s -> sum -> reduction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import checks
from . import local_terms as terms
from .backends import BACKENDS, choose_backend, fused_op
from .backends.torch_reference import reflect, windowed_statistics
from .category_weights import category_weights
from .gaussian_window import gaussian_window
from .sigma_schedule import SigmaSchedule

EQUAL_WEIGHTS = (1 / 3, 1 / 3, 1 / 3)


class SSIMComponents(NamedTuple):
    """The three terms of SSIM for every window, each N x C x H' x W'."""

    luminance: Tensor
    contrast: Tensor
    structure: Tensor


def aw_ssim(
    x: Tensor,
    y: Tensor,
    weights: Sequence[float] | str = EQUAL_WEIGHTS,
    *,
    data_range: float = 1.0,
    window_size: int = 11,
    sigma: float | Tensor | SigmaSchedule = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    reduction: str = "mean",
    padding: str = "valid",
    mask: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Additive weighted SSIM (eq. 7): ``a * luminance + b * contrast + g * structure``.

    1 for identical images, at least ``-(a + g)``; the weights are divided by their sum.

    Args:
        x: images N x C x H x W, floating point, values spanning ``data_range``.
        y: images of the same shape and device; the function is symmetric.
        weights: of luminance, contrast and structure, or a category such as ``"carpet"``.
        data_range: the span of possible values: 1.0 for [0, 1], 255 for [0, 255].
        window_size: taps of the Gaussian window per axis, odd.
        sigma: the window's standard deviation in pixels: a number, a 0-dim tensor or a
            :class:`SigmaSchedule`.
        k1: of ``C1 = (k1 * data_range)^2``.
        k2: of ``C2 = (k2 * data_range)^2``.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the map N x C x H' x W'.
        padding: ``"valid"`` for windows inside the image, H' = H - window_size + 1; ``"same"``
            for one window per pixel over reflected borders, H' = H.
        mask: N x 1 x H x W or N x C x H x W, bool or non-negative. A window weighs its pixels
            by it, and counts by the mask at its centre: the map is multiplied by that, the mean
            divided by its sum. Pixels of weight 0 have no influence, whatever they hold.
        backend: ``"auto"``, ``"torch"`` or ``"analytic"``, see :mod:`aw_ssim.backends`.

    Returns:
        float32, or float64 if an image is. Half-precision images are computed in float32.

    Raises:
        TypeError, ValueError: an argument is not as described; the message says what to do.

    Example:
        >>> image = torch.rand(2, 3, 32, 32)
        >>> aw_ssim(image, image, "carpet")
        tensor(1.)
    """
    shortfall, identical = dissimilarity(
        x,
        y,
        parse_weights(weights),
        data_range=data_range,
        window_size=window_size,
        sigma=sigma,
        k1=k1,
        k2=k2,
        reduction=reduction,
        padding=padding,
        mask=mask,
        backend=backend,
    )
    return identical - shortfall


def ssim(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float = 1.0,
    window_size: int = 11,
    sigma: float | Tensor | SigmaSchedule = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    reduction: str = "mean",
    padding: str = "valid",
    mask: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Standard SSIM (eq. 6 with all exponents 1): ``luminance * contrast * structure``.

    Arguments, result and errors as for :func:`aw_ssim`.

    Example:
        >>> image = torch.rand(2, 3, 32, 32)
        >>> ssim(image, image)
        tensor(1.)
    """
    shortfall, identical = dissimilarity(
        x,
        y,
        None,
        data_range=data_range,
        window_size=window_size,
        sigma=sigma,
        k1=k1,
        k2=k2,
        reduction=reduction,
        padding=padding,
        mask=mask,
        backend=backend,
    )
    return identical - shortfall


def ssim_components(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float = 1.0,
    window_size: int = 11,
    sigma: float | Tensor | SigmaSchedule = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    padding: str = "valid",
    mask: Tensor | None = None,
    backend: str = "auto",
) -> SSIMComponents:
    """The maps of luminance (eq. 2), contrast (eq. 4) and structure (eq. 5), not reduced.

    Arguments and errors as for :func:`aw_ssim`; with a mask each map is multiplied by the mask
    at the windows' centres. Luminance and contrast of images of non-negative values lie in
    [0, 1], structure in [-1, 1].

    Example:
        >>> image = torch.rand(1, 1, 32, 32)
        >>> ssim_components(image, 0.5 * image).structure.shape
        torch.Size([1, 1, 22, 22])
    """
    call = _Call(
        x,
        y,
        names=("x", "y"),
        data_range=data_range,
        window_size=window_size,
        sigma=sigma,
        k1=k1,
        k2=k2,
        padding=padding,
        mask=mask,
        backend=backend,
    )
    maps = [1 - shortfall for shortfall in call.terms(product=False)]
    if call.centre is not None:
        maps = [term * call.centre for term in maps]
    return SSIMComponents(*maps)


def dissimilarity(
    x: Tensor,
    y: Tensor,
    weights: tuple[float, float, float] | None,
    *,
    names: tuple[str, str] = ("x", "y"),
    reduction: str,
    **options: Any,
) -> tuple[Tensor, Tensor | float]:
    """The loss, 1 - similarity, and the similarity that identical images have.

    Summed from non-negative pieces, so that near zero it keeps its relative accuracy. Weights
    None means the product of the terms. `names` are what error messages call the images.
    """
    checks.choice("reduction", reduction, checks.REDUCTIONS)
    call = _Call(x, y, names=names, **options)
    if reduction == "none":
        shortfall = call.weighted_map(weights)
        return shortfall, 1.0 if call.centre is None else call.centre
    total, count = call.total(weights), call.count()
    return (total, count) if reduction == "sum" else (total / count, 1.0)


def parse_weights(weights: Sequence[float] | str) -> tuple[float, float, float]:
    """Weights with sum 1, from three numbers or a category's name."""
    return checks.weights(category_weights(weights) if isinstance(weights, str) else weights)


class _Call:
    """One comparison of two images: arguments checked, window made, backend chosen."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        names: tuple[str, str],
        data_range: float,
        window_size: int,
        sigma: float | Tensor | SigmaSchedule,
        k1: float,
        k2: float,
        padding: str,
        mask: Tensor | None,
        backend: str,
    ) -> None:
        size = checks.window_size(window_size)
        self.data_range = checks.data_range(data_range)
        self.same = checks.choice("padding", padding, checks.PADDINGS) == "same"
        checks.choice("backend", backend, BACKENDS)
        self.constants = terms.Constants(
            checks.non_negative_number("k1", k1) ** 2, checks.non_negative_number("k2", k2) ** 2
        )
        checks.images(x, y, names, size)
        self.x, self.y, self.mask = x, y, None
        dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        self.centre = None
        if mask is not None:
            checks.mask(mask, x)
            self.mask = mask.to(dtype)
            margin = 0 if self.same else size // 2
            self.centre = self.mask[..., margin : x.shape[2] - margin, margin : x.shape[3] - margin]
            checks.mask_values(self.mask, self.centre)
        width = window_sigma(sigma, size)
        self.taps = gaussian_window(size, width, dtype=dtype, device=x.device)
        self.backend = choose_backend(backend, x, y, width, mask).name

    def terms(self, *, product: bool) -> tuple[Tensor, ...]:
        """The maps 1 - l, 1 - c and 1 - s, or 1 - l c s alone, each N x C x H' x W'."""
        if self.backend == "torch":
            return self._reference_terms(product)
        settings = self._settings(None if product else list(EQUAL_WEIGHTS))
        return fused_op.local_terms(self.x, self.y, self.taps, self.mask, settings).unbind(0)

    def weighted_map(self, weights: tuple[float, float, float] | None) -> Tensor:
        maps = self.terms(product=weights is None)
        total = sum(w * term for w, term in zip(weights or (1.0,), maps, strict=True))
        assert isinstance(total, Tensor)
        return total if self.centre is None else total * self.centre

    def total(self, weights: tuple[float, float, float] | None) -> Tensor:
        """The sum of the weighted map."""
        if self.backend == "torch":
            return self.weighted_map(weights).sum()
        settings = self._settings(None if weights is None else list(weights))
        sums = fused_op.dissimilarity_sums(self.x, self.y, self.taps, self.mask, settings)
        return sums.sum()

    def count(self) -> Tensor | float:
        """The number of windows, each counted by the mask at its centre."""
        n, c, h, w = self.x.shape
        if self.centre is not None:
            return self.centre.sum() * (c // self.centre.shape[1])
        margin = 0 if self.same else self.taps.shape[0] - 1
        return n * c * (h - margin) * (w - margin)

    def _reference_terms(self, product: bool) -> tuple[Tensor, ...]:
        # Autocast would round intermediate results to half precision.
        with torch.autocast(self.x.device.type, enabled=False):
            x, y = (t.to(self.taps.dtype) / self.data_range for t in (self.x, self.y))
            mask = self.mask
            if self.same:
                margin = self.taps.shape[0] // 2
                x, y = reflect(x, margin), reflect(y, margin)
                mask = None if mask is None else reflect(mask, margin)
            stats = windowed_statistics(x, y, self.taps, mask)
            if product:
                return (terms.product_shortfall(stats, self.constants),)
            return (
                terms.luminance_shortfall(stats, self.constants),
                terms.contrast_shortfall(stats, self.constants),
                terms.structure_shortfall(stats, self.constants),
            )

    def _settings(self, weights: list[float] | None) -> fused_op.Settings:
        return fused_op.Settings(
            weights, *self.constants, self.data_range, self.same, self.backend
        )


def window_sigma(sigma: float | Tensor | SigmaSchedule, window_size: int) -> float | Tensor:
    """The sigma to use now: a schedule's own is kept from making the window a box."""
    if not isinstance(sigma, SigmaSchedule):
        return checks.sigma(sigma)
    if not sigma.training:
        return sigma.eval_sigma
    return sigma.sigma.clamp(max=max(0.5, (window_size - 1) / 2))
