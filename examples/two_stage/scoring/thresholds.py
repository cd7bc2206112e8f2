"""The threshold for pictures from the scores of a few normal ones: what it promises, and gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from .pixel_counts import PixelCounts, bin_of


def image_threshold(clean: Sequence[float], painted: Sequence[float], share: float) -> float:
    """Above so large a share of the scores of held-out normal images; of few, above all of them.

    The largest of few scores is too low: see `expected_false_alarms`. It is raised half of the way
    to the median score of painted defects, but no further than where the next normal score would
    lie with the probability `share` if they were normally distributed. Where painted defects score
    no higher than normal images it stays: there a margin would cost as much as it gains.
    """
    largest = float(np.quantile(clean, share, method="higher"))
    count = len(clean)
    if count < 2 or _rank(count, share) < count:
        return largest
    factor = stats.t.ppf(share, count - 1) * math.sqrt(1 + 1 / count)
    tail = float(np.mean(clean) + factor * np.std(clean, ddof=1))
    midway = (largest + float(np.median(painted))) / 2
    return max(largest, min(tail, midway))


def expected_false_alarms(count: int, share: float) -> float:
    """The share of new normal pictures to expect above the threshold, were there no margin.

    A new picture is as likely to take each place among `count` others, so of the largest it is
    1 / (count + 1), whatever their distribution.
    """
    return (count + 1 - _rank(count, share)) / (count + 1)


def origin_of_image_threshold(share: float, count: int | None) -> str:
    """In words; `count` is `Scorer.held_out`, None for a scorer of an earlier version."""
    if count is None:
        return f"the {share:g} quantile of the scores of held-out normal pictures"
    if _rank(count, share) == count:
        return (
            f"the largest score of {count} held-out normal pictures, and a margin where painted "
            "defects leave room for one"
        )
    return f"the {share:g} quantile of the scores of {count} held-out normal pictures"


def origin_of_pixel_threshold(share: float, count: int | None) -> str:
    """In words, as `origin_of_image_threshold`."""
    pictures = "held-out normal pictures" if count is None else f"{count} held-out normal pictures"
    return f"the {share:g} quantile of the pixels of {pictures}"


def pictures_at(
    normal: Sequence[float], defective: Sequence[float], threshold: float
) -> dict[str, Any]:
    """What calling pictures above `threshold` defective gives; None where it is undefined."""
    found = sum(score > threshold for score in defective)
    flagged = sum(score > threshold for score in normal)
    return {
        "found": found,
        "missed": len(defective) - found,
        "false_alarms": flagged,
        "passed": len(normal) - flagged,
        **_rates(found, flagged, len(normal), len(defective)),
    }


def pixels_at(counts: PixelCounts, threshold: float) -> dict[str, float | None]:
    """Of pixels above `threshold`, as `pictures_at`."""
    first = int(bin_of(np.array([threshold]))[0]) + 1
    found, flagged = int(counts.defective[first:].sum()), int(counts.normal[first:].sum())
    return _rates(found, flagged, int(counts.normal.sum()), int(counts.defective.sum()))


def _rates(found: int, flagged: int, normal: int, defective: int) -> dict[str, float | None]:
    both = normal > 0 and defective > 0
    return {
        "precision": found / (found + flagged) if both and found + flagged else None,
        "recall": found / defective if defective else None,
        "f1": 2 * found / (found + flagged + defective) if both else None,
    }


def _rank(count: int, share: float) -> int:
    """The place of the threshold among the scores, of which the largest is the last."""
    return math.ceil(share * (count - 1)) + 1
