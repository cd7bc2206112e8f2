"""Small random inputs of the pipeline's tests."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from two_stage.defects.painted import Picture


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texture(channels: int, seed: int = 0) -> Picture:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(channels, 96, 96)), (0, 1, 1))
    return np.clip(0.5 + 0.15 * field / field.std(), 0, 1).astype(np.float32)
