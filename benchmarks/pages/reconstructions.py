"""The section of docs/detection.md on preset best: the network against one constant colour."""

from __future__ import annotations

from collections.abc import Sequence

from two_stage.scoring.baselines import CONSTANT

from benchmarks.measure.detection import METRICS, Row
from benchmarks.pages.detection_page import devices, name_of, recipe_of
from benchmarks.pages.markdown import percent, table

# From pixel AUROC to image AUROC, as everywhere on the page.
COLUMNS = ["", "seed", "PSNR, dB", "SSIM", "pixel AUROC", "AUPRO", "pixel AP", "image AUROC", "s"]


def section(rows: Sequence[Row]) -> str:
    """Each figure as network / constant."""
    runs = [row for row in rows if row["preset"] == "best"]
    recipes = [recipe_of(row) for row in runs]
    usual = max(recipes, key=recipes.count)
    runs.sort(key=lambda row: (row["category"], recipe_of(row) != usual, row["seed"]))
    lines = [
        [f"{row['category']}, {name_of(row, usual)}", str(row["seed"]), *_against_constant(row)]
        for row in runs
    ]
    return (
        "## Preset best against a constant colour\n\n"
        f"256 pixels, patches of 128; {devices(runs)}; `{' '.join(usual)}`. PSNR and SSIM are of "
        "held-out normal images. Network / the mean colour in its place, scored as the network is. "
        "Seconds are of training, beside other programs. All but pill, grid and hazelnut_toy have "
        f"generated defects.\n\n{table(COLUMNS, lines)}"
    )


def _against_constant(row: Row) -> list[str]:
    network, constant = (row["reconstruction"][name] for name in ("network", "constant"))
    chosen, without = (row["scores"][score]["all"] for score in ("chosen", CONSTANT))
    seconds = sum(s for name, s in row["seconds"].items() if name.startswith("stage"))
    return [
        f"{network['psnr']:.1f} / {constant['psnr']:.1f}",
        f"{network['ssim']:.3f} / {constant['ssim']:.3f}",
        *(f"{percent(chosen[metric])} / {percent(without[metric])}" for metric in METRICS),
        f"{seconds:.0f}",
    ]
