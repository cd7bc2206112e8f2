"""The page of detection results says what their file says, and the README quotes the page."""

from __future__ import annotations

import json

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML comes with the examples extra")

from benchmarks.common import RESULTS  # noqa: E402
from benchmarks.detection import PAGE, README, merged, with_table  # noqa: E402
from benchmarks.detection_page import ARMS, by_name, page, readme_arms, readme_table  # noqa: E402

ROWS = json.loads((RESULTS / "detection.json").read_text(encoding="utf-8"))["runs"]


def test_the_page_is_what_the_results_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(ROWS)


def test_the_readme_has_the_table_of_arms() -> None:
    assert readme_arms(ROWS) in README.read_text(encoding="utf-8")


def test_a_run_takes_the_place_of_one_with_its_settings() -> None:
    first = ROWS[0]
    again = {**first, "seconds": {"stage_1": 1.0}}
    other = {**first, "seed": 99}
    rows = merged(ROWS, [again, other])
    assert len(rows) == len(ROWS) + 1
    assert again in rows
    assert other in rows
    assert first not in rows
    assert merged(reversed(rows), []) == rows


def test_cells_have_mean_least_and_greatest() -> None:
    """Of the seeds, with two of which the figure differs."""
    rows = json.loads(json.dumps([row for row in ROWS if row["category"] == "grid"]))
    more = json.loads(json.dumps(rows))
    for row in more:
        row["seed"] += 10
        row["scores"]["chosen"]["all"]["pixel_auroc"] -= 0.1
    arm = [row for row in rows if row["arm"] == "ssim+l1"]
    values = [row["scores"]["chosen"]["all"]["pixel_auroc"] for row in arm]
    values += [value - 0.1 for value in values]
    cell = f"{100 * sum(values) / len(values):.1f}"
    cell += f" ({100 * min(values):.1f} to {100 * max(values):.1f})"
    assert f"| {ARMS['ssim+l1']} | {cell} / " in readme_arms([*rows, *more])


def test_another_recipe_is_named_by_its_options() -> None:
    rows = json.loads(json.dumps([row for row in ROWS if row["category"] == "grid"]))
    other = json.loads(json.dumps(rows[0]))
    other["settings"] |= {"skips": "none", "defect_side": [0.2, 1.5]}
    named = by_name([*rows, other])
    assert named.pop(f"{ARMS[other['arm']]}; `--defect-side 0.2 1.5 --skips none`") == [other]
    assert set(named) <= set(ARMS.values())
    assert sorted(map(str, rows)) == sorted(str(row) for runs in named.values() for row in runs)


def test_only_the_table_is_replaced() -> None:
    text = "before\n| a | b |\n| --- | --- |\n| 1 | 2 |\nafter\n| 3 |\n"
    expected = "before\n| a | b |\n| new |\nafter\n| 3 |\n"
    assert with_table(text, "| a | b |\n| new |\n") == expected
    with pytest.raises(ValueError, match="expected a table"):
        with_table(text, "| c |\n")


@pytest.mark.parametrize(
    ("file", "category", "preset"), [("detection", "pill", "paper"), ("demo", "brick", "demo")]
)
def test_the_readme_has_the_table_of_a_run(file: str, category: str, preset: str) -> None:
    rows = json.loads((RESULTS / f"{file}.json").read_text(encoding="utf-8"))["runs"]
    (row,) = [row for row in rows if (row["category"], row["preset"]) == (category, preset)]
    assert readme_table(row) in README.read_text(encoding="utf-8")
