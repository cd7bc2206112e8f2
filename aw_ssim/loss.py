"""AW-SSIM and SSIM as training losses: modules that hold the options of `functional`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from . import checks
from .backends import BACKENDS
from .comparison import EQUAL_WEIGHTS, window_sigma
from .functional import dissimilarity, parse_weights
from .sigma_schedule import SigmaSchedule


class _StructuralLoss(nn.Module):
    """What both losses hold: the options, and sigma as a number, a buffer or a schedule."""

    sigma: float | Tensor | SigmaSchedule

    def __init__(
        self,
        weights: tuple[float, float, float] | None,
        data_range: float,
        window_size: int,
        sigma: float | Tensor | SigmaSchedule,
        k1: float,
        k2: float,
        reduction: str,
        padding: str,
        backend: str,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.data_range = checks.data_range(data_range)
        self.window_size = checks.window_size(window_size)
        self.k1 = checks.non_negative_number("k1", k1)
        self.k2 = checks.non_negative_number("k2", k2)
        self.reduction = checks.choice("reduction", reduction, checks.REDUCTIONS)
        self.padding = checks.choice("padding", padding, checks.PADDINGS)
        self.backend = checks.choice("backend", backend, BACKENDS)
        if isinstance(sigma, SigmaSchedule):
            self.sigma = sigma
        elif isinstance(sigma, Tensor):
            checks.sigma(sigma)
            self.register_buffer("sigma", sigma)
        else:
            self.sigma = float(window_sigma(sigma, self.window_size))

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of a batch of images against its targets.

        Args:
            prediction: N x C x H x W, floating point, values spanning ``data_range``.
            target: of the same shape and device; it receives a gradient if it requires one.
            mask: N x 1 x H x W or N x C x H x W, bool or non-negative: what counts.

        Returns:
            A scalar, or the loss map N x C x H' x W' with ``reduction="none"``.
        """
        shortfall, _ = dissimilarity(
            prediction,
            target,
            self.weights,
            names=("prediction", "target"),
            data_range=self.data_range,
            window_size=self.window_size,
            sigma=self.sigma,
            k1=self.k1,
            k2=self.k2,
            reduction=self.reduction,
            padding=self.padding,
            mask=mask,
            backend=self.backend,
        )
        return shortfall

    def extra_repr(self) -> str:
        parts = [
            f"data_range={self.data_range:g}",
            f"window_size={self.window_size}",
            f"k1={self.k1:g}",
            f"k2={self.k2:g}",
            f"reduction={self.reduction!r}",
            f"padding={self.padding!r}",
            f"backend={self.backend!r}",
        ]
        if not isinstance(self.sigma, SigmaSchedule):
            parts.insert(2, f"sigma={float(self.sigma):g}")
        if self.weights is not None:
            weights = ", ".join(f"{weight:.4g}" for weight in self.weights)
            parts.insert(0, f"weights=({weights})")
        return ", ".join(parts)


class AWSSIMLoss(_StructuralLoss):
    """Additive weighted SSIM loss, ``1 - (a l + b c + g s)`` (section 3.3, eq. 7 and 8).

    0 for identical images, at most ``1 + a + g``. The gradient is finite everywhere, on flat
    images too; on a flat prediction the structure term pulls towards the target's texture with
    a force of up to ``g / C3``, 2,200 times ``g`` per window at ``data_range=1``.

    Args:
        weights: of luminance, contrast and structure, divided by their sum; or the name of a
            category of :func:`aw_ssim.category_weights`.
        data_range: the span of possible pixel values: 1.0 for [0, 1], 255 for [0, 255].
        window_size: taps of the Gaussian window per axis, odd.
        sigma: the window's standard deviation in pixels: a number, a 0-dim tensor, or a
            :class:`aw_ssim.SigmaSchedule` for the paper's growing window (eq. 9).
        k1: of ``C1 = (k1 * data_range)^2``.
        k2: of ``C2 = (k2 * data_range)^2``.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss map.
        padding: ``"valid"`` for windows inside the image; ``"same"`` for one window per pixel
            over reflected borders: anomaly maps, and training on crops, whose outer pixels
            ``"valid"`` hardly sees.
        backend: ``"auto"``, ``"torch"``, ``"analytic"``, ``"numba"`` or ``"triton"``, see
            :mod:`aw_ssim.backends`.

    Raises:
        TypeError, ValueError: an option here, or an image in a call, is not as described; the
            message says what was expected, what came, and what to do.

    Example:
        >>> loss = AWSSIMLoss(weights="carpet", sigma=SigmaSchedule.per_epoch(0.5, 2.5, 100))
        >>> prediction = torch.rand(2, 3, 64, 64, requires_grad=True)
        >>> loss(prediction, torch.rand(2, 3, 64, 64)).backward()
        >>> loss.sigma.step()
    """

    def __init__(
        self,
        weights: Sequence[float] | str = EQUAL_WEIGHTS,
        *,
        data_range: float = 1.0,
        window_size: int = 11,
        sigma: float | Tensor | SigmaSchedule = 1.5,
        k1: float = 0.01,
        k2: float = 0.03,
        reduction: str = "mean",
        padding: str = "valid",
        backend: str = "auto",
    ) -> None:
        super().__init__(
            parse_weights(weights),
            data_range,
            window_size,
            sigma,
            k1,
            k2,
            reduction,
            padding,
            backend,
        )


class SSIMLoss(_StructuralLoss):
    """Standard SSIM loss, ``1 - l c s`` (eq. 6), with the options of :class:`AWSSIMLoss`.

    Example:
        >>> image = torch.rand(2, 3, 64, 64)
        >>> SSIMLoss()(image, image)
        tensor(0.)
    """

    def __init__(
        self,
        *,
        data_range: float = 1.0,
        window_size: int = 11,
        sigma: float | Tensor | SigmaSchedule = 1.5,
        k1: float = 0.01,
        k2: float = 0.03,
        reduction: str = "mean",
        padding: str = "valid",
        backend: str = "auto",
    ) -> None:
        super().__init__(None, data_range, window_size, sigma, k1, k2, reduction, padding, backend)
