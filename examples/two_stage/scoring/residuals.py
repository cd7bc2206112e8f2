"""Where an image and its reconstruction differ, each kind of residual one map H x W.

- ``l1``: the mean over channels of abs(x - x'), the paper's (J. Imaging 2024, 10(5):111).
- ``aw_ssim``: 1 - AW-SSIM (the paper's eq. 7) with the run's weights.
- ``gradient``: 1 - multi-scale gradient magnitude similarity (Xue et al., IEEE TIP 2014; over
  several scales Zavrtanik et al., Pattern Recognition 2021).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from aw_ssim import aw_ssim

BASE_RESIDUALS = ("l1", "aw_ssim", "gradient")

Weights = tuple[float, float, float] | str
# Of images and reconstructions N x C x H x W, a map of that shape, 1 where they agree.
Similarity = Callable[[Tensor, Tensor, Weights], Tensor]

# The window of SSIM, whatever the training's window was.
SIGMA = 1.5
# Xue et al. take 170 for gradients of images in [0, 255].
GRADIENT_CONSTANT = 170 / 255**2
GRADIENT_SCALES = 4


def residual_parts(residual: str) -> tuple[str, ...]:
    """The base residuals whose mean is scored: of ``l1+aw_ssim`` they are l1 and aw_ssim."""
    return tuple(residual.split("+"))


def window_similarity(images: Tensor, reconstructions: Tensor, weights: Weights) -> Tensor:
    """AW-SSIM of the window about each pixel."""
    return aw_ssim(reconstructions, images, weights, sigma=SIGMA, padding="same", reduction="none")


def residual_maps(
    image: Tensor,
    reconstruction: Tensor,
    weights: Weights,
    *,
    parts: tuple[str, ...] = BASE_RESIDUALS,
    similarity: Similarity = window_similarity,
) -> dict[str, Tensor]:
    """The residuals named in `parts`, each H x W (N x H x W), float32, 0 where both agree.

    Args:
        image: C x H x W in [0, 1], or several, N x C x H x W.
        reconstruction: of the same shape.
        weights: of luminance, contrast and structure, as `aw_ssim` takes them.
        parts: the base residuals to compute.
        similarity: how AW-SSIM is computed; a graph to be exported has a way of its own.
    """
    if image.dim() == 3:
        maps = residual_maps(
            image[None], reconstruction[None], weights, parts=parts, similarity=similarity
        )
        return {part: residual[0] for part, residual in maps.items()}
    maps = {}
    for part in parts:
        if part == "l1":
            maps[part] = (image - reconstruction).abs().mean(1)
        elif part == "aw_ssim":
            maps[part] = (1 - similarity(image, reconstruction, weights)).mean(1)
        elif part == "gradient":
            maps[part] = _gradient_residual(image, reconstruction)
        else:
            raise ValueError(f"expected residuals among {BASE_RESIDUALS}, got {part!r}")
    return maps


def _gradient_residual(images: Tensor, reconstructions: Tensor) -> Tensor:
    size = images.shape[-2:]
    greys = [images.mean(1, keepdim=True), reconstructions.mean(1, keepdim=True)]
    total = torch.zeros_like(greys[0])
    for scale in range(GRADIENT_SCALES):
        if scale > 0:
            greys = [F.avg_pool2d(grey, 2) for grey in greys]
        first, second = (_gradient_magnitude(grey) for grey in greys)
        similarity = (2 * first * second + GRADIENT_CONSTANT) / (
            first.square() + second.square() + GRADIENT_CONSTANT
        )
        total = total + F.interpolate(1 - similarity, size, mode="bilinear")
    return total[:, 0] / GRADIENT_SCALES


def _gradient_magnitude(images: Tensor) -> Tensor:
    """Length of the Prewitt gradient, N x 1 x H x W, over edges that repeat the last pixel."""
    across = images.new_tensor([[1, 0, -1]] * 3) / 3
    kernels = torch.stack((across, across.T))[:, None]
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    dx, dy = F.conv2d(padded, kernels).split(1, dim=1)
    # Not `norm`, which takes 80 times as long; nothing is trained through a slope at 0.
    return (dx * dx + dy * dy).sqrt()
