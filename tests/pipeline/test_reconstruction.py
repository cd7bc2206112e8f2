"""Whole images from overlapping patches: every pixel, no seams."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from samples import random_image
from tiny_run import write_run
from torch import Tensor, nn
from two_stage.run.errors import UserError
from two_stage.run.settings import Settings
from two_stage.scoring.reconstruction import reconstruct
from two_stage.scoring.trained_run import load_trained_run


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


def test_a_whole_image_may_be_the_only_patch(tmp_path: Path) -> None:
    """With a test_patch_size of the image's side the network sees it once, as a batch of one."""
    folder = write_run(tmp_path / "run", image_size=96, test_patch_size=96)
    run = load_trained_run(folder, "cpu")
    image = random_image(3, 96, 96)
    reconstruction, _ = run.score(image)
    with torch.inference_mode():
        torch.testing.assert_close(reconstruction, run.model(image[None])[0], atol=1e-6, rtol=0)
    # Otherwise the patches are as large as in training.
    assert load_trained_run(write_run(tmp_path / "small"), "cpu").settings.test_patch_size() == 32


@pytest.mark.parametrize("size", [48, 128])
def test_a_test_patch_fits_the_network_and_the_image(size: int) -> None:
    with pytest.raises(UserError, match=r"a multiple of 32 and at most image_size .96., got"):
        Settings.of(image_size=96, patch_size=64, test_patch_size=size)
