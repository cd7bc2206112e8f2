"""The arm that held-out pictures would choose, from what each run found on them."""

from __future__ import annotations

from typing import Any

import pytest
from report_cases import make_metrics, tables_in
from two_stage.report.ranking import ONE_SEED, choice_of_arm, criterion
from two_stage.report.tables import ablation_notes, ablation_table


def run_of(arm: str, seed: int, *criteria: float) -> dict[str, Any]:
    metrics = make_metrics("pill", arm=arm, seed=seed)
    candidates = [{"residual": "l1", "criterion": value} for value in criteria]
    return metrics | {"chosen_on_held_out_normals": {"candidates": candidates}}


RUNS = [
    *(run_of("two-stage", seed, 0.7, best) for seed, best in ((0, 0.90), (1, 0.80))),
    *(run_of("ssim+l1", seed, best, 0.7) for seed, best in ((0, 0.86), (1, 0.90))),
]


def test_the_best_mean_is_chosen_and_how_often_it_leads_is_said() -> None:
    assert criterion(RUNS[0]) == 0.9
    assert choice_of_arm(RUNS) == (
        "Held-out normal pictures would choose ssim+l1 (one stage: SSIM + L1): painted defects of "
        "kinds that training does not use are told from clean pictures with an image AUROC of "
        "88.0 %; with two-stage, the next, 85.0 %. It is first in 1 of 2 seeds."
    )
    assert choice_of_arm(RUNS[::2]).endswith(f"with ssim+l1, the next, 86.0 %. {ONE_SEED}")


def test_test_pictures_have_no_say() -> None:
    other = [run_of(run["arm"], run["seed"], criterion(run) or 0.0) for run in RUNS]
    for run in other:
        run["scores"]["chosen"]["all"]["image_auroc"] = 0.99 if run["arm"] == "two-stage" else 0.5
    assert choice_of_arm(other) == choice_of_arm(RUNS)


@pytest.mark.parametrize("runs", [RUNS[:2], [*RUNS, run_of("aw-ssim", 0)]], ids=["one", "unknown"])
def test_where_there_is_nothing_to_compare_nothing_is_said(runs: list[dict[str, Any]]) -> None:
    assert choice_of_arm(runs) == ""


def test_the_ablation_s_table_and_the_text_below_have_it() -> None:
    header, _, first, *_ = tables_in(ablation_table(RUNS))[0]
    column = [cell.strip() for cell in header].index("image AUROC, painted on held-out")
    assert first[column].strip() == "85.0 ± 7.1"
    assert ablation_notes(RUNS, []).startswith(f"\n{choice_of_arm(RUNS)}\n")
