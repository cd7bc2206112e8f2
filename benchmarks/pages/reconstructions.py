"""The section of docs/detection.md on preset best: the network against one constant colour."""

from __future__ import annotations

from collections.abc import Sequence

from two_stage.report.tables import MEASURES
from two_stage.scoring.baselines import CONSTANT

from benchmarks.measure.detection import METRICS, Row
from benchmarks.pages.detection_page import devices, recipe_of
from benchmarks.pages.markdown import percent, table

COLUMNS = [
    *("", "seed", "PSNR, dB", "SSIM"),
    *(MEASURES[metric] for metric in METRICS),
    *("pixel AP, paper's residual", "seconds"),
]
EPOCHS = ("stage_1_epochs", "stage_2_epochs")


def section(rows: Sequence[Row]) -> str:
    """Each figure as network / constant."""
    runs = [row for row in rows if row["preset"] == "best"]
    recipes = [recipe_of(row) for row in runs]
    usual = max(recipes, key=recipes.count)
    runs.sort(key=lambda row: (row["category"], recipe_of(row) != usual, row["seed"]))
    lines = [
        [f"{row['category']}{_own_options(row, usual)}", str(row["seed"]), *_against_constant(row)]
        for row in runs
    ]
    ((first, second),) = {tuple(row["settings"][name] for name in EPOCHS) for row in runs}
    return (
        "## Preset best against a constant colour\n\n"
        f"256 pixels, patches of 128, two stages of {first} + {second} epochs in place of the "
        f"preset's 3 + 7, `--test-stride 64`; {devices(runs)}. Network / the training images' mean "
        "colour in its place, scored as the network is. PSNR and SSIM are of held-out normal "
        "images, seconds of training beside other programs. pill and hazelnut_toy have real "
        "defects, the others "
        f"generated ones.\n\n{table(COLUMNS, lines)}"
    )


def _own_options(row: Row, usual: Sequence[str]) -> str:
    options = [option for option in recipe_of(row) if option not in usual]
    return f", `{' '.join(options)}`" if options else ""


def _against_constant(row: Row) -> list[str]:
    network, constant = (row["reconstruction"][name] for name in ("network", "constant"))
    chosen, without = (row["scores"][score]["all"] for score in ("chosen", CONSTANT))
    seconds = sum(s for name, s in row["seconds"].items() if name.startswith("stage"))
    return [
        f"{network['psnr']:.1f} / {constant['psnr']:.1f}",
        f"{network['ssim']:.3f} / {constant['ssim']:.3f}",
        *(f"{percent(chosen[metric])} / {percent(without[metric])}" for metric in METRICS),
        percent(row["scores"]["plain l1"]["all"]["pixel_ap"]),
        f"{seconds:.0f}",
    ]
