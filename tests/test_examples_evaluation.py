"""Blending, residuals, baselines and metrics of the example, against cases done by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from two_stage.baselines import input_only_maps, mean_image
from two_stage.dataset import Sample
from two_stage.evaluation import Normality, evaluate, measure_normality, reconstruct
from two_stage.metrics import detection_metrics, detection_metrics_by_defect
from two_stage.settings import Settings


class Shift(nn.Module):
    """Adds a constant; 0 makes it the identity. Counts what it sees."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(offset))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, patches: Tensor) -> Tensor:
        self.shapes.append(tuple(patches.shape))
        return patches + self.offset


class Grey(Shift):
    """Knows one picture by heart."""

    def forward(self, patches: Tensor) -> Tensor:
        return torch.full_like(patches, 0.5)


SIZES = [(64, 64), (65, 64), (100, 131), (127, 160), (200, 70)]


@pytest.mark.parametrize("stride", [1, 7, 32])
@pytest.mark.parametrize("size", SIZES)
def test_the_identity_reconstructs_every_pixel(size: tuple[int, int], stride: int) -> None:
    if stride == 1 and max(size) > 70:
        size = (66, 70)
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        result = reconstruct(Shift(), image, patch_size=64, stride=stride, batch_size=5)
    torch.testing.assert_close(result, image, atol=1e-6, rtol=1e-6)


def test_patches_are_whole_and_come_in_batches() -> None:
    model = Shift()
    with torch.no_grad():
        reconstruct(model, torch.rand(1, 70, 96), patch_size=64, stride=32, batch_size=3)
    # Rows 0 and 6, columns 0 and 32: four patches.
    assert model.shapes == [(3, 1, 64, 64), (1, 1, 64, 64)]


def test_blending_has_no_seams_where_patches_disagree() -> None:
    class PatchNumber(nn.Module):
        def forward(self, patches: Tensor) -> Tensor:
            return torch.arange(len(patches), dtype=torch.float32)[:, None, None, None].expand_as(
                patches
            )

    image = torch.zeros(1, 64, 128)
    result = reconstruct(PatchNumber(), image, patch_size=64, stride=32, batch_size=9)
    # Three patches in a row give 0, 1 and 2; a seam would be a step of 1 between two pixels.
    assert result.min() == 0
    assert result.max() == 2
    assert result.diff(dim=-1).abs().max() < 0.1


@pytest.fixture
def settings() -> Settings:
    return Settings(image_size=64, patch_size=32, test_stride=16, channels=1, residual_sigma=1.0)


def test_normality_is_the_mean_and_spread_at_each_place() -> None:
    class BrightenWhite(Shift):
        def forward(self, patches: Tensor) -> Tensor:
            return patches + 0.1 * (patches > 0.5)

    settings = Settings(
        image_size=64, patch_size=32, test_stride=16, channels=1, residual_sigma=0.0
    )
    images = torch.full((2, 1, 64, 64), 51, dtype=torch.uint8)
    images[0, :, :, 32:] = 153
    normality = measure_normality(BrightenWhite(), images, settings)
    assert set(normality.means) == set(normality.stds) == {"l1", "aw_ssim"}
    # On the right one image is off by 0.1 and the other by 0; on the left neither is off, and
    # the spread there is a quarter of the average one, 0.025.
    np.testing.assert_allclose(normality.means["l1"][:, 32:], 0.05, atol=1e-6)
    np.testing.assert_allclose(normality.means["l1"][:, :32], 0.0, atol=1e-6)
    np.testing.assert_allclose(normality.stds["l1"][:, 32:], 0.05, atol=1e-4)
    np.testing.assert_allclose(normality.stds["l1"][:, :32], 0.25 * 0.025, atol=1e-4)
    assert normality.means["aw_ssim"][:, 40:].min() > 0


def test_normality_is_smoothed_over_a_neighbourhood() -> None:
    settings = Settings(
        image_size=64, patch_size=32, test_stride=16, channels=1, residual_sigma=3.0
    )
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8, generator=generator)
    normality = measure_normality(Grey(), images, settings)
    # One pixel of uniform noise is off by 0.25 on average and 0.14 either way.
    np.testing.assert_allclose(normality.means["l1"], 0.25, atol=0.08)
    np.testing.assert_allclose(normality.stds["l1"], 0.144, atol=0.05)


def test_residuals_are_combined_in_units_of_their_spread() -> None:
    one = np.ones((8, 8))
    normality = Normality(means={"a": one, "b": 0 * one}, stds={"a": 2 * one, "b": 0.5 * one})
    maps = {"a": np.full((8, 8), 5.0), "b": np.full((8, 8), 2.0), "not measured": np.ones((8, 8))}
    np.testing.assert_allclose(normality.combine(maps, sigma=2.0), 3.0)


