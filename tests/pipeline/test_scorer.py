"""From residuals to the map: smoothing against scipy, units of the spread, files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from samples import random_image, small_settings
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from two_stage.scoring.scorer import Normality, Scorer, measure_normality, smooth
from two_stage.scoring.selection import (
    _candidate_maps,
    normalities,
)


@pytest.mark.parametrize("sigma", [0.0, 0.5, 2.0, 7.3, 40.0])
def test_smoothing_is_scipys(sigma: float) -> None:
    # The last one reaches far beyond the image.
    score_map = random_image(50, 33)
    expected = gaussian_filter(score_map.double().numpy(), sigma, mode="reflect")
    np.testing.assert_allclose(smooth(score_map, sigma).numpy(), expected, atol=1e-6)


def test_normality_is_the_mean_and_spread_at_each_place() -> None:
    class BrightenWhite(nn.Module):
        def forward(self, patches: Tensor) -> Tensor:
            return patches + 0.1 * (patches > 0.5)

    images = torch.full((2, 1, 64, 64), 51, dtype=torch.uint8)
    images[0, :, :, 32:] = 153
    model = BrightenWhite()
    normality = measure_normality(model, images, small_settings())
    assert not model.training
    # On the right one image is off by 0.1 and the other by 0; on the left neither is off, and
    # the spread there is a quarter of the average one. Between them lies the neighbourhood.
    means, stds = normality.means["l1"], normality.stds["l1"]
    torch.testing.assert_close(means[:, 40:], torch.full((64, 24), 0.05), atol=1e-6, rtol=0)
    torch.testing.assert_close(means[:, :24], torch.zeros(64, 24), atol=1e-6, rtol=0)
    torch.testing.assert_close(stds[:, 40:], torch.full((64, 24), 0.05), atol=1e-4, rtol=0)
    torch.testing.assert_close(stds[:, :24], torch.full((64, 24), 0.00625), atol=3e-4, rtol=0)
    assert 0.01 < means[10, 32] < 0.04


def example_scorer(area: Tensor | None = None) -> Scorer:
    one = torch.ones(8, 8)
    normality = Normality(
        {"l1": one, "aw_ssim": 0 * one}, {"l1": 2 * one, "aw_ssim": 0.5 * one}, area
    )
    return Scorer("l1+aw_ssim", 2.0, normality, pixel_threshold=1.25, image_threshold=2.5)


def test_the_map_is_the_mean_in_units_of_the_spread() -> None:
    residuals = {"l1": torch.full((8, 8), 5.0), "aw_ssim": torch.full((8, 8), 2.0)}
    residuals["not measured"] = torch.ones(8, 8)
    torch.testing.assert_close(example_scorer()(residuals), torch.full((8, 8), 3.0))


def left_half() -> Tensor:
    return torch.arange(8).expand(8, 8) < 4


def test_beyond_the_scored_area_everything_is_normal() -> None:
    residuals = {"l1": torch.full((8, 8), 5.0), "aw_ssim": torch.full((8, 8), 2.0)}
    scorer = dataclasses.replace(example_scorer(left_half()), smoothing=0.0)
    expected = torch.where(left_half(), 3.0, 0.0)
    torch.testing.assert_close(scorer(residuals), expected)
    # A residual that is no number still shows.
    residuals["l1"][0, 7] = torch.nan
    assert scorer(residuals)[0, 7].isnan()


def test_what_lies_beyond_has_no_part_in_pooled_normality() -> None:
    scorer = example_scorer(left_half())
    scorer.normality.means["l1"][:, 4:] = 100.0
    scorer.normality.stds["l1"][:, 4:] = 100.0
    pooled = scorer.normality.pooled()
    torch.testing.assert_close(pooled.means["l1"], torch.ones(8, 8))
    torch.testing.assert_close(pooled.stds["l1"], torch.full((8, 8), 2.0))
    assert pooled.area is scorer.normality.area


def test_an_area_that_cannot_be_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "scorer.safetensors"
    for area in (torch.ones(8, 8), torch.ones(4, 8).bool(), torch.zeros(8, 8).bool()):
        example_scorer(area).save(path)
        with pytest.raises(ValueError, match=r"the scored area must be bool, of shape \(8, 8\)"):
            Scorer.load(path)


@pytest.mark.parametrize("area", [None, left_half()], ids=["whole picture", "area"])
def test_a_saved_scorer_gives_the_same_map(tmp_path: Path, area: Tensor | None) -> None:
    scorer = example_scorer(area)
    scorer.save(tmp_path / "scorer.safetensors")
    loaded = Scorer.load(tmp_path / "scorer.safetensors")
    residuals = {"l1": random_image(8, 8), "aw_ssim": random_image(8, 8, seed=1)}
    assert torch.equal(loaded(residuals), scorer(residuals))
    assert (loaded.pixel_threshold, loaded.image_threshold) == (1.25, 2.5)
    assert [path.name for path in tmp_path.iterdir()] == ["scorer.safetensors"]


def test_the_count_of_held_out_images_is_kept_and_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "scorer.safetensors"
    for count in (None, 1, 27):
        dataclasses.replace(example_scorer(), held_out=count).save(path)
        assert Scorer.load(path).held_out == count
    dataclasses.replace(example_scorer(), held_out=0).save(path)
    with pytest.raises(ValueError, match="held_out must be a count of images, got 0"):
        Scorer.load(path)


def test_a_file_that_is_no_scorer_is_an_error(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="it holds no scorer; pass the file"):
        Scorer.load(tmp_path / "weights.safetensors")


def test_candidates_are_scored_as_their_scorer_would() -> None:
    scorer = example_scorer()
    # Places differ in what is normal.
    scorer.normality.means["l1"][:4] += 2
    scorer.normality.stds["aw_ssim"][:, :4] *= 3
    residuals = {"l1": random_image(8, 8), "aw_ssim": random_image(8, 8, seed=1)}
    wanted = [("l1+aw_ssim", 2.0, "place"), ("l1", 1.0, "place"), ("l1+aw_ssim", 2.0, "picture")]
    maps = dict(_candidate_maps(residuals, normalities(scorer.normality), wanted))
    assert list(maps) == wanted
    torch.testing.assert_close(maps["l1+aw_ssim", 2.0, "place"], scorer(residuals))
    pooled = dataclasses.replace(scorer, normality=scorer.normality.pooled())
    torch.testing.assert_close(maps["l1+aw_ssim", 2.0, "picture"], pooled(residuals))


def test_pooled_normality_is_that_of_all_places_together() -> None:
    # Of two places with their own normal residuals, as many samples of each.
    first = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    second = 3 + 2 * torch.randn(4000, generator=torch.Generator().manual_seed(1))
    both = torch.stack((first, second))
    at_places = Normality(
        {"l1": both.mean(1)[None]}, {"l1": both.std(1, correction=0)[None]}
    ).pooled()
    torch.testing.assert_close(at_places.means["l1"], both.mean().expand(1, 2))
    torch.testing.assert_close(at_places.stds["l1"], both.std(correction=0).expand(1, 2))
