"""Pairs of images on which SSIM losses lose their digits, as 1 x 1 x 40 x 48 float32 crops."""

from __future__ import annotations

import skimage.data
import torch
from torch import Tensor


def camera(height: int = 40, width: int = 48, top: int = 150, left: int = 30) -> Tensor:
    """A crop of scikit-image's cameraman in [0, 1]: coat, sky and the hard edge between them."""
    image = torch.from_numpy(skimage.data.camera().copy())[top : top + height, left : left + width]
    return (image.float() / 255)[None, None]


def noise(seed: int, like: Tensor) -> Tensor:
    """Standard normal noise of the shape of `like`, the same on every machine and run."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


def _pairs() -> dict[str, tuple[Tensor, Tensor]]:
    texture = camera()
    grid = torch.arange(40)[:, None] + torch.arange(48)
    board = (grid % 2).float()[None, None]
    clipped = (2.5 * texture - 0.5).clamp(0, 1)
    low_contrast = 0.9 + 0.001 * noise(2, texture)
    bright = 0.9 + 2e-5 * noise(6, texture)
    return {
        "noisy": (texture, texture + 0.05 * noise(0, texture)),
        "clipped": (clipped, (clipped + 0.05 * noise(1, texture)).clamp(0, 1)),
        "flat against texture": (torch.full_like(texture, 0.7), texture),
        "low contrast": (low_contrast, 0.9 + 0.001 * noise(3, texture)),
        "bright shift": (bright, bright + 1e-4),
        "identical": (texture, texture.clone()),
        "constant": (torch.full_like(texture, 0.3), torch.full_like(texture, 0.6)),
        "black": (torch.zeros_like(texture), torch.zeros_like(texture)),
        "black against texture": (torch.zeros_like(texture), texture),
        "checkerboard": (board, 1 - board),
        "tiny deviation": (0.5 + 1e-6 * noise(4, texture), 0.5 + 1e-6 * noise(5, texture)),
    }


PAIRS = _pairs()


def patches(kind: str) -> tuple[Tensor, Tensor]:
    """Small float64 pairs; the flat ones are where a square root of the variance breaks."""
    x = 0.5 + 0.2 * noise(0, torch.empty(1, 2, 5, 6)).double()
    flat = torch.full_like(x, 0.4)
    y = x + 0.1 * noise(1, x).double()
    return {
        "textured": (x, y),
        "identical": (x, x.clone()),
        "flat against texture": (flat, y),
        "flat": (flat, flat + 0.2),
        "black": (torch.zeros_like(x), torch.zeros_like(x)),
    }[kind]


def batch() -> tuple[Tensor, Tensor]:
    """Four float32 images and noisy copies."""
    x = 0.5 + 0.2 * noise(0, torch.empty(4, 2, 13, 14))
    return x, x + 0.1 * noise(1, x)


def colours(size: int = 64) -> tuple[Tensor, Tensor]:
    """Two RGB crops and noisy copies in [0, 1]."""
    x = torch.cat([camera(size, size), camera(size, size, left=130)]).repeat(1, 3, 1, 1)
    x = x * torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    return x, (x + 0.1 * noise(1, x)).clamp(0, 1)