def test_a_defect_stands_out_in_every_residual(tmp_path: Path, settings: Settings) -> None:
    pixels = np.random.default_rng(0).integers(120, 136, (64, 64)).astype(np.uint8)
    normality = measure_normality(Grey(), torch.from_numpy(pixels)[None, None], settings)
    pixels[20:30, 40:50] = 250
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[20:30, 40:50] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    sample = Sample(tmp_path / "a.png", tmp_path / "a_mask.png", "spot")
    (result,) = evaluate(Grey(), [sample], normality, settings)
    assert set(result.maps) == {"l1", "aw_ssim", "combined"}
    for name, score_map in result.maps.items():
        assert score_map.shape == (64, 64), name
        row, column = np.unravel_index(score_map.argmax(), score_map.shape)
        # The SSIM window spreads the defect by up to five pixels.
        assert 15 <= row < 35, name
        assert 35 <= column < 55, name
    np.testing.assert_allclose(result.maps["l1"], np.abs(pixels / 255 - 0.5), atol=1e-6)
    figures = detection_metrics([result.maps["combined"]], [result.mask.numpy()], ["spot"])
    assert figures["pixel_auroc"] > 0.99


def test_evaluation_reads_one_image_at_a_time(tmp_path: Path, settings: Settings) -> None:
    Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(tmp_path / "a.png")
    samples = [
        Sample(tmp_path / "a.png", None, "good"),
        Sample(tmp_path / "missing.png", None, "good"),
    ]
    zeros, ones = (dict.fromkeys(("l1", "aw_ssim"), np.full((64, 64), v)) for v in (0.0, 1.0))
    normality = Normality(zeros, ones)
    results = evaluate(Shift(), samples, normality, settings)
    assert not next(results).mask.any()
    with pytest.raises(FileNotFoundError):
        next(results)


def test_input_only_baselines_by_hand() -> None:
    images = torch.stack([torch.full((1, 9, 9), value, dtype=torch.uint8) for value in (51, 153)])
    mean = mean_image(images)
    np.testing.assert_allclose(mean, 0.4, atol=1e-6)
    step = torch.zeros(1, 9, 9)
    step[..., 5:] = 1.0
    maps = input_only_maps(step, mean, sigma=0.0)
    np.testing.assert_allclose(maps["distance_to_mean"][:, :5], 0.4, atol=1e-6)
    np.testing.assert_allclose(maps["distance_to_mean"][:, 5:], 0.6, atol=1e-6)
    assert set(maps["gradient"].argmax(1)) <= {4, 5}
    assert maps["gradient"][:, :3].max() == 0


def test_metrics_by_hand() -> None:
    maps = [np.array([[0.1, 0.4], [0.35, 0.8]]), np.array([[0.0, 0.2], [0.3, 0.05]])]
    masks = [np.array([[False, False], [True, True]]), np.zeros((2, 2), dtype=bool)]
    figures = detection_metrics(maps, masks, ["crack", "good"])
    # Pooled: of 2 x 6 pairs only (0.35, 0.4) is in the wrong order.
    assert figures["pixel_auroc"] == pytest.approx(11 / 12)
    # Precision is 1 at the first hit and 2/3 at the second.
    assert figures["pixel_ap"] == pytest.approx((1 + 2 / 3) / 2)
    # The images' scores are their maxima, 0.8 and 0.3.
    assert figures["image_auroc"] == 1.0


def test_good_images_count_in_the_pool() -> None:
    defective = np.array([[0.6, 0.1]])
    mask = np.array([[True, False]])
    bright, empty = np.array([[0.9, 0.9]]), np.array([[False, False]])
    figures = detection_metrics([defective, bright], [mask, empty], ["crack", "good"])
    assert figures["pixel_auroc"] == pytest.approx(1 / 3)
    assert figures["image_auroc"] == 0.0


def test_an_image_s_score_is_its_largest_pixel() -> None:
    spot, haze = np.array([[0.8, 0.0, 0.0]]), np.array([[0.5, 0.5, 0.5]])
    masks = [np.array([[True, False, False]]), np.zeros((1, 3), dtype=bool)]
    assert detection_metrics([spot, haze], masks, ["spot", "good"])["image_auroc"] == 1.0


def test_undefined_figures_are_none() -> None:
    figures = detection_metrics([np.ones((2, 2))], [np.zeros((2, 2), dtype=bool)], ["good"])
    assert figures == {"pixel_auroc": None, "pixel_ap": None, "image_auroc": None}


def test_each_kind_of_defect_is_set_against_all_good_images() -> None:
    empty, full = np.zeros((1, 1), dtype=bool), np.ones((1, 1), dtype=bool)
    maps = [np.array([[value]]) for value in (0.5, 0.9, 0.1)]
    table = detection_metrics_by_defect(maps, [empty, full, full], ["good", "oil", "crack"])
    assert list(table) == ["crack", "oil"]
    assert table["oil"]["pixel_auroc"] == 1.0
    assert table["crack"]["image_auroc"] == 0.0


def test_maps_and_masks_must_agree_in_shape() -> None:
    with pytest.raises(ValueError, match=r"expected a mask of shape \(2, 3\), got \(3, 2\)"):
        detection_metrics([np.ones((2, 3))], [np.ones((3, 2), dtype=bool)], ["good"])
