"""The object on a plain background, where artificial defects must not leave the object."""

from __future__ import annotations

import torch
from scipy.ndimage import binary_dilation
from skimage.filters import gaussian, threshold_otsu
from torch import Tensor

# A place belongs to the product if it lies there on more than this share of the pictures; what one
# picture shows may be a mistake.
LEAST_SHARE = 0.05
# And so do its neighbours, up to this share of the side.
BORDER = 1 / 64


def estimate_foreground(image: Tensor) -> Tensor:
    """Where an image C x H x W in [0, 1] differs from its own border: H x W bool."""
    border = torch.cat((image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]), dim=1)
    distance = (image - border.median(dim=1).values[:, None, None]).abs().mean(0).numpy()
    smooth = gaussian(distance, sigma=2)
    return torch.from_numpy(smooth > threshold_otsu(smooth))


def product_area(foregrounds: Tensor) -> Tensor | None:
    """Where a product lies on some of the pictures, and a narrow border about it.

    Args:
        foregrounds: N x S x S bool, of normal pictures.

    Returns:
        S x S bool on the device of `foregrounds`; None if no picture has a product.
    """
    area = (foregrounds.float().mean(0) > LEAST_SHARE).cpu().numpy()
    if not area.any():
        return None
    grown = binary_dilation(area, iterations=max(1, round(BORDER * len(area))))
    return torch.from_numpy(grown).to(foregrounds.device)


def share_beyond(foregrounds: Tensor, area: Tensor) -> float:
    """How much of the products, ... x S x S bool, lies beyond an area S x S; 0 without products."""
    return float((foregrounds & ~area).sum() / foregrounds.sum().clamp(min=1))
