"""Tables over several runs, the one of the terminal, and the paper's own figures."""

from __future__ import annotations

from typing import Any

import pytest
from report_cases import NAMES, make_metrics, tables_in
from two_stage.report import paper
from two_stage.report.tables import (
    MEASURES,
    SCORES,
    ablation_notes,
    ablation_table,
    category_table,
    format_scores,
    percent,
)
from two_stage.run.arms import ARMS
from two_stage.scoring.baselines import CONSTANT


def run_of(arm: str, seed: int, auroc: float, category: str = "hazelnut") -> dict[str, Any]:
    metrics = make_metrics(category, arm=arm, seed=seed)
    if category in paper.OFFICIAL_TEST_IMAGES:
        normal, defective = paper.OFFICIAL_TEST_IMAGES[category]
        train = paper.OFFICIAL_TRAIN_IMAGES[category] - 27
        metrics["images"] |= {"train": train, "test": {"good": normal, "crack": defective}}
    metrics["scores"]["chosen"]["all"]["pixel_auroc"] = auroc
    return metrics


def test_ablation_has_mean_and_sample_deviation_over_seeds() -> None:
    runs = [run_of("two-stage", seed, value) for seed, value in enumerate((0.90, 0.92, 0.97))]
    table = tables_in(ablation_table([*runs, run_of("no-lpips", 0, 0.8)]))[0]
    assert table[0][-1].strip() == "paper, hazelnut only"
    two_stage, no_lpips, untrained = ([cell.strip() for cell in row] for row in table[2:])
    assert two_stage[1:3] == ["3", "93.0 ± 3.6"]
    assert two_stage[-1] == "98.89"
    assert no_lpips[1:3] == ["1", "80.0"]
    assert no_lpips[-1] == "-"
    # One for each seed, whatever the arm.
    assert untrained[:2] == [f"no training: {SCORES[CONSTANT]}", "3"]
    ours = make_metrics()["scores"][CONSTANT]["all"]["pixel_auroc"]
    assert untrained[2] == f"{100 * ours:.1f} ± 0.0"


@pytest.mark.parametrize("category", ["pill", "hazelnut", "screw"])
def test_ablation_names_the_paper_beside_its_own_category_alone(category: str) -> None:
    run = run_of("two-stage", 0, 0.9, category)
    assert ("paper" in ablation_table([run])) == (category == "hazelnut")
    run["images"]["train"] -= 1
    assert "paper" not in ablation_table([run])


def test_the_rows_of_the_arms_picture_and_doubts_stand_below_the_table() -> None:
    runs = [run_of("two-stage", seed, 0.9) for seed in (0, 1)]
    assert ablation_notes(runs, []) == ""
    runs[1]["doubts"] = ["It learned *nothing*."]
    assert ablation_notes(runs, ["crack_木材", "hole_1"]) == (
        "\nThe rows of arms.png:\n\n1. crack\\_木材\n2. hole\\_1\n"
        "\nBefore you trust two-stage, seed 1:\n\n- It learned \\*nothing\\*.\n"
    )


def test_ablation_shows_a_dash_where_a_seed_lacks_the_figure() -> None:
    runs = [run_of("aw-ssim", 0, 0.9), run_of("aw-ssim", 1, None)]
    assert [cell.strip() for cell in tables_in(ablation_table(runs))[0][2][1:3]] == ["2", "-"]


def test_ablation_refuses_several_categories() -> None:
    with pytest.raises(ValueError, match="one category"):
        ablation_table([run_of("aw-ssim", 0, 0.9), run_of("aw-ssim", 0, 0.9, "pill")])


def test_category_table_has_the_difference_and_the_best_baseline() -> None:
    runs = [run_of("two-stage", 0, 0.97, "pill"), run_of("two-stage", 0, 0.9, "a|b")]
    metrics = runs[0]["scores"]
    metrics["input only: gradient"]["all"]["pixel_auroc"] = 0.874
    metrics["input only: distance to mean"]["all"]["pixel_auroc"] = 0.513
    metrics[CONSTANT]["all"]["pixel_auroc"] = 0.412
    pill, other = ([cell.strip() for cell in row] for row in tables_in(category_table(runs))[0][2:])
    assert pill[:6] == ["pill", "1", "26 / 141", "97.0", "95.64", "+1.36"]
    assert pill[7:9] == ["41.2", "87.4"]
    assert other[0] == r"a\|b"
    assert other[4:6] == ["-", "-"]


@pytest.mark.parametrize("missing", ["train", "good", "crack"])
def test_nothing_of_the_paper_beside_other_data_of_that_name(missing: str) -> None:
    run = run_of("two-stage", 0, 0.97, "pill")
    images = run["images"]
    counts = images if missing == "train" else images["test"]
    counts[missing] -= 1
    table = category_table([run, run_of("two-stage", 0, 0.97, "screw")])
    assert "95.64" not in table
    assert "paper" not in table
    assert "difference" not in table


def test_terminal_table_is_in_percent_and_aligned() -> None:
    metrics = make_metrics()
    metrics["scores"]["chosen"]["all"]["aupro"] = None
    lines = format_scores(metrics).splitlines()
    assert len(lines) == 1 + len(NAMES)
    assert len({len(line) for line in lines}) == 1
    row = next(line for line in lines if line.startswith("chosen"))
    measures = metrics["scores"]["chosen"]["all"]
    assert row.split()[1:] == [percent(measures[key]) for key in MEASURES]
    # Each figure ends where its title does.
    ends = [lines[0].index(title) + len(title) for title in ("pixel AP", "image AP", "F1 (oracle)")]
    figures = (measures[key] for key in ("pixel_ap", "image_ap", "best_f1"))
    assert [row[:end].endswith(percent(m)) for end, m in zip(ends, figures, strict=True)] == [
        True
    ] * 3


def test_paper_means_and_totals_agree_with_the_paper() -> None:
    assert round(sum(paper.TABLE_1.values()) / 6, 2) == pytest.approx(97.69, abs=0.011)
    assert ARMS["two-stage"].table_2 == paper.TABLE_1["hazelnut"]
    assert sum(map(sum, paper.OFFICIAL_TEST_IMAGES.values())) == 714
