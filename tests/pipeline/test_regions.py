"""Masks larger than the map: every defect counts once, and for as much as it covers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from shrunk_masks import DEFECTS, compare, row
from two_stage.scoring.metrics import aupro, pixel_ap
from two_stage.scoring.pixel_counts import PixelCounts, Regions, bin_of


def counted(score_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> PixelCounts:
    """At the mask's own size; a smaller map is enlarged without smoothing."""
    for axis, length in enumerate(mask.shape):
        pixel = ((np.arange(length) + 0.5) * score_map.shape[axis] / length).astype(int)
        if len(pixel) != score_map.shape[axis]:
            score_map = score_map.take(pixel, axis)
    counts = PixelCounts()
    counts.add(score_map, mask)
    return counts


@pytest.mark.parametrize("size", [(64, 96), (61, 100), (300, 33)])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.6])
def test_a_large_mask_counts_at_its_own_resolution(size: tuple[int, int], share: float) -> None:
    rng = np.random.default_rng(0)
    mask = gaussian_filter((rng.random(size) < share).astype(float), 1) > 0.15 * share**0.2
    assert 0 < mask.mean() < 1
    score_map = rng.normal(size=(16, 24)).astype(np.float32)
    counts = PixelCounts()
    counts.add(score_map, Regions.of(mask, score_map.shape))
    expected = counted(score_map, mask)
    assert counts.regions == expected.regions
    assert counts.region.sum() == pytest.approx(counts.regions)
    assert counts.normal.sum() + counts.defective.sum() == pytest.approx(16 * 24)
    if size == (64, 96):
        # Every pixel of the map holds as many of the mask's.
        np.testing.assert_allclose(counts.region, expected.region, atol=1e-12)
        assert aupro(counts) == pytest.approx(aupro(expected), abs=1e-12)
        assert pixel_ap(counts) == pytest.approx(pixel_ap(expected), abs=1e-12)


def test_a_defect_smaller_than_a_pixel_of_the_map_is_still_one() -> None:
    score_map = np.arange(4, dtype=np.float32).reshape(2, 2)
    mask = np.zeros((8, 8), dtype=bool)
    mask[3:5, 3:5] = mask[0, 0] = True
    counts = PixelCounts()
    counts.add(score_map, Regions.of(mask, (2, 2)))
    bins = bin_of(score_map)
    assert counts.regions == 2
    assert counts.region[bins].tolist() == [[1.25, 0.25], [0.25, 0.25]]
    assert counts.defective[bins].tolist() == [[2 / 16, 1 / 16], [1 / 16, 1 / 16]]
    assert counts.normal[bins].tolist() == [[14 / 16, 15 / 16], [15 / 16, 15 / 16]]


def test_of_a_defect_that_is_partly_left_out_the_rest_still_weighs_one() -> None:
    score_map = np.arange(4, dtype=np.float32).reshape(1, 4)
    mask = np.zeros((2, 8), dtype=bool)
    mask[:, 1:5] = True
    counts = PixelCounts()
    counts.add(score_map, Regions.of(mask, (1, 4)), where=np.array([[True, True, False, True]]))
    bins = bin_of(score_map)[0]
    assert counts.region[bins].tolist() == pytest.approx([1 / 3, 2 / 3, 0, 0])
    assert counts.normal[bins].tolist() == [0.5, 0, 0, 1]


def test_a_small_mask_counts_like_its_pixels_repeated() -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((7, 5)) < 0.3
    score_map = rng.normal(size=(21, 20)).astype(np.float32)
    counts = PixelCounts()
    counts.add(score_map, Regions.of(mask, score_map.shape))
    expected = counted(score_map, np.kron(mask, np.ones((3, 4), dtype=bool)))
    assert np.array_equal(counts.normal, expected.normal)
    np.testing.assert_allclose(counts.region, expected.region, atol=1e-12)


@pytest.mark.parametrize("kind", DEFECTS)
def test_the_table_of_the_documentation_is_true(kind: str) -> None:
    page = (Path(__file__).parents[2] / "examples" / "README.md").read_text(encoding="utf-8")
    assert row(kind) in page
    counts = compare(kind)
    assert counts["own"].regions == counts["enlarged map"].regions
    # The map is enlarged smoothly, which takes noise away: hence not the same figure.
    own, enlarged = (aupro(counts[way]) for way in ("own", "enlarged map"))
    assert own == pytest.approx(enlarged, abs=0.012)
