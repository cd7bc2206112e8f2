"""How well scores separate defects from normal pixels and images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

Map = NDArray[np.float32]
Metrics = dict[str, float | None]


def detection_metrics(
    score_maps: Sequence[Map], masks: Sequence[NDArray[np.bool_]], defects: Sequence[str]
) -> Metrics:
    """Pixel AUROC and average precision pooled over all images, and AUROC of the images.

    An image's score is its map's largest value. None stands for a figure that is undefined: it
    takes both defective and normal pixels or images.

    Args:
        score_maps: one map for each image, larger where a defect is likelier.
        masks: the defective pixels of each image.
        defects: each image's kind of defect, "good" for a normal one.
    """
    for score_map, mask in zip(score_maps, masks, strict=True):
        if score_map.shape != mask.shape:
            raise ValueError(f"expected a mask of shape {score_map.shape}, got {mask.shape}")
    pixel_scores = np.concatenate([score_map.ravel() for score_map in score_maps])
    pixel_labels = np.concatenate([mask.ravel() for mask in masks])
    image_scores = np.array([score_map.max() for score_map in score_maps], dtype=np.float32)
    image_labels = np.array([defect != "good" for defect in defects])
    return {
        "pixel_auroc": auroc(pixel_labels, pixel_scores),
        "pixel_ap": average_precision(pixel_labels, pixel_scores),
        "image_auroc": auroc(image_labels, image_scores),
    }


def detection_metrics_by_defect(
    score_maps: Sequence[Map], masks: Sequence[NDArray[np.bool_]], defects: Sequence[str]
) -> dict[str, Metrics]:
    """The same for each kind of defect alone, with all the good images: what the pool hides."""
    table = {}
    for kind in sorted(set(defects) - {"good"}):
        chosen = [number for number, defect in enumerate(defects) if defect in (kind, "good")]
        table[kind] = detection_metrics(
            [score_maps[number] for number in chosen],
            [masks[number] for number in chosen],
            [defects[number] for number in chosen],
        )
    return table


def auroc(labels: NDArray[np.bool_], scores: NDArray[np.float32]) -> float | None:
    return float(roc_auc_score(labels, scores)) if _both_kinds(labels) else None


def average_precision(labels: NDArray[np.bool_], scores: NDArray[np.float32]) -> float | None:
    return float(average_precision_score(labels, scores)) if _both_kinds(labels) else None


def _both_kinds(labels: NDArray[np.bool_]) -> bool:
    return bool(labels.any()) and not bool(labels.all())
