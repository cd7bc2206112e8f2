"""One comparison of two images: arguments checked, window made, backend chosen and called."""

from __future__ import annotations

import torch
from torch import Tensor

from . import checks
from . import local_terms as terms
from .backends import BACKENDS, autograd, choose_backend
from .backends.operators import Settings
from .backends.torch_reference import reflect, windowed_statistics
from .gaussian_window import gaussian_window
from .sigma_schedule import SigmaSchedule

EQUAL_WEIGHTS = (1 / 3, 1 / 3, 1 / 3)


class Comparison:
    """Two images, their window and options; what is asked of it goes to the backend chosen."""

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
        self.backend = choose_backend(backend, x, y, width, mask, size).name

    def terms(self, *, product: bool) -> tuple[Tensor, ...]:
        """The maps 1 - l, 1 - c and 1 - s, or 1 - l c s alone, each N x C x H' x W'."""
        if self.backend == "torch":
            return self._reference_terms(product)
        settings = self._settings(None if product else list(EQUAL_WEIGHTS))
        return autograd.local_terms(self.x, self.y, self.taps, self.mask, settings).unbind(0)

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
        sums = autograd.dissimilarity_sums(self.x, self.y, self.taps, self.mask, settings)
        return sums.sum()

    def count(self) -> Tensor | float:
        """The number of windows, each counted by the mask at its centre."""
        n, c, h, w = self.x.shape
        if self.centre is not None:
            return self.centre.sum() * (c // self.centre.shape[1])
        margin = 0 if self.same else self.taps.shape[0] - 1
        return n * c * (h - margin) * (w - margin)

    def _reference_terms(self, product: bool) -> tuple[Tensor, ...]:
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

    def _settings(self, weights: list[float] | None) -> Settings:
        return Settings(weights, *self.constants, self.data_range, self.same, self.backend)


def window_sigma(sigma: float | Tensor | SigmaSchedule, window_size: int) -> float | Tensor:
    """The sigma to use now: a schedule's own is kept from making the window a box."""
    if not isinstance(sigma, SigmaSchedule):
        return checks.sigma(sigma)
    if not sigma.training:
        return sigma.eval_sigma
    return sigma.sigma.clamp(max=max(0.5, (window_size - 1) / 2))
