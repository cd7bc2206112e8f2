"""The definition in float64: plain loops for values, unfolded windows under autograd for gradients.

Nothing here is shared with the library: two passes per window, the moments straight from their
definition, no separable filters, no closed-form gradient.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
EPS = 1e-12


class Maps(NamedTuple):
    """Unmasked component maps, N x C x H' x W' or N x C x D' x H' x W', and the mask at the
    windows' centres."""

    luminance: Any
    contrast: Any
    structure: Any
    centre: Any

    def similarity(self, weights: tuple[float, float, float] | None) -> Any:
        """The masked similarity map: a weighted sum, or the product when `weights` is None."""
        if weights is None:
            return self.luminance * self.contrast * self.structure * self.centre
        a, b, g = (weight / sum(weights) for weight in weights)
        return (a * self.luminance + b * self.contrast + g * self.structure) * self.centre


def gaussian(size: int, sigma: float) -> Array:
    """A normalised window of `size` taps, centred on its middle tap."""
    taps = np.array([math.exp(-0.5 * ((i - (size - 1) / 2) / sigma) ** 2) for i in range(size)])
    return taps / taps.sum()


def taps_of(window: str, size: int, sigma: float) -> Array:
    return np.full(size, 1 / size) if window == "uniform" else gaussian(size, sigma)


def sample_factor(covariance: str, n: int) -> float:
    """n / (n - 1) for the covariance of a sample of n."""
    return n / (n - 1) if covariance == "sample" else 1.0


