"""The definition in float64: plain loops for values, unfolded windows under autograd for gradients.

Nothing here is shared with the library: two passes per window, the moments straight from their
definition, no separable filters, no closed-form gradient.
"""

from __future__ import annotations

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
    """Unmasked component maps, N x C x H' x W', and the mask at the windows' centres."""

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


def sample_factor(covariance: str, window_size: int) -> float:
    """n / (n - 1) for the covariance of a sample."""
    n = window_size**2
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
    margin = [(0, 0), (0, 0)] + 2 * [(window_size // 2, window_size // 2)]
    if padding == "same":
        images = [np.pad(image, margin, mode="reflect") for image in images]
    if padding == "zeros":
        values = (0, 0, 1)
        images = [
            np.pad(image, margin, constant_values=value)
            for image, value in zip(images, values, strict=True)
        ]
    n, c, height, width = images[0].shape
    shape = (n, c, height - window_size + 1, width - window_size + 1)
    line = taps_of(window, window_size, sigma)
    footprint = np.outer(line, line)
    factor = sample_factor(covariance, window_size)
    c1, c2 = k1**2, k2**2
    maps = np.zeros((4, *shape))
    for i, j, row, column in np.ndindex(*shape):
        window = np.s_[i, j, row : row + window_size, column : column + window_size]
        px, py, m = (image[window] for image in images)
        centre = m[window_size // 2, window_size // 2]
        if centre == 0:
            continue
        w = footprint * m / (footprint * m).sum()
        mx, my = (w * px).sum(), (w * py).sum()
        vx, vy = (w * (px - mx) ** 2).sum(), (w * (py - my) ** 2).sum()
        cov = (w * (px - mx) * (py - my)).sum()
        p = math.sqrt(vx + EPS) * math.sqrt(vy + EPS) - EPS
        vx, vy, cov, p = (factor * moment for moment in (vx, vy, cov, p))
        maps[:, i, j, row, column] = (
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
    (px, height, width), (py, _, _), (pm, _, _) = (
        _unfold(image, window_size, padding, beyond)
        for image, beyond in zip((*images, m), (0.0, 0.0, 1.0), strict=True)
    )
    taps = torch.from_numpy(taps_of(window, window_size, sigma))
    factor = sample_factor(covariance, window_size)
    w = torch.outer(taps, taps).reshape(-1, 1) * pm
    centre = pm[..., window_size**2 // 2, :]
    # a window with an empty centre is multiplied by 0 in the end; here it only must not divide by 0
    w = w / torch.where(centre > 0, w.sum(-2), 1.0).unsqueeze(-2)
    mx, my = (w * px).sum(-2, keepdim=True), (w * py).sum(-2, keepdim=True)
    vx, vy = (w * (px - mx) ** 2).sum(-2), (w * (py - my) ** 2).sum(-2)
    cov = (w * (px - mx) * (py - my)).sum(-2)
    mx, my = mx.squeeze(-2), my.squeeze(-2)
    p = (vx + EPS).sqrt() * (vy + EPS).sqrt() - EPS
    vx, vy, cov, p = (factor * moment for moment in (vx, vy, cov, p))
    c1, c2 = k1**2, k2**2
    maps = (
        (2 * mx * my + c1) / (mx**2 + my**2 + c1),
        (2 * p + c2) / (vx + vy + c2),
        (cov + c2 / 2) / (p + c2 / 2),
        centre,
    )
    return Maps(*(entry.unflatten(-1, (height, width)) for entry in maps))


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
    (px, height, width), (py, _, _), (pm, _, _) = (
        _unfold(image, window_size, padding, beyond)
        for image, beyond in ((x, 0.0), (y, 0.0), (m, 1.0))
    )
    taps = torch.from_numpy(taps_of(window, window_size, sigma))
    w = torch.outer(taps, taps).reshape(-1, 1) * pm
    centre = pm[..., window_size**2 // 2, :]
    means = (w * (px - py).abs()).sum(-2) / torch.where(centre > 0, w.sum(-2), 1.0)
    return means.unflatten(-1, (height, width)), centre.unflatten(-1, (height, width))


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


def _unfold(
    image: Tensor, window_size: int, padding: str, beyond: float
) -> tuple[Tensor, int, int]:
    """N x C x taps x windows, and the map's height and width."""
    if padding == "zeros":
        image = F.pad(image, [window_size // 2] * 4, value=beyond)
    if padding == "same":
        image = F.pad(image, [window_size // 2] * 4, mode="reflect")
    n, c, height, width = image.shape
    patches = F.unfold(image.reshape(n * c, 1, height, width), window_size)
    height, width = height - window_size + 1, width - window_size + 1
    return patches.unflatten(0, (n, c)), height, width
