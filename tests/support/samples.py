"""Small random inputs of the pipeline's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from two_stage.defects.painted import Picture
from two_stage.run.settings import Settings


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texture(channels: int, seed: int = 0) -> Picture:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(channels, 96, 96)), (0, 1, 1))
    return np.clip(0.5 + 0.15 * field / field.std(), 0, 1).astype(np.float32)


def random_image(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=generator(seed))


def small_settings(**changes: Any) -> Settings:
    """Of grey images of 64 pixels in overlapping patches of 32."""
    values = {"image_size": 64, "patch_size": 32, "test_stride": 16, "channels": 1}
    return Settings.of(**{**values, **changes})
