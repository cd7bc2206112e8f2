"""How well scores separate defects from normal pixels and images, counted one image at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import (
    auc,
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from .pixel_counts import Counts, Floats, Map, Mask, PixelCounts, Regions, value_of

Metrics = dict[str, float | None]


def quantile(histogram: Counts, q: float) -> float:
    """Smallest float16 value with at least a share q of the counted pixels at or below it."""
    if not 0 < q <= 1:
        raise ValueError(f"expected a quantile above 0 and up to 1, got {q}")
    if not histogram.any():
        raise ValueError("expected counted pixels to take a quantile of, got none")
    cumulative = np.cumsum(histogram)
    return value_of(int(np.searchsorted(cumulative / cumulative[-1], q)))


def pixel_auroc(counts: PixelCounts) -> float | None:
    """Area under the ROC curve; like all figures below, None without pixels of both classes."""
    if not counts.has_both():
        return None
    labels, scores, weights = _weighted(counts.normal, counts.defective)
    return float(roc_auc_score(labels, scores, sample_weight=weights))


def pixel_ap(counts: PixelCounts) -> float | None:
    """Average precision."""
    if not counts.has_both():
        return None
    labels, scores, weights = _weighted(counts.normal, counts.defective)
    return float(average_precision_score(labels, scores, sample_weight=weights))


def best_f1(counts: PixelCounts) -> float | None:
    """Largest F1 of any threshold. An oracle: the threshold is chosen on the labels."""
    if not counts.has_both():
        return None
    return _best_f1(*_weighted(counts.normal, counts.defective))


def best_image_f1(normal: Sequence[float], defective: Sequence[float]) -> float | None:
    """The same of images' scores."""
    if not (normal and defective):
        return None
    labels = np.repeat([False, True], [len(normal), len(defective)])
    return _best_f1(labels, np.array([*normal, *defective]), None)


def _best_f1(labels: Mask, scores: NDArray[np.generic], weights: Floats | None) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=weights)
    # Where precision and recall are both 0, so is F1.
    both = np.maximum(precision + recall, np.finfo(np.float64).tiny)
    return float((2 * precision * recall / both).max())


def aupro(counts: PixelCounts, limit: float = 0.3) -> float | None:
    """Area under the PRO curve up to the false positive rate `limit`, divided by `limit`.

    Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021.
    """
    if not 0 < limit <= 1:
        raise ValueError(f"expected a false positive rate above 0 and up to 1, got {limit}")
    if not counts.has_both():
        return None
    fpr, overlap = pro(counts)
    inside = fpr <= limit
    at_limit = np.interp(limit, fpr, overlap)
    return float(auc(np.append(fpr[inside], limit), np.append(overlap[inside], at_limit)) / limit)


def roc(counts: PixelCounts) -> tuple[Floats, Floats]:
    """False and true positive rates; empty where undefined."""
    return _rates(counts.normal, counts.defective)


def pro(counts: PixelCounts) -> tuple[Floats, Floats]:
    """False positive rate over all normal pixels, and the share of a region found, mean of all.

    That mean is the true positive rate in which a pixel weighs 1 / size of its region.
    """
    return _rates(counts.normal, counts.region)


def _rates(normal: Counts, defective: NDArray[np.generic]) -> tuple[Floats, Floats]:
    if not (normal.any() and defective.any()):
        return np.empty(0), np.empty(0)
    labels, scores, weights = _weighted(normal, defective)
    fpr, tpr, _ = roc_curve(labels, scores, sample_weight=weights)
    return fpr, tpr


def _weighted(normal: Counts, defective: NDArray[np.generic]) -> tuple[Mask, Counts, Floats]:
    """Labels, scores and weights; figures depend only on ranks, so the bin is the score."""
    normal_bins, defective_bins = np.flatnonzero(normal), np.flatnonzero(defective)
    labels = np.repeat([False, True], [len(normal_bins), len(defective_bins)])
    scores = np.concatenate([normal_bins, defective_bins])
    return labels, scores, np.concatenate([normal[normal_bins], defective[defective_bins]])


