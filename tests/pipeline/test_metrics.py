"""Metrics of the example, against slow references and cases done by hand."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.measure import label
from sklearn.metrics import auc, average_precision_score, roc_auc_score
from two_stage.scoring.metrics import (
    PixelCounts,
    Scores,
    aupro,
    best_f1,
    pixel_ap,
    pixel_auroc,
    pro,
    quantile,
    reconstruction_quality,
    roc,
)
from two_stage.scoring.pixel_counts import BINS, bin_of, value_of

Images = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]


def random_images(seed: int, levels: int | None = None) -> Images:
    """Maps with negative values, many ties where there are few levels; the last has no defect."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(3):
        mask = np.zeros((24, 31), dtype=bool)
        mask[2:9, 3:6] = mask[9:12, 6:11] = mask[15, 20] = mask[18:22, 24:31] = True
        score_map = rng.normal(size=mask.shape) + mask * rng.uniform(0, 2)
        if levels is not None:
            score_map = np.round(score_map * levels) / levels
        images.append((score_map.astype(np.float32), mask))
    images.append((rng.normal(size=mask.shape).astype(np.float32), np.zeros_like(mask)))
    return images


def counted(images: Images) -> PixelCounts:
    counts = PixelCounts()
    for score_map, mask in images:
        counts.add(score_map, mask)
    return counts


def slow_aupro(images: Images, limit: float) -> float:
    """Threshold by threshold and region by region."""
    rounded = [(m.astype(np.float16).astype(np.float64), mask) for m, mask in images]
    normal = np.concatenate([m[~mask] for m, mask in rounded])
    regions = []
    for score_map, mask in rounded:
        labels = label(mask, connectivity=2)
        regions += [score_map[labels == number] for number in range(1, labels.max() + 1)]
    area, last_fpr, last_overlap = 0.0, 0.0, 0.0
    for threshold in sorted({v for m, _ in rounded for v in m.ravel()}, reverse=True):
        fpr = np.mean(normal >= threshold)
        overlap = np.mean([np.mean(region >= threshold) for region in regions])
        if fpr > limit:
            slope = (overlap - last_overlap) / (fpr - last_fpr)
            at_limit = last_overlap + slope * (limit - last_fpr)
            return (area + (limit - last_fpr) * (last_overlap + at_limit) / 2) / limit
        area += (fpr - last_fpr) * (last_overlap + overlap) / 2
        last_fpr, last_overlap = fpr, overlap
    return area / limit


