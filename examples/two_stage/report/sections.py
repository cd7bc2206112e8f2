"""The sections of a report, in their order: what each says, and its tables and pictures."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..run.settings import PRESETS
from . import paper
from .tables import (
    Table,
    count_test_pictures,
    kind_tables,
    paper_tables,
    percent,
    score_tables,
)

FOUND, FLAGGED = "defective_images_found", "normal_images_flagged"
# What a run folder may hold; panels of one kind of defect are panels_KIND.png.
CAPTIONS = {
    "artificial_defects.png": "Artificial defects (ADGA) as training sees them.",
    "image_scores.png": "Scores of the test pictures and the threshold for pictures.",
    "curves.png": "ROC and PRO curves of every score.",
    "training_curves.png": "Loss and sigma of the window at every optimiser step; the dotted line "
    "is the start of stage 2.",
    "arms.png": "The arms of the ablation on the same pictures.",
}
ABOUT_COLOURS = (
    "All maps of a run share one colour scale, from 0 to the value at the end of the colour "
    "bar, which comes from normal pictures and not from the picture shown; no picture is "
    "stretched by itself. Orange outlines what lies above the threshold, blue the true defect."
)
ABOUT_SCORES = (
    "Percent; 50 is chance for an AUROC. Pixel figures pool the pixels of all test "
    "pictures. AUPRO is the per-region overlap up to a false positive rate of 0.3. "
    "The best F1 is an oracle: its threshold was chosen on the labels. The baselines "
    "look at the input alone and need no training: what they reach, the test set "
    "gives away."
)


@dataclasses.dataclass(frozen=True)
class Picture:
    path: Path
    caption: str

    @property
    def link(self) -> str:
        return quote(self.path.name)


@dataclasses.dataclass(frozen=True)
class Section:
    title: str
    texts: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    code: str = ""


def sections_of(
    metrics: Mapping[str, Any], saved: Mapping[str, Any], folder: Path
) -> list[Section]:
    """Those that have something to show; `saved` is what `settings.yaml` holds."""
    others = [name for name in metrics["scores"] if name != "chosen"]
    sections = [
        Section("Beside the paper", _about_paper(metrics), paper_tables(metrics)),
        _results_in_pictures(folder),
        Section("Scores", [ABOUT_SCORES], score_tables(metrics)),
        Section(
            "By kind of defect",
            ["Each kind with all normal test pictures, for the headline score."],
            kind_tables(metrics, ["chosen"]),
        ),
        _notes(metrics),
        _thresholds(metrics, folder),
        Section("Chosen on held-out normals", *_choice(metrics["chosen_on_held_out_normals"])),
        _reconstruction(metrics),
        Section("ROC and PRO curves", pictures=_pictures(folder, "curves")),
        Section("Training", pictures=_pictures(folder, "training_curves", "artificial_defects")),
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
    official = paper.OFFICIAL_TEST_IMAGES.get(metrics["category"])
    if official is None:
        return []
    normal, defective = count_test_pictures(metrics)
    texts = [
        "The paper's figure is Table 1's AuROC for MVTec AD's whole official test set "
        f"({official[0]} normal and {official[1]} defective pictures, 512 x 512). This run was "
        f"tested on {normal} normal and {defective} defective pictures."
    ]
    if official != (normal, defective):
        texts.append("The test sets differ, so the difference is an indication, no comparison.")
    return texts


def _results_in_pictures(folder: Path) -> Section:
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
    return Section("Results in pictures", texts, pictures=panels + _pictures(folder, "arms"))


def _thresholds(metrics: Mapping[str, Any], folder: Path) -> Section:
    thresholds, found = metrics["thresholds"], metrics["at_threshold"]
    text = (
        f"Quantile {thresholds['quantile']:g} of normal pictures held out "
        "from training: of their pixels for maps, of their scores for pictures."
    )
    values = [(name, _number(thresholds[name])) for name in ("pixel", "image")]
    shares = [
        ("defective pictures found", percent(found.get(FOUND))),
        ("normal pictures flagged", percent(found.get(FLAGGED))),
    ]
    tables = [
        Table(("threshold", "value"), values),
        Table(("at the threshold for pictures", "%"), shares),
    ]
    pictures = _pictures(folder, "image_scores")
    return Section("Thresholds and what they give", [text], tables, pictures)


def _reconstruction(metrics: Mapping[str, Any]) -> Section:
    quality = metrics["reconstruction_of_normals"]
    return Section(
        "Reconstruction of normal test pictures",
        ["How clean the background comes back: higher is better for both."],
        [Table(("PSNR (dB)", "SSIM"), [[_number(quality.get(key)) for key in ("psnr", "ssim")]])],
    )


def _choice(chosen: Mapping[str, Any]) -> tuple[list[str], list[Table]]:
    texts = [
        f"Chosen: {chosen['residual']}, smoothed with a standard deviation of "
        f"{chosen['smoothing']:g} pixels, by how well it finds artificial defects on normal "
        "pictures held out from training: the criterion is the image AUROC of clean against "
        "painted ones, averaged over the kinds of defect. No test picture had a say."
    ]
    rows = [
        [
            c["residual"],
            f"{c['smoothing']:g}",
            *(percent(c[k]) for k in ("pixel_auroc", "aupro", "criterion")),
        ]
        for c in chosen.get("candidates", ())
    ]
    header = ("residual", "smoothing, pixels", "pixel AUROC", "AUPRO", "criterion")
    return texts, [
        Table(header, rows or [[chosen["residual"], f"{chosen['smoothing']:g}", *"---"]])
    ]


def _run_tables(metrics: Mapping[str, Any], saved: Mapping[str, Any]) -> list[Table]:
    images, model = metrics["images"], metrics["model"]
    facts = [
        ("pictures to train on", f"{images['train']}"),
        ("pictures held out", f"{images['validation']}"),
        *((f"test pictures, {kind}", f"{n}") for kind, n in images["test"].items()),
        ("parameters", f"{model['parameters']:,}"),
        ("multiply-adds per patch", f"{model['multiply_adds_per_patch']:,}"),
        *(
            (f"seconds of {name.replace('_', ' ')}", _count(value))
            for name, value in metrics["seconds"].items()
        ),
    ]
    settings = [(name, _plain(value)) for name, value in saved["settings"].items()]
    versions = [(name, str(value)) for name, value in saved.get("versions", {}).items()]
    tables = [Table(("size and time", ""), facts), Table(("setting", "value"), settings)]
    return tables + ([Table(("package", "version"), versions)] if versions else [])


def _pictures(folder: Path, *stems: str) -> list[Picture]:
    paths = [folder / f"{stem}.png" for stem in stems]
    return [Picture(path, CAPTIONS[path.name]) for path in paths if path.is_file()]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