class Scores:
    """What every score has found so far, by kind of defect.

    Its size depends on the numbers of scores and kinds, but for one number for each image.
    Processes that saw different images combine theirs with `merge`; it can be pickled.
    """

    def __init__(self) -> None:
        # By score and kind of defect.
        self.pixels: dict[tuple[str, str], PixelCounts] = {}
        self.foreground: dict[tuple[str, str], PixelCounts] = {}
        self.image_scores: dict[tuple[str, str], list[float]] = {}
        self.has_foreground: bool | None = None

    def add(
        self,
        name: str,
        defect: str,
        score_map: Map,
        mask: Mask | Regions,
        foreground: Mask | None = None,
    ) -> None:
        """Count one image under one score; the image's own score is its map's largest value.

        A defective image with an empty mask counts only as an image: which of its pixels are
        defective is not known.

        Args:
            name: of the score.
            defect: the image's kind of defect, "good" for a normal one.
            score_map: H x W, larger where a defect is likelier.
            mask: its defective pixels, at the map's size or as the map sees a larger mask.
            foreground: the pixels of the product, for figures without the background; given for
                every image or for none.
        """
        self._expect_foreground(foreground is not None)
        key = (name, defect)
        self.image_scores.setdefault(key, []).append(float(score_map.max()))
        found = mask if isinstance(mask, Regions) else Regions.of(mask, mask.shape)
        known = np.full(score_map.shape, defect == "good" or len(found.place) > 0)
        self.pixels.setdefault(key, PixelCounts()).add(score_map, found, where=known)
        if foreground is not None:
            counts = self.foreground.setdefault(key, PixelCounts())
            counts.add(score_map, found, where=foreground & known)

    def merge(self, other: Scores) -> None:
        """Add what another process counted on other images."""
        if other.has_foreground is not None:
            self._expect_foreground(other.has_foreground)
        for key, scores in other.image_scores.items():
            self.image_scores[key] = self.image_scores.get(key, []) + scores
        for mine, theirs in ((self.pixels, other.pixels), (self.foreground, other.foreground)):
            for key, counts in theirs.items():
                mine[key] = mine.get(key, PixelCounts()) + counts

    def names(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.image_scores))

    def defects(self) -> list[str]:
        """The kinds of defect seen, without "good"."""
        return sorted({defect for _, defect in self.image_scores} - {"good"})

    def dominating(self) -> str | None:
        """The one of several kinds of defect with more than half of all defective pixels."""
        defects = self.defects()
        if len(defects) < 2:
            return None
        # Every score sees the same masks.
        name = self.names()[0]
        pixels = {d: int(_total(self.pixels, name, [d]).defective.sum()) for d in defects}
        largest = max(defects, key=pixels.__getitem__)
        return largest if 2 * pixels[largest] > sum(pixels.values()) else None

    def table(self) -> dict[str, dict[str, Any]]:
        """For each score the figures of all images, of the foreground, without the dominating
        kind, and of each kind of defect with all good images; None where undefined."""
        dominating, defects = self.dominating(), self.defects()
        every = ["good", *defects]
        rest = [defect for defect in defects if defect != dominating]
        return {
            name: {
                "all": self._metrics(name, defects),
                # An image's score is its whole map's: stated once, under "all".
                "foreground": pixel_metrics(_total(self.foreground, name, every))
                if self.has_foreground
                else None,
                "without_dominating": self._metrics(name, rest) if dominating else None,
                "by_defect": {defect: self._metrics(name, [defect]) for defect in defects},
            }
            for name in self.names()
        }

    def pixels_of(self, name: str) -> PixelCounts:
        """The pixels of all images under one score; empty where it saw none."""
        return _total(self.pixels, name, ["good", *self.defects()])

    def curves(self, points: int = 256) -> dict[str, dict[str, list[list[float]]]]:
        """ROC and PRO curve of each score over all images, at no more than `points` points."""
        curves = {}
        for name in self.names():
            counts = self.pixels_of(name)
            curves[name] = {"roc": _thin(*roc(counts), points), "pro": _thin(*pro(counts), points)}
        return curves

    def _metrics(self, name: str, defects: list[str]) -> Metrics:
        figures = pixel_metrics(_total(self.pixels, name, ["good", *defects]))
        normal = self.image_scores.get((name, "good"), [])
        defective = [s for defect in defects for s in self.image_scores.get((name, defect), [])]
        if normal and defective:
            labels = np.repeat([False, True], [len(normal), len(defective)])
            figures["image_auroc"] = float(roc_auc_score(labels, normal + defective))
            figures["image_ap"] = float(average_precision_score(labels, normal + defective))
        return figures

    def _expect_foreground(self, given: bool) -> None:
        if self.has_foreground not in (None, given):
            raise ValueError("expected a foreground for every image or for none, got a mixture")
        self.has_foreground = given


def pixel_metrics(counts: PixelCounts) -> Metrics:
    """All figures of pixels; those of images are None, for counts know of no images."""
    return {
        "pixel_auroc": pixel_auroc(counts),
        "pixel_ap": pixel_ap(counts),
        "aupro": aupro(counts),
        "aupro_05": aupro(counts, limit=0.05),
        "image_auroc": None,
        "image_ap": None,
        "best_f1": best_f1(counts),
    }


def reconstruction_quality(
    image: NDArray[np.float32], reconstruction: NDArray[np.float32]
) -> dict[str, float]:
    """PSNR in dB and SSIM with the standard Gaussian window, of C x H x W in [0, 1].

    The PSNR of identical images is infinite.
    """
    with np.errstate(divide="ignore"):
        psnr = peak_signal_noise_ratio(image, reconstruction, data_range=1)
    ssim = structural_similarity(
        image,
        reconstruction,
        channel_axis=0,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return {"psnr": float(psnr), "ssim": float(ssim)}


def mean_quality(qualities: Sequence[dict[str, float]]) -> dict[str, float | None]:
    """Of several images; None for no images, and for the infinite PSNR of identical ones."""
    means: dict[str, float | None] = {}
    for key in ("psnr", "ssim"):
        mean = float(np.mean([one[key] for one in qualities])) if qualities else np.inf
        means[key] = mean if np.isfinite(mean) else None
    return means


def _total(counts: dict[tuple[str, str], PixelCounts], name: str, kinds: list[str]) -> PixelCounts:
    return sum((counts[name, kind] for kind in kinds if (name, kind) in counts), PixelCounts())


def _thin(x: Floats, y: Floats, points: int) -> list[list[float]]:
    """A rising curve's points about equally far apart, along both axes, with both ends."""
    if not len(x):
        return [[], []]
    along = x + y
    wanted = np.linspace(0, along[-1], points)
    chosen = np.unique(np.searchsorted(along, wanted).clip(max=len(x) - 1))
    return [x[chosen].tolist(), y[chosen].tolist()]
