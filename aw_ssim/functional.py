"""AW-SSIM and SSIM as functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from .comparison import compare, components
from .options import EQUAL_WEIGHTS, Options, parse_weights
from .sigma_schedule import SigmaSchedule


class SSIMComponents(NamedTuple):
    """The three terms of SSIM for every window, each N x C x H' x W' or N x C x D' x H' x W'."""

    luminance: Tensor
    contrast: Tensor
    structure: Tensor


def aw_ssim(
    x: Tensor,
    y: Tensor,
    weights: Sequence[float] | str = EQUAL_WEIGHTS,
    *,
    data_range: float | Tensor = 1.0,
    window_size: int = 11,
    sigma: float | Tensor | SigmaSchedule = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    reduction: str = "mean",
    padding: str = "valid",
    window: str = "gaussian",
    covariance: str = "population",
    mask: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Additive weighted SSIM (eq. 7): ``a * luminance + b * contrast + g * structure``.

    1 for identical images, at least ``-(a + g)``; the weights are divided by their sum.

    Args:
        x: images N x C x H x W or volumes N x C x D x H x W, floating point, values spanning
            ``data_range``.
        y: images of the same shape and device; the function is symmetric.
        weights: of luminance, contrast and structure, or a category such as ``"carpet"``.
        data_range: the span of possible values: 1.0 for [0, 1], 255 for [0, 255]. A tensor, 0-dim
            or with a value for each image, is read on its own device, and unchecked.
        window_size: taps of the window per axis, odd.
        sigma: the window's standard deviation in pixels: a number, a 0-dim tensor or a
            :class:`SigmaSchedule`.
        k1: of ``C1 = (k1 * data_range)^2``.
        k2: of ``C2 = (k2 * data_range)^2``.
        reduction: ``"mean"``, ``"sum"``, ``"image"`` for the mean of each image (N,), or
            ``"none"`` for the map N x C x H' x W', of volumes N x C x D' x H' x W'.
        padding: ``"valid"`` for windows inside the image, H' = H - window_size + 1; ``"same"``
            for one window per pixel over reflected borders, H' = H; ``"zeros"`` for one per
            pixel over black ones, as fused-ssim and 3D Gaussian splatting do.
        window: ``"gaussian"``, or ``"uniform"`` with equal taps, in which sigma is not used.
        covariance: ``"population"``, or ``"sample"``, which is n / (n - 1) times that, with
            n = window_size^2 taps, of volumes window_size^3.
        mask: of the images' shape, or with one channel, bool or non-negative. A window weighs its
            pixels by it, and counts by the mask at its centre: the map is multiplied by that, the
            mean divided by its sum. Pixels of weight 0 have no influence, whatever they hold.
        backend: ``"auto"``, ``"torch"``, ``"analytic"``, ``"numba"`` or ``"triton"``, see
            :func:`aw_ssim.choose_backend`.

    Returns:
        float32, or float64 if an image is. Half-precision images are computed in float32.

    Raises:
        TypeError, ValueError: an argument is not as described; the message says what to do.

    Example:
        >>> image = torch.rand(2, 3, 32, 32)
        >>> aw_ssim(image, image, "carpet")
        tensor(1.)
    """
    options = Options(
        parse_weights(weights),
        False,
        data_range,
        window_size,
        k1,
        k2,
        reduction,
        padding,
        window,
        covariance,
        backend,
    )
    loss, identical = compare(x, y, mask, sigma, options)
    return identical - loss


def ssim(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float | Tensor = 1.0,
    window_size: int = 11,
    sigma: float | Tensor | SigmaSchedule = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    reduction: str = "mean",
    padding: str = "valid",
    window: str = "gaussian",
    covariance: str = "population",
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
    options = Options(
        EQUAL_WEIGHTS,
        True,
        data_range,
        window_size,
        k1,
        k2,
        reduction,
        padding,
        window,
        covariance,
        backend,
    )
    loss, identical = compare(x, y, mask, sigma, options)
    return identical - loss


def ssim_components(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float | Tensor = 1.0,
    window_size: int = 11,
    sigma: float | Tensor | SigmaSchedule = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    padding: str = "valid",
    window: str = "gaussian",
    covariance: str = "population",
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
    options = Options(
        EQUAL_WEIGHTS,
        False,
        data_range,
        window_size,
        k1,
        k2,
        "none",
        padding,
        window,
        covariance,
        backend,
    )
    return SSIMComponents(*components(x, y, mask, sigma, options))
