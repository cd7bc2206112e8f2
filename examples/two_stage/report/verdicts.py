"""Sections on what is called defective: by which thresholds, how often rightly, and where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..scoring.thresholds import origin_of_image_threshold, origin_of_pixel_threshold
from .parts import Section, count, number, pictures_of
from .tables import Table, percent

FOUND, FLAGGED = "defective_images_found", "normal_images_flagged"
# Of each kind by name in the report; test_scores.csv has all.
MOST_MISTAKES = 20


def called(score: float, threshold: float) -> str:
    return "defective" if score > threshold else "good"


def thresholds_section(metrics: Mapping[str, Any], folder: Path) -> Section:
    thresholds, found = metrics["thresholds"], metrics["at_threshold"]
    share, held_out = thresholds["quantile"], thresholds.get("held_out")
    values = [
        ("pixel", number(thresholds["pixel"]), origin_of_pixel_threshold(share, held_out)),
        ("picture", number(thresholds["image"]), origin_of_image_threshold(share, held_out)),
    ]
    texts = ["What lies above is called defective."]
    if "expected_false_alarms" in thresholds:
        texts.append(
            "Of new good pictures like those held out, up to about "
            f"{percent(thresholds['expected_false_alarms'])} % are to be expected above the "
            "threshold for pictures."
        )
    tables = [Table(("threshold for a", "value", "it is"), values)]
    if any(value is not None for value in (found.get(FOUND), found.get(FLAGGED))):
        shares = [
            ("defective pictures found", percent(found.get(FOUND))),
            ("normal pictures flagged", percent(found.get(FLAGGED))),
        ]
        tables.append(Table(("at the threshold for pictures", "%"), shares))
        tables += _at_threshold(metrics)
    return Section(
        "Thresholds and what they give", texts, tables, pictures_of(folder, "image_scores")
    )


def _at_threshold(metrics: Mapping[str, Any]) -> list[Table]:
    """Confusion counts of the pictures, and rates of pictures and pixels beside the oracle's."""
    found = metrics["at_threshold"]
    if "pictures" not in found:
        return []
    counts, pixels = found["pictures"], found["pixels"]
    confusion = [
        ("defective", count(counts["found"]), count(counts["missed"])),
        ("normal", count(counts["false_alarms"]), count(counts["passed"])),
    ]
    best = {"pixels": metrics["scores"]["chosen"]["all"].get("best_f1")}
    best["pictures"] = counts["best_f1"]
    rates = [
        [
            name,
            *(percent(values[key]) for key in ("precision", "recall", "f1")),
            percent(best[name]),
        ]
        for name, values in (("pictures", counts), ("pixels", pixels))
    ]
    header = ("at its threshold, %", "precision", "recall", "F1", "best F1 (oracle)")
    return [
        Table(("test pictures that are", "called defective", "called good"), confusion),
        Table(header, rates),
    ]


def mistakes_section(test_scores: Sequence[Mapping[str, str]]) -> Section:
    """The worst ones first: the defective with the lowest score, the normal with the highest."""
    tables = []
    for outcome, caption, sign in (
        ("missed", "Defective pictures that were missed", 1),
        ("false alarm", "Normal pictures that were called defective", -1),
    ):
        wrong = [row for row in test_scores if row["outcome"] == outcome]
        wrong.sort(key=lambda row: sign * float(row["score"]))
        rows = [
            [row["file"], row["kind"], number(float(row["score"]))] for row in wrong[:MOST_MISTAKES]
        ]
        if rows:
            more = f"; the first {MOST_MISTAKES} of {len(wrong)}" if len(rows) < len(wrong) else ""
            tables.append(Table(("picture", "kind", "score"), rows, caption + more))
    return Section("Misses and false alarms", ["All scores are in test_scores.csv."], tables)