@pytest.mark.parametrize("limit", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("levels", [None, 2, 8])
def test_aupro_against_a_slow_reference(levels: int | None, limit: float) -> None:
    images = random_images(1, levels)
    counts = counted(images)
    # Two of the four rectangles touch at a corner.
    assert counts.regions == 9
    assert counts.region.sum() == pytest.approx(9, abs=1e-9)
    assert aupro(counts, limit) == pytest.approx(slow_aupro(images, limit), abs=1e-9)


def test_aupro_ends_below_a_jump_at_the_limit() -> None:
    score_map = np.array([[4, 3, 2, 1, 5]], dtype=np.float32)
    mask = np.array([[False, True, False, False, False]])
    # fpr 1/2 before the defect is found; the curve is 0 up to there.
    assert aupro(counted([(score_map, mask)]), limit=0.5) == 0
    assert aupro(counted([(score_map, mask)]), limit=1.0) == pytest.approx(0.5)


@pytest.mark.parametrize("levels", [None, 3])
def test_pixel_figures_against_sklearn_on_all_pixels(levels: int | None) -> None:
    images = random_images(2, levels)
    scores = np.concatenate([m.astype(np.float16).ravel() for m, _ in images]).astype(np.float64)
    labels = np.concatenate([mask.ravel() for _, mask in images])
    counts = counted(images)
    assert pixel_auroc(counts) == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert pixel_ap(counts) == pytest.approx(average_precision_score(labels, scores), abs=1e-9)
    tp = np.array([(labels & (scores >= value)).sum() for value in np.unique(scores)])
    found = np.array([(scores >= value).sum() for value in np.unique(scores)])
    assert best_f1(counts) == pytest.approx((2 * tp / (found + labels.sum())).max(), abs=1e-9)


def test_rounding_hardly_matters() -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros((256, 256), dtype=bool)
    mask[40:90, 60:100] = True
    score_map = gaussian_filter(rng.normal(size=mask.shape), 4) + 0.05 * mask
    score_map = score_map.astype(np.float32)
    counts = counted([(score_map, mask)])
    exact = roc_auc_score(mask.ravel(), score_map.ravel())
    assert 0.6 < exact < 0.95
    assert pixel_auroc(counts) == pytest.approx(exact, abs=1e-4)
    exact = average_precision_score(mask.ravel(), score_map.ravel())
    assert pixel_ap(counts) == pytest.approx(exact, abs=1e-4)


def test_bins_are_in_order_and_invertible() -> None:
    values = np.array([-65504, -2, -1.5, -6e-8, 0, 6e-8, 0.5, 1, 65504], dtype=np.float32)
    bins = bin_of(values)
    assert (np.diff(bins.astype(int)) > 0).all()
    assert [value_of(int(b)) for b in bins] == values.astype(np.float16).tolist()
    assert bin_of(np.array([-0.0, -1e-12])).tolist() == [bin_of(np.zeros(1))[0]] * 2
    assert bin_of(np.array([1e9, -1e9])).tolist() == [bins[-1], bins[0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_must_be_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="expected finite scores"):
        PixelCounts().add(np.array([[0.0, bad]]), np.zeros((1, 2), dtype=bool))


def test_quantile_is_the_smallest_value_with_that_share() -> None:
    score_map = np.arange(-500, 500, dtype=np.float32)[None]
    counts = counted([(score_map, np.zeros_like(score_map, dtype=bool))])
    assert quantile(counts.normal, 0.995) == 494
    assert quantile(counts.normal, 0.9951) == 495
    assert quantile(counts.normal, 0.001) == -500
    assert quantile(counts.normal, 1.0) == 499
    with pytest.raises(ValueError, match="above 0"):
        quantile(counts.normal, 0.0)
    with pytest.raises(ValueError, match="got none"):
        quantile(counts.defective, 0.5)


def test_only_the_chosen_pixels_count_and_a_cut_region_still_weighs_one() -> None:
    score_map = np.arange(12, dtype=np.float32).reshape(2, 6)
    mask = np.zeros((2, 6), dtype=bool)
    mask[:, 1:3] = mask[:, 5] = True
    counts = PixelCounts()
    counts.add(score_map, mask, where=np.array([[True, True, False, True, False, False]] * 2))
    assert counts.normal.sum() == 4
    assert counts.defective.sum() == 2
    assert counts.regions == 1
    assert counts.region[bin_of(score_map[:, 1])].tolist() == [0.5, 0.5]


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"expected a mask of the map's shape \(2, 3\), got \(3"):
        PixelCounts().add(np.ones((2, 3)), np.ones((3, 2), dtype=bool))
    with pytest.raises(ValueError, match="expected a where"):
        PixelCounts().add(np.ones((1, 1)), np.ones((1, 1), bool), where=np.ones((1, 2), bool))


def scores_of(images: Images) -> Scores:
    scores = Scores()
    for score_map, mask in images:
        defect = "good" if not mask.any() else "oil" if score_map[0, 0] > 0 else "crack"
        where = np.arange(mask.size).reshape(mask.shape) % 3 > 0
        scores.add("a", defect, score_map, mask, where)
        scores.add("b", defect, -score_map, mask, where)
    return scores


def test_merging_equals_counting_at_once() -> None:
    # An odd number of defective images: one kind dominates.
    images = random_images(4) + random_images(5)[1:]
    merged = Scores()
    for part in (images[:1], images[1:6], images[6:], []):
        # Processes send pickled objects.
        merged.merge(pickle.loads(pickle.dumps(scores_of(part))))
    once = scores_of(images)
    assert merged.defects() == once.defects() == ["crack", "oil"]
    for key, counts in once.pixels.items():
        assert merged.pixels[key].regions == counts.regions
    assert merged.dominating() == once.dominating() is not None
    for name, row in once.table().items():
        for part in ("all", "foreground", "without_dominating"):
            assert merged.table()[name][part] == pytest.approx(row[part], abs=1e-12)
        assert None not in row["all"].values()


def test_the_table_counts_what_it_says() -> None:
    big, small, none = (np.zeros((1, 9), dtype=bool) for _ in range(3))
    big[0, :6], small[0, :2] = True, True
    rng = np.random.default_rng(6)
    maps = {kind: rng.normal(size=(1, 9)).astype(np.float32) for kind in ("big", "small", "good")}
    scores = Scores()
    for kind, mask in (("big", big), ("small", small), ("good", none)):
        scores.add("a", kind, maps[kind], mask)
    # Which pixels are defective is unknown: the image counts, its pixels do not.
    scores.add("a", "small", np.full((1, 9), 50.0, dtype=np.float32), none)
    row = scores.table()["a"]
    assert scores.dominating() == "big"
    assert row["foreground"] is None
    assert list(row["by_defect"]) == ["big", "small"]
    pooled = [("big", big), ("small", small), ("good", none)]
    for figures, kinds in (
        (row["all"], pooled),
        (row["without_dominating"], pooled[1:]),
        (row["by_defect"]["big"], [pooled[0], pooled[2]]),
        (row["by_defect"]["small"], pooled[1:]),
    ):
        counts = counted([(maps[kind], mask) for kind, mask in kinds])
        assert figures["pixel_auroc"] == pixel_auroc(counts)
        assert figures["aupro"] == aupro(counts)
    images = [50.0, maps["small"].max()]
    beaten = np.mean([score > maps["good"].max() for score in images])
    assert row["without_dominating"]["image_auroc"] == pytest.approx(beaten)


def test_one_kind_alone_does_not_dominate_and_the_foreground_is_its_own() -> None:
    image, good = random_images(7)[::3]
    where = np.zeros_like(image[1])
    where[:, :12] = True
    scores = Scores()
    scores.add("a", "crack", *image, where)
    scores.add("a", "good", *good, where)
    row = scores.table()["a"]
    assert scores.dominating() is row["without_dominating"] is None
    counts = PixelCounts()
    counts.add(*image, where=where)
    counts.add(*good, where=where)
    assert row["foreground"]["pixel_auroc"] == pixel_auroc(counts) != row["all"]["pixel_auroc"]
    assert row["foreground"]["image_auroc"] is None
    with pytest.raises(ValueError, match="for every image or for none"):
        scores.add("a", "good", *good)


def test_undefined_figures_are_none() -> None:
    scores = Scores()
    scores.add("a", "good", np.ones((2, 2), np.float32), np.zeros((2, 2), dtype=bool))
    assert set(scores.table()["a"]["all"].values()) == {None}
    assert scores.curves() == {"a": {"roc": [[], []], "pro": [[], []]}}


def test_thinned_curves_keep_ends_and_area() -> None:
    images = random_images(8)
    curves = scores_of(images).curves(points=64)["a"]
    for name, exact in (("roc", roc(counted(images))), ("pro", pro(counted(images)))):
        x, y = curves[name]
        assert 20 < len(x) == len(y) <= 64
        assert (x[0], y[0]) == (0, 0)
        assert (x[-1], y[-1]) == pytest.approx((1, 1))
        assert auc(x, y) == pytest.approx(auc(*exact), abs=0.01)


def test_a_thousand_images_take_no_more_memory_than_one() -> None:
    score_map = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    mask = np.eye(16, dtype=bool)
    scores = Scores()
    scores.add("a", "crack", score_map, mask)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        scores.add("a", "crack", score_map, mask)
    growth = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # The arrays are replaced or reused, never added; an image leaves one number behind.
    assert growth < 1000 * 64 + 3 * BINS
    assert len(scores.image_scores["a", "crack"]) == 1001


def test_reconstruction_quality_of_known_cases() -> None:
    image = np.random.default_rng(0).uniform(0, 0.9, (3, 32, 40)).astype(np.float32)
    assert reconstruction_quality(image, image) == {"psnr": np.inf, "ssim": pytest.approx(1)}
    shifted = reconstruction_quality(image, image + np.float32(0.1))
    assert shifted["psnr"] == pytest.approx(20, abs=1e-4)
    flat = np.full((1, 32, 32), 0.4, np.float32)
    known = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    assert reconstruction_quality(flat, flat + np.float32(0.2))["ssim"] == pytest.approx(
        known, abs=1e-4
    )
