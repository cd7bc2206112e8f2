"""What an evaluation leaves in a run's folder: pictures, figures, and the report of both."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..defects.adga import DefectRanges, defect_pictures
from ..pictures.category import NORMAL
from ..run.folder import save_json, write_atomically
from ..run.groups import Data
from ..run.run import Run
from ..scoring.evaluation import Evaluation
from ..scoring.selection import Choice
from ..training.data import RunData
from .curves import save_curves, save_score_histogram
from .figures import remove_result_files, save_adga_sheet, save_panels, save_result_files
from .page import write_report

DEFECTS_SHOWN = 6
SCORE_COLUMNS = ("file", "kind", "score", "threshold", "called_defective", "outcome")
# Whether a picture is defective, and whether it was called so.
OUTCOMES = {
    (True, True): "found",
    (True, False): "missed",
    (False, True): "false alarm",
    (False, False): "passed",
}


def draw_artificial_defects(data: RunData, run: Run) -> None:
    """A contact sheet of what the second stage trains on."""
    if run.is_main:
        ranges, seed = DefectRanges.of(run.settings.defects), run.settings.training.seed
        pictures = defect_pictures(
            data.train, data.bank, ranges, data.foregrounds, seed, DEFECTS_SHOWN
        )
        save_adga_sheet(*pictures, run.folder / "artificial_defects.png")


# What is there only with test pictures, or with pictures to show.
DRAWN = ("panels.png", "image_scores.png", "curves.png", "test_scores.csv")


def write_results(evaluation: Evaluation, run: Run) -> None:
    """By the main process: pictures, `test_scores.csv`, the figures as JSON, and the report."""
    if run.is_main:
        curves = evaluation.findings.scores.curves()
        save_json(curves, run.folder / "curves.json")
        _draw(evaluation, run)
        if evaluation.findings.pictures:
            save_curves(curves, run.folder / "curves.png")
            save_test_scores(evaluation, run)
        save_json(evaluation.metrics, run.folder / "metrics.json")
        write_report(run.folder)
    run.together()


def save_test_scores(evaluation: Evaluation, run: Run) -> None:
    """One line for each test picture: its score, and whether what it was called is right."""
    threshold = evaluation.choice.scorer.image_threshold
    rows = io.StringIO(newline="")
    writer = csv.writer(rows)
    writer.writerow(SCORE_COLUMNS)
    for sample, score in evaluation.findings.pictures:
        file = sample.image_path.relative_to(_category_folder(sample.image_path, run.settings.data))
        called = score > threshold
        outcome = OUTCOMES[sample.defect != NORMAL, called]
        writer.writerow(
            [file.as_posix(), sample.defect, score, threshold, "yes" if called else "no", outcome]
        )
    content = rows.getvalue().encode("utf-8-sig", errors="backslashreplace")
    write_atomically(run.folder / "test_scores.csv", content)


def _category_folder(path: Path, data: Data) -> Path:
    if data.data_root is not None:
        return data.data_root / data.category
    # The demo's pictures lie in the folder of the run that made them.
    return next(folder for folder in path.parents if folder.name == data.category)


def _draw(evaluation: Evaluation, run: Run) -> None:
    findings, scorer, folder = evaluation.findings, evaluation.choice.scorer, run.folder
    scales = colour_scales(evaluation.choice)
    # Of an earlier evaluation, which may have had another test set.
    remove_result_files(folder / "pictures")
    for name in DRAWN:
        (folder / name).unlink(missing_ok=True)
    thresholds = scorer.pixel_threshold, scorer.image_threshold
    for result in findings.shown:
        save_result_files(result, folder / "pictures", scales, *thresholds)
    if findings.shown:
        save_panels(findings.shown, folder / "panels.png", scales, *thresholds)
    if findings.pictures:
        scores = findings.image_scores()
        save_score_histogram(*scores, scorer.image_threshold, folder / "image_scores.png")


def colour_scales(choice: Choice) -> dict[str, float]:
    """The brightest colour of each map in pictures, from normal images and the same in all."""
    normality = choice.normality
    mean, std = (float(values["l1"].mean()) for values in (normality.means, normality.stds))
    return {"plain l1": mean + 6 * std, "chosen": choice.scorer.brightest}
