"""Reconstruct whole images from overlapping patches, blended by a smooth window."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def reconstruct(
    model: nn.Module, image: Tensor, *, patch_size: int, stride: int, batch_size: int
) -> Tensor:
    """Reconstruct an image C x H x W, float in [0, 1], on the device where it and the model are.

    The model must be in evaluation mode. The outermost patches end with the image, like patches
    seen in training: reflecting the image beyond its border made lines that cross the border look
    like nothing the network knows.
    """
    corners = [
        (top, left)
        for top in patch_starts(image.shape[-2], patch_size, stride)
        for left in patch_starts(image.shape[-1], patch_size, stride)
    ]
    window = blend_window(patch_size).to(image.device)
    total = torch.zeros_like(image)
    weight = torch.zeros_like(image[0])
    for first in range(0, len(corners), batch_size):
        batch = corners[first : first + batch_size]
        patches = torch.stack([image[:, y : y + patch_size, x : x + patch_size] for y, x in batch])
        outputs = model(patches.contiguous(memory_format=torch.channels_last))
        for (y, x), output in zip(batch, outputs, strict=True):
            total[:, y : y + patch_size, x : x + patch_size] += window * output
            weight[y : y + patch_size, x : x + patch_size] += window
    return total / weight


def patch_starts(length: int, patch_size: int, stride: int) -> list[int]:
    """Where patches begin: every `stride` pixels, and one that ends at the last pixel."""
    last = length - patch_size
    return [*range(0, last, stride), last]


def blend_window(size: int) -> Tensor:
    """The weights of a patch's pixels, size x size: `blend_profile` in both directions."""
    profile = blend_profile(size)
    return profile[:, None] * profile[None, :]


def blend_profile(size: int) -> Tensor:
    """A squared sine, positive everywhere."""
    phase = torch.pi * (torch.arange(size) + 0.5) / size
    return phase.sin().square()
