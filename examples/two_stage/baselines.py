"""Scores from the input alone: what a category gives away without any training."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.filters import sobel
from torch import Tensor

from .metrics import Map


def mean_image(images: Tensor) -> Map:
    """Mean of normal training images, N x C x H x W uint8, as C x H x W in [0, 1]."""
    return images.double().mean(0).div(255).float().numpy()


def input_only_maps(image: Tensor, mean: Map, sigma: float) -> dict[str, Map]:
    """Gradient magnitude of the image, and its distance to the mean training image, smoothed."""
    pixels = image.numpy()
    return {
        "gradient": gaussian_filter(sobel(pixels.mean(0)), sigma),
        "distance_to_mean": gaussian_filter(np.abs(pixels - mean).mean(0), sigma),
    }
