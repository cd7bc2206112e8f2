"""A picture with its found regions and its true defect outlined, to be seen on any surface."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Each line is bright inside of a dark one: whatever lies beneath, one of the two stands out.
FOUND, TRUE, DARK = (255, 176, 0), (110, 210, 255), (0, 0, 0)


def overlay(
    result: Any,
    threshold: float,
    *,
    image_threshold: float = -np.inf,
    called_defective: bool = True,
) -> Pixels:
    """Orange around what was found in a picture that was called defective, blue around the truth.

    Args:
        result: what to draw; its `image`, `mask` and the map "chosen" are used.
        threshold: of the map's pixels.
        image_threshold: of regions, as of the picture: see `found_regions`.
        called_defective: the verdict on the picture; of a good one nothing is outlined as found.
    """
    pixels = pixels_of(result.image).copy()
    found = found_regions(result.maps["chosen"], threshold, image_threshold)
    if not called_defective:
        found = np.zeros_like(found)
    true = result.mask.cpu().numpy()
    width = max(1, round(min(found.shape) / 170))
    around = ndimage.binary_dilation(true, iterations=width)
    # Inside one and outside the other, so that neither hides where they agree.
    pixels[ndimage.binary_dilation(found, iterations=width) & ~found] = DARK
    pixels[ndimage.binary_dilation(around, iterations=width) & ~around] = DARK
    pixels[around & ~true] = TRUE
    pixels[found & ~ndimage.binary_erosion(found, iterations=width)] = FOUND
    return pixels


def found_regions(
    score_map: NDArray[np.float32], threshold: float, image_threshold: float = -np.inf
) -> Mask:
    """Regions above the threshold for pixels that alone would have the picture called defective.

    Other pixels above it are those of which every normal picture has some. The region with the
    largest value is kept in any case: a resized map can lie a little below the picture's score.
    """
    above = score_map > threshold
    regions, count = ndimage.label(above, structure=np.ones((3, 3)))
    highest = ndimage.maximum(score_map, regions, np.arange(1, count + 1))
    # Number 0 is what lies outside.
    kept = np.zeros(count + 1, dtype=bool)
    kept[1:] = (highest > image_threshold) | (highest == np.max(highest, initial=-np.inf))
    found: Mask = kept[regions]
    return found


def pixels_of(image: Tensor) -> Pixels:
    """H x W x 3 from a picture C x H x W: uint8, bool, or float in [0, 1]; grey or RGB."""
    image = image.detach().cpu()
    if image.dtype != torch.uint8:
        image = image.float().clamp(0, 1).mul(255).round().byte()
    pixels: Pixels = image.permute(1, 2, 0).numpy()
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2)
