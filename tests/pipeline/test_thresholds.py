"""The threshold of few scores: what it promises, against simulation, and how it is described."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, precision_score, recall_score
from two_stage.scoring.metrics import best_image_f1
from two_stage.scoring.pixel_counts import PixelCounts
from two_stage.scoring.thresholds import (
    expected_false_alarms,
    image_threshold,
    origin_of_image_threshold,
    origin_of_pixel_threshold,
    pictures_at,
    pixels_at,
)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.995])
@pytest.mark.parametrize("count", [1, 2, 3, 6, 27, 200, 201, 400])
def test_expected_false_alarms_are_those_of_a_simulation(count: int, share: float) -> None:
    # Of any distribution: here one with a long tail.
    random = np.random.default_rng(0)
    scores = random.lognormal(size=(4000, count))
    # Defects that score like normal pictures leave no room for a margin.
    thresholds = [image_threshold(row.tolist(), row.tolist(), share) for row in scores]
    # The share above is known exactly, from the distribution's quantiles.
    draws = np.sort(random.lognormal(size=200_000))
    above = 1 - np.searchsorted(draws, thresholds, side="right") / len(draws)
    expected = expected_false_alarms(count, share)
    assert above.mean() == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("count", [2, 3, 6, 27])
def test_a_margin_lowers_false_alarms_and_hardly_costs_defects_that_stand_apart(count: int) -> None:
    random = np.random.default_rng(0)
    clean = random.normal(size=(2000, count))
    painted = random.normal(8, 3, size=(2000, 100))
    with_margin, without = (
        np.array(
            [image_threshold(row, other, 0.995) for row, other in zip(clean, defects, strict=True)]
        )
        for defects in (painted, clean)
    )
    assert (with_margin >= without).all()
    false_alarms, before = (stats.norm.sf(one).mean() for one in (with_margin, without))
    found, found_before = (stats.norm.sf(one, 8, 3).mean() for one in (with_margin, without))
    assert before == pytest.approx(1 / (count + 1), rel=0.05)
    assert false_alarms < 0.3 * before
    assert found > found_before - 0.12


def test_the_margin_ends_at_the_tail_and_midway_and_many_scores_need_none() -> None:
    clean = [1.0, 2.0, 3.0]
    tail = 2 + stats.t.ppf(0.9, 2) * np.sqrt(4 / 3)
    assert image_threshold(clean, [100.0, 101.0, 500.0], 0.9) == pytest.approx(tail)
    assert image_threshold(clean, [0.0, 3.5, 9.0], 0.9) == pytest.approx(3.25)
    assert image_threshold(clean, [0.0, 1.0], 0.9) == 3
    assert image_threshold([2.0], [9.0], 0.9) == 2
    assert image_threshold([2.0, 2.0], [9.0], 0.9) == 2
    many = list(map(float, range(300)))
    assert image_threshold(many, [1e6], 0.995) == 298


def test_origins_are_named() -> None:
    few = origin_of_image_threshold(0.995, 2)
    assert few.startswith("the largest score of 2 held-out normal pictures, and a margin")
    assert origin_of_image_threshold(0.995, 200).startswith("the largest")
    many = origin_of_image_threshold(0.995, 202)
    assert many == "the 0.995 quantile of the scores of 202 held-out normal pictures"
    # Of an earlier version's file, which has no count.
    assert origin_of_image_threshold(0.9, None).endswith("the scores of held-out normal pictures")
    assert origin_of_pixel_threshold(0.9, 5).endswith("the pixels of 5 held-out normal pictures")
    assert origin_of_pixel_threshold(0.9, None).endswith("pixels of held-out normal pictures")


@pytest.mark.parametrize("count", [1, 2, 5, 100, 199, 200, 201, 202, 999])
def test_the_largest_is_named_where_it_is_the_threshold(count: int) -> None:
    scores = np.random.default_rng(count).permutation(count).astype(float)
    is_largest = image_threshold(scores.tolist(), scores.tolist(), 0.995) == count - 1
    assert ("largest" in origin_of_image_threshold(0.995, count)) == is_largest


def test_pictures_at_a_threshold_against_sklearn() -> None:
    random = np.random.default_rng(0)
    normal, defective = random.normal(size=40).tolist(), random.normal(1, size=30).tolist()
    # What equals the threshold is not above it.
    threshold = defective[3]
    labels = [False] * 40 + [True] * 30
    called = [score > threshold for score in normal + defective]
    found = pictures_at(normal, defective, threshold)
    assert found["found"] + found["missed"] == 30
    assert found["false_alarms"] + found["passed"] == 40
    assert found["precision"] == pytest.approx(precision_score(labels, called))
    assert found["recall"] == pytest.approx(recall_score(labels, called))
    assert found["f1"] == pytest.approx(f1_score(labels, called))
    every = [
        f1_score(labels, [score >= at for score in normal + defective]) for at in normal + defective
    ]
    assert best_image_f1(normal, defective) == pytest.approx(max(every))


def test_pixels_at_a_threshold_against_sklearn() -> None:
    random = np.random.default_rng(1)
    mask = random.random((20, 30)) < 0.2
    score_map = (random.normal(size=mask.shape) + mask).astype(np.float16).astype(np.float32)
    counts = PixelCounts()
    counts.add(score_map, mask)
    for threshold in (-0.5, 0.0, float(score_map[3, 4])):
        called = score_map > threshold
        found = pixels_at(counts, threshold)
        assert found["precision"] == pytest.approx(precision_score(mask.ravel(), called.ravel()))
        assert found["recall"] == pytest.approx(recall_score(mask.ravel(), called.ravel()))
        assert found["f1"] == pytest.approx(f1_score(mask.ravel(), called.ravel()))


def test_what_is_undefined_is_none() -> None:
    only_normal = pictures_at([1.0, 2.0], [], 1.5)
    assert (only_normal["false_alarms"], only_normal["passed"]) == (1, 1)
    assert [only_normal[key] for key in ("precision", "recall", "f1")] == [None] * 3
    only_defective = pictures_at([], [1.0, 2.0], 1.5)
    assert [only_defective[key] for key in ("precision", "recall", "f1")] == [None, 0.5, None]
    nothing_found = pictures_at([1.0], [1.0], 5)
    assert [nothing_found[key] for key in ("precision", "recall", "f1")] == [None, 0, 0]
    assert best_image_f1([], [1.0]) is None
    assert set(pixels_at(PixelCounts(), 1.0).values()) == {None}
