"""Blending, residuals and the choice of the scorer, against cases done by hand and scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from two_stage.defects.painted import KINDS
from two_stage.run.groups import Scoring
from two_stage.run.settings import Settings
from two_stage.scoring.metrics import aupro, pixel_auroc
from two_stage.scoring.pixel_counts import PixelCounts
from two_stage.scoring.reconstruction import reconstruct
from two_stage.scoring.residuals import residual_maps
from two_stage.scoring.scorer import (
    Normality,
    Scorer,
    measure_normality,
    smooth,
)
from two_stage.scoring.selection import (
    _candidate_maps,
    _mean_image_auroc,
    _paint,
    candidates,
    choose_scorer,
)

EQUAL = (1 / 3, 1 / 3, 1 / 3)


class Shift(nn.Module):
    """Adds a constant; 0 makes it the identity. Counts what it sees."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.offset = offset
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, patches: Tensor) -> Tensor:
        self.shapes.append(tuple(patches.shape))
        return patches + self.offset


class Grey(nn.Module):
    """Knows one picture by heart."""

    def forward(self, patches: Tensor) -> Tensor:
        return torch.full_like(patches, 0.5)


def random_image(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def settings_for(**changes: object) -> Settings:
    values = {"image_size": 64, "patch_size": 32, "test_stride": 16, "channels": 1}
    return Settings.of(**{**values, **changes})  # type: ignore[arg-type]


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


def test_the_plain_residual_is_the_mean_over_channels() -> None:
    image, reconstruction = torch.zeros(3, 32, 32), torch.zeros(3, 32, 32)
    reconstruction[0] = 0.3
    maps = residual_maps(image, reconstruction, EQUAL, parts=("l1",))
    assert list(maps) == ["l1"]
    torch.testing.assert_close(maps["l1"], torch.full((32, 32), 0.1))


def test_residuals_are_nothing_where_both_agree_and_largest_at_a_defect() -> None:
    image = random_image(3, 65, 70)
    maps = residual_maps(image, image, EQUAL)
    assert set(maps) == {"l1", "aw_ssim", "gradient"}
    for score_map in maps.values():
        torch.testing.assert_close(score_map, torch.zeros(65, 70), atol=1e-6, rtol=0)
    defective = image.clone()
    defective[:, 30:38, 40:48] = 0.5
    for name, score_map in residual_maps(defective, image, EQUAL).items():
        assert score_map.shape == (65, 70), name
        row, column = divmod(int(smooth(score_map, 2.0).argmax()), 70)
        assert 28 <= row < 40, name
        assert 38 <= column < 50, name


def test_gradient_similarity_of_a_ramp_by_hand() -> None:
    # Prewitt across a ramp of slope m gives 2 m; halving the resolution doubles the slope.
    ramp = torch.arange(64.0).expand(1, 64, 64) / 64
    result = residual_maps(ramp, 0.5 * ramp, EQUAL, parts=("gradient",))["gradient"]
    expected = 0.0
    for scale in range(4):
        a, b = 2 * 2**scale / 64, 2**scale / 64
        expected += 1 - (2 * a * b + 170 / 255**2) / (a * a + b * b + 170 / 255**2)
    assert float(result[32, 32]) == pytest.approx(expected / 4, rel=1e-4)


def test_both_backends_give_the_same_residual() -> None:
    x, y = random_image(3, 40, 40), random_image(3, 40, 40, seed=1)
    auto, plain = (
        residual_maps(x, y, EQUAL, parts=("aw_ssim",), backend=b)["aw_ssim"]
        for b in ("auto", "torch")
    )
    torch.testing.assert_close(auto, plain, atol=1e-5, rtol=1e-5)


def test_an_unknown_residual_is_an_error() -> None:
    with pytest.raises(ValueError, match="got 'l2'"):
        residual_maps(torch.zeros(1, 32, 32), torch.zeros(1, 32, 32), EQUAL, parts=("l2",))


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
    normality = measure_normality(model, images, settings_for())
    assert not model.training
    # On the right one image is off by 0.1 and the other by 0; on the left neither is off, and
    # the spread there is a quarter of the average one. Between them lies the neighbourhood.
    means, stds = normality.means["l1"], normality.stds["l1"]
    torch.testing.assert_close(means[:, 40:], torch.full((64, 24), 0.05), atol=1e-6, rtol=0)
    torch.testing.assert_close(means[:, :24], torch.zeros(64, 24), atol=1e-6, rtol=0)
    torch.testing.assert_close(stds[:, 40:], torch.full((64, 24), 0.05), atol=1e-4, rtol=0)
    torch.testing.assert_close(stds[:, :24], torch.full((64, 24), 0.00625), atol=3e-4, rtol=0)
    assert 0.01 < means[10, 32] < 0.04


def example_scorer() -> Scorer:
    one = torch.ones(8, 8)
    normality = Normality({"l1": one, "aw_ssim": 0 * one}, {"l1": 2 * one, "aw_ssim": 0.5 * one})
    return Scorer("l1+aw_ssim", 2.0, normality, pixel_threshold=1.25, image_threshold=2.5)


def test_the_map_is_the_mean_in_units_of_the_spread() -> None:
    residuals = {"l1": torch.full((8, 8), 5.0), "aw_ssim": torch.full((8, 8), 2.0)}
    residuals["not measured"] = torch.ones(8, 8)
    torch.testing.assert_close(example_scorer()(residuals), torch.full((8, 8), 3.0))


def test_a_saved_scorer_gives_the_same_map(tmp_path: Path) -> None:
    scorer = example_scorer()
    scorer.save(tmp_path / "scorer.safetensors")
    loaded = Scorer.load(tmp_path / "scorer.safetensors")
    residuals = {"l1": random_image(8, 8), "aw_ssim": random_image(8, 8, seed=1)}
    assert torch.equal(loaded(residuals), scorer(residuals))
    assert (loaded.pixel_threshold, loaded.image_threshold) == (1.25, 2.5)
    assert [path.name for path in tmp_path.iterdir()] == ["scorer.safetensors"]


def test_a_file_that_is_no_scorer_is_an_error(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="it holds no scorer; pass the file"):
        Scorer.load(tmp_path / "weights.safetensors")


def test_what_the_user_fixes_is_not_searched() -> None:
    assert len(candidates(Scoring(), 64)) == 7 * 3
    assert candidates(Scoring(residual="l1", smoothing=2.0), 64) == [("l1", 2.0)]
    assert len(candidates(Scoring(smoothing=2.0), 64)) == 7


def textured_images(count: int) -> Tensor:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(120, 136, (count, 1, 64, 64)).astype(np.uint8))


