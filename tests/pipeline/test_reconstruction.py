"""Whole images from overlapping patches: every pixel, no seams."""

from __future__ import annotations

import pytest
import torch
from samples import random_image
from torch import Tensor, nn
from two_stage.scoring.reconstruction import reconstruct


class Shift(nn.Module):
    """Adds a constant; 0 makes it the identity. Counts what it sees."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.offset = offset
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, patches: Tensor) -> Tensor:
        self.shapes.append(tuple(patches.shape))
        return patches + self.offset


@pytest.mark.parametrize("stride", [7, 32])
@pytest.mark.parametrize("size", [(64, 64), (65, 64), (100, 131), (127, 160), (200, 70)])
def test_the_identity_reconstructs_every_pixel(size: tuple[int, int], stride: int) -> None:
    image = random_image(3, *size)
    result = reconstruct(Shift(), image, patch_size=64, stride=stride, batch_size=5)
    torch.testing.assert_close(result, image, atol=1e-6, rtol=1e-6)


def test_patches_are_whole_and_come_in_batches() -> None:
    model = Shift()
    reconstruct(model, random_image(1, 70, 96), patch_size=64, stride=32, batch_size=3)
    # Rows 0 and 6, columns 0 and 32: four patches.
    assert model.shapes == [(3, 1, 64, 64), (1, 1, 64, 64)]


def test_blending_has_no_seams_where_patches_disagree() -> None:
    class PatchNumber(nn.Module):
        def forward(self, patches: Tensor) -> Tensor:
            numbers = torch.arange(len(patches), dtype=torch.float32)
            return numbers[:, None, None, None].expand_as(patches)

    image = torch.zeros(1, 64, 128)
    result = reconstruct(PatchNumber(), image, patch_size=64, stride=32, batch_size=9)
    # Three patches in a row give 0, 1 and 2; a seam would be a step of 1 between two pixels.
    assert result.min() == 0
    assert result.max() == 2
    assert result.diff(dim=-1).abs().max() < 0.1
