"""Pictures in memory: 8 bits are kept as uint8, deeper ones as float32 in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STORED = (torch.uint8, torch.float32)


def white_of(images: Tensor) -> int:
    """The value of white in stored images."""
    return 255 if images.dtype == torch.uint8 else 1


def as_floats(images: Tensor) -> Tensor:
    """Stored images as float32 in [0, 1]."""
    return images.float() / white_of(images)


def stored_as(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Stored images in the other way of storing them, if they are not in it already."""
    if images.dtype == dtype:
        return images
    return images.mul(255).round().to(dtype) if dtype == torch.uint8 else as_floats(images)


def is_grey(pictures: NDArray[Any], white: float) -> bool:
    """Whether the channels of ... x C x H x W differ by less than a level of 255 on average."""
    return bool(np.ptp(pictures, axis=-3).mean() < white / 255)