def test_the_choice_is_the_best_of_the_table_with_thresholds_of_clean_images() -> None:
    images, settings = textured_images(4), settings_for(threshold_quantile=0.9)
    normality = measure_normality(Grey(), images[:2], settings)
    random = np.random.default_rng(0)
    scorer, table = choose_scorer(Grey(), normality, images[2:], None, settings, random)
    assert [(row["residual"], row["smoothing"]) for row in table[:1]] == [
        (scorer.residual, scorer.smoothing)
    ]
    assert len(table) == len(candidates(settings.scoring, 64))
    criteria = [row["criterion"] for row in table]
    assert criteria == sorted(criteria, reverse=True)
    assert criteria[0] > criteria[-1]
    clean = []
    for image in images[2:].float() / 255:
        clean.append(scorer(residual_maps(image, torch.full_like(image, 0.5), EQUAL)))
    pixels = torch.stack(clean)
    assert scorer.image_threshold == pytest.approx(float(pixels.max()), rel=1e-6)
    # Counted in float16.
    expected = float(np.quantile(pixels.numpy(), 0.9))
    assert scorer.pixel_threshold == pytest.approx(expected, abs=2e-3)


def test_figures_of_the_choice_are_those_of_the_painted_images() -> None:
    # The network knows all but defects; the second image is a little brighter than it should be.
    held_out = torch.full((2, 1, 64, 64), 128, dtype=torch.uint8)
    held_out[1] += 3
    zero, one = torch.zeros(64, 64), torch.ones(64, 64)
    names = ("l1", "aw_ssim", "gradient")
    normality = Normality(dict.fromkeys(names, zero), dict.fromkeys(names, one))
    settings, model = settings_for(residual="l1", smoothing=0.0), Grey()
    random = np.random.default_rng(0)
    scorer, (row,) = choose_scorer(model, normality, held_out, None, settings, random)
    counts = PixelCounts()
    painted = list(_paint(held_out, None, np.random.default_rng(0)))
    clean = [("good", image / 255, np.zeros((64, 64), bool)) for image in held_out]
    for _, image, mask in [*clean, *painted]:
        counts.add((image[0] - 0.5).abs().numpy(), mask)
    assert row["pixel_auroc"] == pytest.approx(pixel_auroc(counts), rel=1e-6)
    assert row["aupro"] == pytest.approx(aupro(counts), rel=1e-6)
    # An image's score is its largest: every defect is stronger than what is wrong with clean ones.
    assert row["criterion"] == 1
    assert set(scorer.normality.means) == set(scorer.normality.stds) == {"l1"}
    assert not model.training


def test_the_criterion_is_the_mean_over_kinds() -> None:
    scores = {"blot": [2.0, 3.0, 4.0], "line": [0.5, -1.0]}
    # All three are above both clean ones; of four pairs one is.
    assert _mean_image_auroc([0.0, 1.0], scores) == pytest.approx((1 + 1 / 4) / 2)


def test_few_images_are_painted_often_each_on_its_own_foreground() -> None:
    foregrounds = torch.zeros(3, 48, 48, dtype=torch.bool)
    for number in range(3):
        foregrounds[number, 10:30, 15 * number : 15 * number + 15] = True
    images = textured_images(3)[..., :48, :48]
    painted = list(_paint(images, foregrounds, np.random.default_rng(0)))
    kinds = [kind for kind, _, _ in painted]
    # Seven times each of three images: at least twenty of each kind.
    assert kinds == [*KINDS] * 21
    for place, (_, image, mask) in enumerate(painted):
        number = place // len(KINDS) % 3
        changed = (image != images[number] / 255).any(0)
        assert changed.any()
        assert mask.any()
        assert not changed[~foregrounds[number]].any()


def test_candidates_are_scored_as_their_scorer_would() -> None:
    scorer = example_scorer()
    residuals = {"l1": random_image(8, 8), "aw_ssim": random_image(8, 8, seed=1)}
    wanted = [("l1+aw_ssim", 2.0), ("l1", 1.0)]
    maps = dict(_candidate_maps(residuals, scorer.normality, wanted))
    assert list(maps) == wanted
    torch.testing.assert_close(maps["l1+aw_ssim", 2.0], scorer(residuals))


def test_no_held_out_images_is_an_error() -> None:
    settings, random = settings_for(), np.random.default_rng(0)
    normality = measure_normality(Grey(), textured_images(1), settings)
    with pytest.raises(ValueError, match="raise validation_share"):
        choose_scorer(Grey(), normality, textured_images(0), None, settings, random)
