"""The report on the paper's method says what the results say: each figure, where it stands."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

import pytest

pytest.importorskip("tyro", reason="the pipeline needs the examples extra")
pytest.importorskip("matplotlib", reason="matplotlib comes with the examples extra")

from two_stage.report.paper import OFFICIAL_TEST_IMAGES, TABLE_1
from two_stage.scoring.baselines import CONSTANT

from benchmarks import ROOT
from benchmarks.measure.detection import METRICS, Row
from benchmarks.measure.harness import load
from benchmarks.pages.detection_page import (
    ARMS,
    ONE_STAGE,
    TABLE_2,
    UNTRAINED,
    by_name,
    of,
    values_of,
)
from benchmarks.pages.reconstructions import is_the_preset

TEXT = " ".join((ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8").split())
ROWS = load("detection")["runs"]
(PILL,) = of(ROWS, "pill", "paper")
WHOLE_RUNS = {category: by_name(of(ROWS, category)) for category in ("pill", "grid")}
TILE = by_name(of(ROWS, "magnetic_tile"))
TWO, SSIM_L1, AW_SSIM = (ARMS[arm] for arm in ("two-stage", "ssim+l1", "aw-ssim"))
# The recipes in the order of the page's tables: 2 is for two stages, 3 for one.
RECIPE_2 = TILE[[name for name in TILE if name.startswith(TWO)][2]]
RECIPE_3 = {
    arm: TILE[name] for arm in (SSIM_L1, AW_SSIM) for name in TILE if name.startswith(f"{arm};")
}


def mean(
    rows: Sequence[Row], metric: str = "pixel_auroc", part: str = "all", score: str = "chosen"
) -> float:
    return 100 * statistics.mean(values_of(rows, score, part, metric))


def ours_and_best(category: str, metric: str) -> str:
    """Two stages, and the best of the arms with one."""
    arms = WHOLE_RUNS[category]
    best = max(mean(arms[ARMS[arm]], metric) for arm in ONE_STAGE)
    return f"{mean(arms[TWO], metric):.1f} against {best:.1f}"


def few(category: str, arm: str) -> str:
    """Pixel AP on few normal images, seed 0, preset weights."""
    (row,) = [
        row
        for row in of(ROWS, category)
        if (row["arm"], row["seed"], row["settings"]["weights"]) == (arm, 0, None)
    ]
    return f"{mean([row], 'pixel_ap'):.1f}"


def weights(category: str) -> str:
    """Preset against opposite weights: the least and greatest exchanged."""
    rows = [row for row in of(ROWS, category) if row["arm"] == "two-stage"]
    preset = [row for row in rows if not row["settings"]["weights"]]
    opposite = [row for row in rows if 0.5 in (row["settings"]["weights"] or [])]
    return f"{mean(preset):.1f} against {mean(opposite):.1f}"


def above_baseline(rows: Sequence[Row], part: str = "all") -> str:
    baseline = max(mean(TILE[TWO], part=part, score=score) for score in UNTRAINED)
    return f"{mean(rows, part=part) - baseline:.0f}"


def behind_chosen() -> list[float]:
    """How far the paper's residual lies behind the chosen one, for each arm on pill and grid."""
    runs = [runs for arms in WHOLE_RUNS.values() for runs in arms.values()]
    return [mean(rows) - mean(rows, score="plain l1") for rows in runs]


def largest_range() -> float:
    """Of a pill arm's pixel AUROC over its seeds, in points."""
    runs = WHOLE_RUNS["pill"].values()
    values = [values_of(rows, "chosen", "all", "pixel_auroc") for rows in runs]
    return 100 * max(max(found) - min(found) for found in values)


def seed(number: int) -> str:
    return f"{mean([row for row in RECIPE_2 if row['seed'] == number]):.1f}"


def best(category: str) -> list[Row]:
    """The runs of preset best, one for each seed."""
    return [row for row in of(ROWS, category, "best") if is_the_preset(row)]


