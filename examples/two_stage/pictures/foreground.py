"""The object on a plain background, where artificial defects must not leave the object."""

from __future__ import annotations

import torch
from skimage.filters import gaussian, threshold_otsu
from torch import Tensor


def estimate_foreground(image: Tensor) -> Tensor:
    """Where an image C x H x W in [0, 1] differs from its own border: H x W bool."""
    border = torch.cat((image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]), dim=1)
    distance = (image - border.median(dim=1).values[:, None, None]).abs().mean(0).numpy()
    smooth = gaussian(distance, sigma=2)
    return torch.from_numpy(smooth > threshold_otsu(smooth))
