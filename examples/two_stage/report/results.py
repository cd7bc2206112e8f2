"""What an evaluation leaves in a run's folder: pictures, figures, and the report of both."""

from __future__ import annotations

from ..defects.adga import DefectRanges, defect_pictures
from ..run.folder import save_json
from ..run.run import Run
from ..scoring.evaluation import Evaluation
from ..scoring.selection import Choice
from ..training.data import RunData
from .figures import (
    remove_result_files,
    save_adga_sheet,
    save_curves,
    save_panels,
    save_result_files,
    save_score_histogram,
)
from .page import write_report

DEFECTS_SHOWN = 6


def draw_artificial_defects(data: RunData, run: Run) -> None:
    """A contact sheet of what the second stage trains on."""
    if run.is_main:
        ranges, seed = DefectRanges.of(run.settings.defects), run.settings.training.seed
        pictures = defect_pictures(
            data.train, data.bank, ranges, data.foregrounds, seed, DEFECTS_SHOWN
        )
        save_adga_sheet(*pictures, run.folder / "artificial_defects.png")


def write_results(evaluation: Evaluation, run: Run) -> None:
    """By the main process: the pictures, `curves.json`, `metrics.json` and the report."""
    if run.is_main:
        curves = evaluation.findings.scores.curves()
        save_json(curves, run.folder / "curves.json")
        if evaluation.findings.shown:
            _draw(evaluation, run)
            save_curves(curves, run.folder / "curves.png")
        # Last of the figures: a run with this file is complete.
        save_json(evaluation.metrics, run.folder / "metrics.json")
        write_report(run.folder)
    run.together()


def _draw(evaluation: Evaluation, run: Run) -> None:
    findings, scorer, folder = evaluation.findings, evaluation.choice.scorer, run.folder
    scales = colour_scales(evaluation.choice)
    remove_result_files(folder / "pictures")
    for result in findings.shown:
        save_result_files(result, folder / "pictures", scales, scorer.pixel_threshold)
    save_panels(findings.shown, folder / "panels.png", scales, scorer.pixel_threshold)
    scores = findings.image_scores()
    save_score_histogram(*scores, scorer.image_threshold, folder / "image_scores.png")


def colour_scales(choice: Choice) -> dict[str, float]:
    """The brightest colour of each map in pictures, from normal images and the same in all."""
    normality = choice.normality
    mean, std = (float(values["l1"].mean()) for values in (normality.means, normality.stds))
    return {"plain l1": mean + 6 * std, "chosen": choice.scorer.brightest}
