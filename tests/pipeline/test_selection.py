"""The residual, its smoothing and the thresholds that held-out images choose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from samples import small_settings
from torch import Tensor, nn
from two_stage.defects.painted import KINDS
from two_stage.run.groups import Scoring
from two_stage.scoring.metrics import aupro, pixel_auroc
from two_stage.scoring.pixel_counts import PixelCounts
from two_stage.scoring.residuals import residual_maps
from two_stage.scoring.scorer import Normality, measure_normality
from two_stage.scoring.selection import (
    _mean_image_auroc,
    _paint,
    candidates,
    choose_scorer,
)
from two_stage.scoring.thresholds import image_threshold

EQUAL = (1 / 3, 1 / 3, 1 / 3)


class Grey(nn.Module):
    """Knows one picture by heart."""

    def forward(self, patches: Tensor) -> Tensor:
        return torch.full_like(patches, 0.5)


def test_what_the_user_fixes_is_not_searched() -> None:
    assert len(candidates(Scoring(), 64)) == 7 * 3
    assert candidates(Scoring(residual="l1", smoothing=2.0), 64) == [("l1", 2.0, "place")]
    assert len(candidates(Scoring(normality="auto"), 64)) == 7 * 3 * 2
    assert len(candidates(Scoring(smoothing=2.0), 64)) == 7


def textured_images(count: int) -> Tensor:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(120, 136, (count, 1, 64, 64)).astype(np.uint8))


def test_the_choice_is_the_best_of_the_table_with_thresholds_of_clean_images() -> None:
    images, settings = textured_images(4), small_settings(threshold_quantile=0.9)
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
    painted = [
        float(scorer(residual_maps(image, torch.full_like(image, 0.5), EQUAL)).max())
        for _, image, _ in _paint(images[2:], None, np.random.default_rng(0))
    ]
    largest = [float(score_map.max()) for score_map in clean]
    expected = image_threshold(largest, painted, 0.9)
    assert scorer.image_threshold == pytest.approx(expected, rel=1e-6)
    assert scorer.image_threshold > max(largest)
    assert scorer.held_out == 2
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
    settings, model = small_settings(residual="l1", smoothing=0.0), Grey()
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


def test_what_is_not_scored_sets_no_threshold() -> None:
    # The right half comes back wrong on every picture.
    images = textured_images(4)
    images[..., 32:] += 60
    area = torch.arange(64).expand(64, 64) < 32
    settings = small_settings(residual="l1", smoothing=0.0, threshold_quantile=0.9)
    normality = measure_normality(Grey(), images[:2], settings, area)
    on_the_left = area.expand(2, 64, 64)
    random = np.random.default_rng(0)
    scorer, _ = choose_scorer(Grey(), normality, images[2:], on_the_left, settings, random)
    maps = [scorer({"l1": (image[0] - 0.5).abs()})[area] for image in images[2:].float() / 255]
    expected = float(np.quantile(torch.stack(maps).numpy(), 0.9))
    assert scorer.pixel_threshold == pytest.approx(expected, abs=2e-3)
    assert scorer.normality.area is area


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


def test_no_held_out_images_is_an_error() -> None:
    settings, random = small_settings(), np.random.default_rng(0)
    normality = measure_normality(Grey(), textured_images(1), settings)
    with pytest.raises(ValueError, match="raise validation_share"):
        choose_scorer(Grey(), normality, textured_images(0), None, settings, random)
