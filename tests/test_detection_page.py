"""The page of detection results says what their file says, and the README quotes the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML comes with the examples extra")

from benchmarks.common import RESULTS  # noqa: E402
from benchmarks.detection import ARMS, PAGE, page, readme_table  # noqa: E402

ROOT = Path(__file__).parents[1]
ROWS = json.loads((RESULTS / "detection.json").read_text(encoding="utf-8"))["runs"]


def test_the_page_is_what_the_results_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(ROWS)


@pytest.mark.parametrize("arm", ["two-stage", "ssim+l1", "lpips+ssim", "aw-ssim"])
def test_the_readme_quotes_the_ablation(arm: str) -> None:
    cells = []
    for category in ("grid", "pill", "magnetic_tile"):
        (row,) = [
            row
            for row in ROWS
            if (row["category"], row["arm"], row["preset"]) == (category, arm, "quick")
        ]
        scores = row["scores"]["chosen"]
        cells.append(f"{scores['all']['pixel_auroc']:.1%} / {scores['all']['pixel_ap']:.1%}")
    cells.append(f"{scores['without_dominating']['pixel_auroc']:.1%}")
    line = f"| {ARMS[arm]} | {' | '.join(cells)} |".replace("%", "")
    assert line in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "category", "preset"), [("detection", "pill", "paper"), ("demo", "brick", "demo")]
)
def test_the_readme_has_the_table_of_a_run(file: str, category: str, preset: str) -> None:
    rows = json.loads((RESULTS / f"{file}.json").read_text(encoding="utf-8"))["runs"]
    (row,) = [row for row in rows if (row["category"], row["preset"]) == (category, preset)]
    assert readme_table(row) in (ROOT / "README.md").read_text(encoding="utf-8")
