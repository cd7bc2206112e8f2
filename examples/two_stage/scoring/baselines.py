"""Scores that need only the input: what a category gives away without any training."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.filters import sobel
from torch import Tensor

from ..pictures.stored import white_of
from .pixel_counts import Map

_IMAGES_AT_ONCE = 16


def mean_image(images: Tensor) -> Map:
    """Mean of normal training images, N x C x H x W as stored, as C x H x W in [0, 1]."""
    wide = torch.int64 if images.dtype == torch.uint8 else torch.float64
    # A sum over all images at once would first copy them as wider numbers.
    total = sum(chunk.sum(0, dtype=wide) for chunk in images.split(_IMAGES_AT_ONCE))
    return (total.cpu().double() / (white_of(images) * len(images))).float().numpy()


def input_only_maps(image: Tensor, mean: Map, sigma: float) -> dict[str, Map]:
    """Gradient magnitude of the image, C x H x W in [0, 1], and its distance to the mean
    training image, both smoothed; `sigma` in pixels."""
    pixels = image.cpu().numpy()
    return {
        "gradient": gaussian_filter(sobel(pixels.mean(0)), sigma),
        "distance_to_mean": gaussian_filter(np.abs(pixels - mean).mean(0), sigma),
    }
