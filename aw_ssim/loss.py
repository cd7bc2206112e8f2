"""AW-SSIM and SSIM as training losses: modules that hold the options of `functional`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from . import checks
from .comparison import compare
from .options import EQUAL_WEIGHTS, Options, parse_weights
from .sigma_schedule import SigmaSchedule


class StructuralLoss(nn.Module):
    """What both losses hold: the fields of `Options`, and sigma.

    All are attributes that may be changed; tensors are buffers, an `nn.Parameter` is a parameter,
    a schedule a submodule.
    """

    weights: tuple[float, float, float]
    product: bool
    data_range: float | Tensor
    window_size: int
    k1: float
    k2: float
    reduction: str
    padding: str
    window: str
    covariance: str
    backend: str
    l1: float = 0.0
    sigma: float | Tensor | SigmaSchedule

    counts_planes_alike = False
    """Whether each channel of each image counts as one, whatever a mask shows of it."""

    def __init__(self, options: Options, sigma: float | Tensor | SigmaSchedule) -> None:
        super().__init__()
        for name, value in options.checked()._asdict().items():
            self._hold(name, value)
        self._hold("sigma", sigma if isinstance(sigma, SigmaSchedule) else checks.sigma(sigma))

    def _hold(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            self.register_buffer(name, value)
        else:
            setattr(self, name, value)

    def options(self) -> Options:
        """The options as they are now."""
        return Options(*[getattr(self, name) for name in Options._fields])

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        data_range: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch of images against its targets.

        Five dimensions are volumes, with a window in all of depth, height and width; four are
        always images. A single volume is ``volume[None]``, videos N x T x C x H x W are
        ``video.flatten(0, 1)``.

        Args:
            prediction: N x C x H x W or N x C x D x H x W, floating point, values spanning
                ``data_range``.
            target: of the same shape and device; it receives a gradient if it requires one.
            mask: of that shape, or with one channel, bool or non-negative: what counts.
            data_range: of this batch, or of each of its images; None for the loss's own.

        Returns:
            A scalar, a value for each image (N,) with ``reduction="image"``, or the loss map
            N x C x H' x W' or N x C x D' x H' x W' with ``"none"``.
        """
        names, options = ("prediction", "target"), self.options()
        if data_range is not None:
            options = options._replace(data_range=data_range)
        return compare(prediction, target, mask, self.sigma, options, names).loss

    def extra_repr(self) -> str:
        weights = ", ".join(f"{weight:.4g}" for weight in self.weights)
        parts = [] if self.product else [f"weights=({weights})"]
        for name, value in self.options()._asdict().items():
            if name not in ("weights", "product", "l1"):
                parts.append(f"{name}={_brief(value)}")
        if not isinstance(self.sigma, SigmaSchedule):
            parts.append(f"sigma={_brief(self.sigma)}")
        return ", ".join(parts)


def _brief(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{float(value):g}" if value.ndim == 0 else f"tensor of {value.shape[0]}"
    return f"{value:g}" if isinstance(value, float) else repr(value)


class AWSSIMLoss(StructuralLoss):
    """Additive weighted SSIM loss, ``1 - (a l + b c + g s)`` (section 3.3, eq. 7 and 8).

    0 for identical images, at most ``1 + a + g``. The gradient is finite everywhere, on flat
    images too; on a flat prediction the structure term pulls towards the target's texture with
    a force of up to ``g / C3``, 2,200 times ``g`` per window at ``data_range=1``.

    Args:
        weights: of luminance, contrast and structure, divided by their sum; or the name of a
            category of :func:`aw_ssim.category_weights`.
        data_range: the span of possible pixel values: 1.0 for [0, 1], 255 for [0, 255]. A tensor,
            0-dim or with a value for each image, is read on its own device, and unchecked.
        window_size: taps of the window per axis, odd.
        sigma: the window's standard deviation in pixels: a number, a 0-dim tensor, or a
            :class:`aw_ssim.SigmaSchedule` for the paper's growing window (eq. 9).
        k1: of ``C1 = (k1 * data_range)^2``.
        k2: of ``C2 = (k2 * data_range)^2``.
        reduction: ``"mean"``, ``"sum"``, ``"image"`` for the mean of each image (N,), or
            ``"none"`` for the loss map.
        padding: ``"valid"`` for windows inside the image; ``"same"`` for one window per pixel
            over reflected borders: anomaly maps, and training on crops, whose outer pixels
            ``"valid"`` hardly sees; ``"zeros"`` for one per pixel over black borders.
        window: ``"gaussian"``, or ``"uniform"`` with equal taps, in which sigma is not used.
        covariance: ``"population"``, or ``"sample"``, which is n / (n - 1) times that, with
            n = window_size^2 taps, of volumes window_size^3.
        backend: ``"auto"``, ``"torch"``, ``"analytic"``, ``"numba"`` or ``"triton"``, see
            :func:`aw_ssim.choose_backend`.

    Raises:
        TypeError, ValueError: an option here, or an image in a call, is not as described; the
            message says what was expected, what came, and what to do.

    Example:
        >>> loss = AWSSIMLoss(weights="carpet", sigma=SigmaSchedule.per_epoch(0.5, 2.5, 100))
        >>> prediction = torch.rand(2, 3, 64, 64, requires_grad=True)
        >>> loss(prediction, torch.rand(2, 3, 64, 64)).backward()
        >>> loss.sigma.step()
        >>> volumes = torch.rand(2, 1, 16, 20, 20)
        >>> AWSSIMLoss(reduction="none")(volumes, volumes).shape
        torch.Size([2, 1, 6, 10, 10])
    """

    def __init__(
        self,
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
        backend: str = "auto",
    ) -> None:
        options = Options.of(locals(), weights=parse_weights(weights), product=False)
        super().__init__(options, sigma)


class SSIMLoss(StructuralLoss):
    """Standard SSIM loss, ``1 - l c s`` (eq. 6), with the options of :class:`AWSSIMLoss`.

    Example:
        >>> image = torch.rand(2, 3, 64, 64)
        >>> SSIMLoss()(image, image)
        tensor(0.)
    """

    def __init__(
        self,
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
        backend: str = "auto",
    ) -> None:
        options = Options.of(locals(), product=True)
        super().__init__(options, sigma)