def tried(category: str, **changed: object) -> Row:
    """The run that differs in these settings alone from what the preset was when most was tried."""
    usual: dict[str, object] = {"stage_1_epochs": 1, "stage_2_epochs": 3, "pixel_weight": 10.0}
    usual |= {"scored_area": "picture", "normality": "auto", "architecture": "paper"}
    usual |= {"upsampling": "transposed", "repair_weight": 0.0, "defect_probability": 0.5}
    usual |= {"defect_opacity": [0.5, 1.0], "defect_side": [0.03, 0.4], "skips": "two"}
    wanted = usual | changed
    (row,) = [
        row
        for row in of(ROWS, category, "best")
        if wanted == {name: row["settings"][name] for name in wanted}
    ]
    return row


def quality(rows: Sequence[Row], kind: str, of_what: str = "network") -> float:
    return statistics.mean(row["reconstruction"][of_what][kind] for row in rows)


def gain(category: str, kind: str) -> float:
    return quality(best(category), kind) - quality(best(category), kind, "constant")


def ssims(category: str) -> str:
    found = (quality(best(category), "ssim", name) for name in ("network", "constant"))
    return " against ".join(f"{value:.3f}" for value in found)


def against_constant(category: str, metric: str) -> str:
    rows = best(category)
    return f"{mean(rows, metric):.1f} against {mean(rows, metric, score=CONSTANT):.1f}"


def four(rows: Sequence[Row]) -> str:
    """Pixel AUROC, AUPRO, pixel AP, image AUROC."""
    return ", ".join(f"{mean(rows, metric):.1f}" for metric in METRICS)


FEW = ("carpet", "wood", "tile", "hazelnut", "hazelnut_toy", "leather")
GAINS = [gain(category, "psnr") for category in FEW]
WITHOUT_L1 = best("leather", pixel_weight=0.0)
TRIED = {
    "--architecture dilated": best("leather", architecture="dilated"),
    "--upsampling nearest": best("leather", upsampling="nearest"),
    "--repair-weight 5": best("leather", repair_weight=5.0),
}


def pill_figures(rows: Sequence[Row]) -> str:
    return ", ".join(f"{mean(rows, metric):.1f}" for metric in METRICS)


