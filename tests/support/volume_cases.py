"""Small volumes N x C x D x H x W, and masks for them."""

from __future__ import annotations

from typing import Any

import torch
from cases import noise
from torch import Tensor

SHAPE = (2, 2, 7, 9, 8)
SMALL: dict[str, Any] = {"window_size": 5, "sigma": 1.2}


def volumes(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = (0.5 + 0.2 * noise(seed, torch.empty(shape))).clamp(0, 1)
    return x, (x + 0.1 * noise(seed + 1, x)).clamp(0, 1)


def masks(shape: tuple[int, ...] = SHAPE) -> dict[str, Tensor | None]:
    """A body that leaves out slices, a corner and a voxel; and weights for each channel."""
    body = torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool)
    body[0, :, :2] = False
    body[-1, :, 1:, 3:, :3] = False
    body[-1, :, 3, 4, 5] = False
    soft = noise(2, torch.empty(shape)).abs()
    return {"no mask": None, "body": body, "soft": soft * (noise(3, soft) > -0.5)}