def loops(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float = 1.0,
    window_size: int = 11,
    sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    padding: str = "valid",
    window: str = "gaussian",
    covariance: str = "population",
    mask: Tensor | None = None,
) -> Maps:
    """Component maps in numpy, one window at a time."""
    weight = np.ones(x.shape) if mask is None else np.broadcast_to(_numpy(mask), x.shape)
    images = [np.where(weight > 0, _numpy(image) / data_range, 0) for image in (x, y)] + [weight]
    sides = x.ndim - 2
    margin = [(0, 0), (0, 0)] + sides * [(window_size // 2, window_size // 2)]
    if padding == "same":
        images = [np.pad(image, margin, mode="reflect") for image in images]
    if padding == "zeros":
        values = (0, 0, 1)
        images = [
            np.pad(image, margin, constant_values=value)
            for image, value in zip(images, values, strict=True)
        ]
    n, c, *padded = images[0].shape
    shape = (n, c, *(side - window_size + 1 for side in padded))
    line = taps_of(window, window_size, sigma)
    footprint = functools.reduce(np.multiply.outer, [line] * sides)
    factor = sample_factor(covariance, footprint.size)
    c1, c2 = k1**2, k2**2
    maps = np.zeros((4, *shape))
    for i, j, *corner in np.ndindex(*shape):
        window = (i, j, *(slice(at, at + window_size) for at in corner))
        px, py, m = (image[window] for image in images)
        centre = m[(window_size // 2,) * sides]
        if centre == 0:
            continue
        w = footprint * m / (footprint * m).sum()
        mx, my = (w * px).sum(), (w * py).sum()
        vx, vy = (w * (px - mx) ** 2).sum(), (w * (py - my) ** 2).sum()
        cov = (w * (px - mx) * (py - my)).sum()
        p = math.sqrt(vx + EPS) * math.sqrt(vy + EPS) - EPS
        vx, vy, cov, p = (factor * moment for moment in (vx, vy, cov, p))
        maps[(slice(None), i, j, *corner)] = (
            (2 * mx * my + c1) / (mx**2 + my**2 + c1),
            (2 * p + c2) / (vx + vy + c2),
            (cov + c2 / 2) / (p + c2 / 2),
            centre,
        )
    return Maps(*maps)


def windows(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float = 1.0,
    window_size: int = 11,
    sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    padding: str = "valid",
    window: str = "gaussian",
    covariance: str = "population",
    mask: Tensor | None = None,
) -> Maps:
    """The same maps as differentiable float64 tensors, all windows unfolded at once."""
    m = torch.ones_like(x, dtype=torch.float64) if mask is None else mask.double().expand(x.shape)
    images = [torch.where(m > 0, image.double() / data_range, 0.0) for image in (x, y)]
    px, py, pm = (
        _unfold(image, window_size, padding, beyond)
        for image, beyond in zip((*images, m), (0.0, 0.0, 1.0), strict=True)
    )
    line = torch.from_numpy(taps_of(window, window_size, sigma))
    footprint = functools.reduce(lambda grid, _: grid[..., None] * line, range(3, x.ndim), line)
    factor = sample_factor(covariance, footprint.numel())
    w = footprint.flatten() * pm
    centre = pm[..., footprint.numel() // 2]
    # a window with an empty centre is multiplied by 0 in the end; here it only must not divide by 0
    w = w / torch.where(centre > 0, w.sum(-1), 1.0).unsqueeze(-1)
    mx, my = (w * px).sum(-1, keepdim=True), (w * py).sum(-1, keepdim=True)
    vx, vy = (w * (px - mx) ** 2).sum(-1), (w * (py - my) ** 2).sum(-1)
    cov = (w * (px - mx) * (py - my)).sum(-1)
    mx, my = mx.squeeze(-1), my.squeeze(-1)
    p = (vx + EPS).sqrt() * (vy + EPS).sqrt() - EPS
    vx, vy, cov, p = (factor * moment for moment in (vx, vy, cov, p))
    c1, c2 = k1**2, k2**2
    return Maps(
        (2 * mx * my + c1) / (mx**2 + my**2 + c1),
        (2 * p + c2) / (vx + vy + c2),
        (cov + c2 / 2) / (p + c2 / 2),
        centre,
    )


def absolute_differences(
    x: Tensor,
    y: Tensor,
    *,
    smoothed: bool,
    data_range: float = 1.0,
    window_size: int = 11,
    sigma: float = 1.5,
    padding: str = "valid",
    window: str = "gaussian",
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """L1 and how much it counts, differentiable float64: of each pixel, or of each window."""
    m = torch.ones_like(x, dtype=torch.float64) if mask is None else mask.double().expand(x.shape)
    x, y = (torch.where(m > 0, image.double() / data_range, 0.0) for image in (x, y))
    if not smoothed:
        return (x - y).abs(), m
    px, py, pm = (
        _unfold(image, window_size, padding, beyond)
        for image, beyond in ((x, 0.0), (y, 0.0), (m, 1.0))
    )
    line = torch.from_numpy(taps_of(window, window_size, sigma))
    footprint = functools.reduce(lambda grid, _: grid[..., None] * line, range(3, x.ndim), line)
    w = footprint.flatten() * pm
    centre = pm[..., footprint.numel() // 2]
    return (w * (px - py).abs()).sum(-1) / torch.where(centre > 0, w.sum(-1), 1.0), centre


def gradients(
    x: Tensor,
    y: Tensor,
    upstream: Tensor | float,
    weights: tuple[float, float, float] | None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Gradients of `sum(upstream * similarity map)` to x and y, float64."""
    x = x.detach().double().requires_grad_()
    y = y.detach().double().requires_grad_()
    total = (windows(x, y, **options).similarity(weights) * upstream).sum()
    gradient_x, gradient_y = torch.autograd.grad(total, (x, y))
    return gradient_x, gradient_y


def _numpy(image: Tensor) -> Array:
    return image.detach().double().numpy()


def _unfold(image: Tensor, window_size: int, padding: str, beyond: float) -> Tensor:
    """Each window's taps: the map's shape, and all taps in one more dimension."""
    sides = image.ndim - 2
    around = [window_size // 2] * 2 * sides
    if padding == "zeros":
        image = F.pad(image, around, value=beyond)
    if padding == "same":
        image = F.pad(image, around, mode="reflect")
    for dim in range(2, 2 + sides):
        image = image.unfold(dim, window_size, 1)
    return image.flatten(-sides)