SMALL = "without_dominating"
CLAIMS = [
    f"mean AUROC of six categories {sum(TABLE_1.values()) / len(TABLE_1):.2f} (Table 1)",
    f"pill {TABLE_1['pill']:.2f}, on all {sum(OFFICIAL_TEST_IMAGES['pill'])} test images",
    f"{mean([PILL]):.1f} on {PILL['images']['test']} of them with our residual, "
    f"{mean([PILL], score='plain l1'):.1f} with the paper's",
    f"{TABLE_2['two-stage']:.2f} against {max(TABLE_2[arm] for arm in ONE_STAGE):.2f} at best",
    f"{min(behind_chosen()):.0f} to {max(behind_chosen()):.0f} points below the one chosen",
    f"({mean([PILL], part=SMALL):.1f} against {mean([PILL], part=SMALL, score=UNTRAINED[1]):.1f})",
    f"pixel AP {ours_and_best('grid', 'pixel_ap')} at best",
    f"AUPRO ({ours_and_best('pill', 'aupro')})",
    f"image AUROC ({ours_and_best('pill', 'image_auroc')})",
    f"pixel AUROC ({ours_and_best('pill', 'pixel_auroc')})",
    f"moves by up to {largest_range():.1f} points",
    f"(pixel AP {few('wood', 'two-stage')} against {few('wood', 'no-lpips')}, "
    f"{few('leather', 'two-stage')} against {few('leather', 'no-lpips')})",
    f"on tile ({weights('tile')}) and hazelnut ({weights('hazelnut')})",
    f"are {above_baseline(TILE[TWO])} points above the better baseline, far from the 10 aimed at; "
    f"without them, {above_baseline(TILE[TWO], SMALL)}.",
    f"AUROC is {mean(RECIPE_2):.1f} instead of {mean(TILE[TWO]):.1f}, "
    f"{above_baseline(RECIPE_2)} points above the better baseline",
    f"AUPRO {mean(RECIPE_2, 'aupro'):.1f} instead of {mean(TILE[TWO], 'aupro'):.1f}",
    f"({mean(RECIPE_2, part=SMALL):.1f} without `uneven` instead of "
    f"{mean(TILE[TWO], part=SMALL):.1f})",
    f"one seed: {mean(RECIPE_3[SSIM_L1]):.1f} and {mean(RECIPE_3[AW_SSIM]):.1f}, from "
    f"{mean(TILE[SSIM_L1]):.1f} and {mean(TILE[AW_SSIM]):.1f}",
    f"{min(GAINS):.1f} to {max(GAINS):.1f} dB better than one constant colour",
    f"leather stays at {quality(WITHOUT_L1, 'psnr')} dB, below the constant's "
    f"{quality(WITHOUT_L1, 'psnr', 'constant')}",
    f"leather ({ssims('leather')}), hazelnut ({ssims('hazelnut')}) and hazelnut_toy "
    f"({ssims('hazelnut_toy')})",
    f"leather (pixel AP {against_constant('leather', 'pixel_ap')})",
    f"hazelnut_toy ({against_constant('hazelnut_toy', 'pixel_ap')}; AUPRO "
    f"{against_constant('hazelnut_toy', 'aupro')})",
    f"residual has an AP of {mean([best('hazelnut_toy')], 'pixel_ap', score='plain l1'):.1f}",
    f"on leather pixel AP is {mean([WITHOUT_L1], 'pixel_ap'):.1f} without L1",
    "pixel AUROC, AUPRO, pixel AP and image AUROC are " + pill_figures([best("pill")]),
    "has " + pill_figures(WHOLE_RUNS["pill"][TWO]) + " over three seeds",
    *(
        f"`{option}` {quality(row, 'psnr')} dB, AUPRO {mean([row], 'aupro'):.1f}, "
        f"pixel AP {mean([row], 'pixel_ap'):.1f}"
        for option, row in TRIED.items()
    ),
    f"in place of {quality(best('leather'), 'psnr')} dB, "
    f"{mean([best('leather')], 'aupro'):.1f} and {mean([best('leather')], 'pixel_ap'):.1f}",
    f"AP is {mean([best('hazelnut')], 'pixel_ap'):.1f} instead of "
    f"{mean([best('hazelnut', normality='place')], 'pixel_ap'):.1f}",
    f"with seed 1, where it has {seed(1)}; seeds 0 and 2, run afterwards, have {seed(0)} and "
    f"{seed(2)}",
]


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_what_the_results_give(claim: str) -> None:
    assert claim in TEXT


def test_no_other_figures_are_there() -> None:
    rest = TEXT
    for claim in CLAIMS:
        rest = rest.replace(claim, "")
    # A score of an earlier version and a duration, which no result holds, and twice a bar.
    assert re.findall(r"\d+\.\d+", rest.partition("|")[2]) == ["83.0", "1.5", "0.2", "0.2"]


def test_two_stages_lead_in_every_seed_where_the_report_says_so() -> None:
    for arms in (WHOLE_RUNS["grid"], TILE):
        one_stage = [row for arm in ONE_STAGE for row in arms[ARMS[arm]]]
        for row in arms[TWO]:
            same_seed = [other for other in one_stage if other["seed"] == row["seed"]]
            assert mean([row]) > max(mean([other]) for other in same_seed)


def test_where_best_beats_a_constant_colour_is_as_the_report_says() -> None:
    assert min(GAINS) > 6
    assert {name for name in FEW if gain(name, "ssim") > 0.2} == {"carpet", "wood", "tile"}
    behind = {
        metric: {
            name
            for name in FEW
            if mean([best(name)], metric) <= mean([best(name)], metric, score=CONSTANT)
        }
        for metric in ("pixel_ap", "aupro")
    }
    assert behind == {"pixel_ap": {"leather", "hazelnut_toy"}, "aupro": {"hazelnut_toy"}}
