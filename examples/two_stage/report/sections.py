"""The sections of a report, in their order: what each says, and its tables and pictures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..run.settings import PRESETS
from . import paper
from .parts import Picture, Section, count, number, pictures_of
from .tables import (
    Table,
    count_test_pictures,
    is_the_papers,
    kind_tables,
    paper_tables,
    percent,
    score_tables,
)
from .verdicts import called, mistakes_section, thresholds_section

ABOUT_COLOURS = (
    "All maps of a run share one colour scale, from 0 to the value at the end of the colour "
    "bar, which comes from normal pictures and not from the picture shown; no picture is "
    "stretched by itself. Orange outlines what was found in a picture that was called defective: "
    "regions above the threshold for pixels that reach the one for pictures. Blue outlines the "
    "true defect."
)
ABOUT_SCORES = (
    "Percent; 50 is chance for an AUROC. Pixel figures pool the pixels of all test "
    "pictures. AUPRO is the per-region overlap up to a false positive rate of 0.3. "
    "The best F1 is an oracle: its threshold was chosen on the labels. The baselines "
    "look at the input alone and need no training: what they reach, the test set "
    "gives away."
)


def sections_of(
    metrics: Mapping[str, Any],
    saved: Mapping[str, Any],
    test_scores: Sequence[Mapping[str, str]],
    folder: Path,
) -> list[Section]:
    """Those that have something to show.

    `saved` is what `settings.yaml` holds, `test_scores` the rows of `test_scores.csv`.
    """
    others = [name for name in metrics["scores"] if name != "chosen"]
    sections = [
        Section("Beside the paper", _about_paper(metrics), paper_tables(metrics)),
        _results_in_pictures(metrics, folder),
        Section("Scores", [ABOUT_SCORES, *_not_the_papers(metrics)], score_tables(metrics)),
        Section(
            "By kind of defect",
            ["Each kind with all normal test pictures, for the headline score."],
            kind_tables(metrics, ["chosen"]),
        ),
        _notes(metrics),
        thresholds_section(metrics, folder),
        mistakes_section(test_scores),
        Section("Chosen on held-out normals", *_choice(metrics["chosen_on_held_out_normals"])),
        _reconstruction(metrics),
        Section("ROC and PRO curves", pictures=pictures_of(folder, "curves")),
        Section("Training", pictures=pictures_of(folder, "training_curves", "artificial_defects")),
        Section(
            "The run",
            ["The command that repeats it:"],
            _run_tables(metrics, saved),
            code=repeat_command(saved["settings"]),
        ),
        Section("Appendix: every score by kind of defect", tables=kind_tables(metrics, others)),
    ]
    return [section for section in sections if section.tables or section.pictures]


def repeat_command(settings: Mapping[str, Any]) -> str:
    """The command line that repeats a run: its preset, and what differs from it."""
    preset = PRESETS[settings["preset"]].to_dict()
    words = ["python", "examples/mvtec_two_stage.py", "train", "--preset", settings["preset"]]
    for name, value in settings.items():
        # Where the results go changes none of them.
        if name in ("preset", "run_folder", "overwrite") or preset.get(name) == value:
            continue
        flag = name.replace("_", "-")
        if name == "compile":
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            values = value if isinstance(value, list) else [value]
            words += [f"--{flag}", *map(str, values)]
    return shlex.join(words)


def _notes(metrics: Mapping[str, Any]) -> Section:
    """Runs of earlier versions have none."""
    notes = [[note] for note in metrics.get("notes", ())]
    text = "The files named here, all of them, are in data.json."
    return Section("About the pictures", [text], [Table(("note",), notes)] if notes else [])


def _about_paper(metrics: Mapping[str, Any]) -> list[str]:
    normal, defective = count_test_pictures(metrics)
    return [
        "The paper's figure is Table 1's AuROC for MVTec AD, 512 x 512. This run's pictures are "
        f"as many as MVTec AD's: {normal} normal and {defective} defective ones to test on."
    ]


def _not_the_papers(metrics: Mapping[str, Any]) -> list[str]:
    """Why a category that the paper has too stands alone."""
    category = metrics["category"]
    if category not in paper.TABLE_1 or is_the_papers(metrics):
        return []
    images, official = metrics["images"], paper.OFFICIAL_TEST_IMAGES[category]
    normal, defective = count_test_pictures(metrics)
    return [
        f"The paper has a figure for {category}, of MVTec AD's pictures: "
        f"{paper.OFFICIAL_TRAIN_IMAGES[category]} to train on, {official[0]} normal and "
        f"{official[1]} defective ones to test on. Here they are "
        f"{images['train'] + images['validation']}, {normal} and {defective}: other data, or a "
        "part of it, so nothing is set beside the paper."
    ]


def _results_in_pictures(metrics: Mapping[str, Any], folder: Path) -> Section:
    panels = [
        Picture(path, f"Results: {path.stem.removeprefix('panels').strip('_') or 'all kinds'}.")
        for path in sorted(folder.glob("panels*.png"))
    ]
    texts = [ABOUT_COLOURS]
    if (folder / "pictures").is_dir():
        texts.append(
            "Heat map, overlay, predicted mask and reconstruction of each lie in the folder "
            "pictures/."
        )
    threshold = metrics["thresholds"]["image"]
    rows = [
        [str(place), shown["picture"], number(shown["score"]), called(shown["score"], threshold)]
        for place, shown in enumerate(metrics.get("shown", ()), start=1)
    ]
    header = ("number in the picture", "picture", "score", "called")
    tables = [Table(header, rows)] if rows and panels else []
    return Section("Results in pictures", texts, tables, panels + pictures_of(folder, "arms"))


def _reconstruction(metrics: Mapping[str, Any]) -> Section:
    quality = metrics["reconstruction_of_normals"]
    rows = [["normal test pictures", *_quality(quality)]]
    if compared := metrics.get("reconstruction_of_held_out"):
        rows = [
            *([] if quality["psnr"] is None else rows),
            ["held-out normal pictures", *_quality(compared["network"])],
            ["held-out normal pictures, one flat colour", *_quality(compared["constant"])],
        ]
    return Section(
        "Reconstruction of normal pictures",
        [
            "How clean the background comes back: higher is better for both. A network that is "
            "hardly better than the mean colour of the training pictures has learned little."
        ],
        [Table(("reconstruction of", "PSNR (dB)", "SSIM"), rows)],
    )


def _quality(quality: Mapping[str, float | None]) -> list[str]:
    return [number(quality.get(key)) for key in ("psnr", "ssim")]


def _choice(chosen: Mapping[str, Any]) -> tuple[list[str], list[Table]]:
    texts = [
        f"Chosen: {_residual(chosen)}, smoothed with a standard deviation of "
        f"{chosen['smoothing']:g} pixels, by how well it finds artificial defects on normal "
        "pictures held out from training: the criterion is the image AUROC of clean against "
        "painted ones, averaged over the kinds of defect. No test picture had a say."
    ]
    if area := chosen.get("scored_area"):
        texts.append(
            f"Scored: the {100 * area['share']:.0f} % of the picture where a product lies on "
            "normal pictures. The background counts as normal."
        )
    rows = [_candidate(_residual(row), row) for row in chosen.get("candidates", ())]
    if untrained := chosen.get("untrained"):
        name = f"no training: constant reconstruction, {_residual(untrained)}"
        rows.append(_candidate(name, untrained))
    header = ("residual", "smoothing, pixels", "pixel AUROC", "AUPRO", "criterion")
    return texts, [
        Table(header, rows or [[chosen["residual"], f"{chosen['smoothing']:g}", *"---"]])
    ]


def _residual(row: Mapping[str, Any]) -> str:
    """Earlier versions held every residual against its own place."""
    pooled = row.get("normality") == "picture"
    return f"{row['residual']}, against the whole picture" if pooled else row["residual"]


def _candidate(name: str, row: Mapping[str, Any]) -> list[str]:
    figures = (percent(row[key]) for key in ("pixel_auroc", "aupro", "criterion"))
    return [name, f"{row['smoothing']:g}", *figures]


def _run_tables(metrics: Mapping[str, Any], saved: Mapping[str, Any]) -> list[Table]:
    images, model = metrics["images"], metrics["model"]
    facts = [
        ("pictures to train on", f"{images['train']}"),
        ("pictures held out", f"{images['validation']}"),
        *((f"test pictures, {kind}", f"{n}") for kind, n in images["test"].items()),
        ("parameters", f"{model['parameters']:,}"),
        ("multiply-adds per patch", f"{model['multiply_adds_per_patch']:,}"),
        *(
            (f"seconds of {name.replace('_', ' ')}", count(value))
            for name, value in metrics["seconds"].items()
        ),
    ]
    settings = [(name, _plain(value)) for name, value in saved["settings"].items()]
    versions = [(name, str(value)) for name, value in saved.get("versions", {}).items()]
    tables = [Table(("size and time", ""), facts), Table(("setting", "value"), settings)]
    return tables + ([Table(("package", "version"), versions)] if versions else [])


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
