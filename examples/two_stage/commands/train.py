"""The command `train`: from pictures to weights, figures and a report."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list, set_seed

from ..defects.adga import DefectRanges, defect_pictures
from ..pictures.category import parse_categories
from ..pictures.demo import TEXTURES
from ..pictures.files import DataError
from ..report.figures import save_adga_sheet
from ..report.page import write_report
from ..report.tables import category_table, format_scores
from ..run.folder import find_run_folder, load_metrics, make_run_folder
from ..run.settings import PRESETS, Settings
from ..scoring.evaluation import choose, evaluate
from ..training.data import RunData, check_demo, load_run_data
from ..training.model import Autoencoder, build_model, count_parameters
from ..training.stages import adopt_stage, build_accelerator, train, training_seconds


def main(arguments: Sequence[str]) -> None:
    """Train on every category that the command line names."""
    settings = by_category(read_settings(arguments))
    folders = [train_and_evaluate(one) for one in settings]
    if PartialState().is_main_process:
        print_scores(folders)


def train_and_evaluate(settings: Settings, first_stage: Path | None = None) -> Path:
    """One run from beginning to end; one that was interrupted goes on, a complete one is kept.

    `first_stage` is the folder of a run with the same first stage, which is then not repeated.
    """
    accelerator = build_accelerator(settings)
    folder = find_together(settings, accelerator)
    if (folder / "metrics.json").exists() and not settings.overwrite:
        accelerator.print(f"{folder} is complete; repeat it with --overwrite")
        return folder
    data = load_data_and_make_folder(settings, folder, accelerator)
    model = train_network(data, settings, folder, accelerator, first_stage)
    choice = choose(model, data, settings)
    evaluate(model, choice, data, settings, folder, accelerator, training_seconds(folder))
    if accelerator.is_main_process:
        write_report(folder)
    accelerator.wait_for_everyone()
    return folder


def train_network(
    data: RunData,
    settings: Settings,
    folder: Path,
    accelerator: Accelerator,
    first_stage: Path | None = None,
) -> Autoencoder:
    """All stages of the run's arm, and a contact sheet of the defects that it trains on."""
    if accelerator.is_main_process:
        if first_stage is not None:
            adopt_stage(1, first_stage, folder)
        ranges = DefectRanges.of(settings)
        save_adga_sheet(
            *defect_pictures(data.train, data.bank, ranges, data.foregrounds, settings.seed, 6),
            folder / "artificial_defects.png",
        )
    set_seed(settings.seed)
    model = build_model(settings).to(accelerator.device)
    accelerator.print(
        f"{settings.category}, {settings.arm}: {len(data.train)} normal images to train on, "
        f"{len(data.held_out)} held out, {len(data.test)} to test on; "
        f"{count_parameters(model):,} parameters, {settings.skips} skips; {folder}"
    )
    train(model, data, settings, folder, accelerator)
    return model


def find_together(settings: Settings, accelerator: Accelerator) -> Path:
    """The main process looks for the run's folder, the others are told where it is."""
    folder = [find_run_folder(settings) if accelerator.is_main_process else None]
    return broadcast_object_list(folder)[0]


def load_data_and_make_folder(
    settings: Settings, folder: Path, accelerator: Accelerator, *, with_test: bool = True
) -> RunData:
    """What is the user's is checked first: a fault leaves no folder, and deletes no run."""
    if settings.data_root is None:
        # The demo's pictures are written into the run's folder.
        check_demo(settings)
        make_together(settings, folder, accelerator)
        return load_data_together(settings, folder, accelerator, with_test=with_test)
    data = load_data_together(settings, folder, accelerator, with_test=with_test)
    make_together(settings, folder, accelerator)
    return data


def make_together(settings: Settings, folder: Path, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        make_run_folder(settings, folder)
    accelerator.wait_for_everyone()


def load_data_together(
    settings: Settings, folder: Path, accelerator: Accelerator, *, with_test: bool = True
) -> RunData:
    """The main process first: it writes the demo's pictures."""
    with accelerator.main_process_first():
        return load_run_data(settings, folder, accelerator.device, with_test=with_test)


def read_settings(arguments: Sequence[str] | None = None) -> Settings:
    """Settings from the command line; the preset only moves the defaults of the others."""
    return tyro.cli(Settings, default=preset_of(arguments), args=arguments)


def preset_of(arguments: Sequence[str] | None) -> Settings:
    """The preset that the arguments name; without one, the demo, or `quick` on own data."""
    first_look = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first_look.add_argument("--preset", choices=tuple(PRESETS))
    first_look.add_argument("--data-root", "--data_root")
    known, _ = first_look.parse_known_args(arguments)
    return PRESETS[known.preset or ("demo" if known.data_root is None else "quick")]


def by_category(settings: Settings) -> list[Settings]:
    """One copy of the settings for each category, with a folder of its own if there are more."""
    if settings.data_root is not None:
        categories = parse_categories(settings.category, settings.data_root)
    elif settings.category == "all":
        categories = list(TEXTURES)
    else:
        categories = settings.category.split(",")
    for category in categories:
        if settings.data_root is None and category not in TEXTURES:
            raise DataError(
                f"the demo has the categories {', '.join(TEXTURES)}, got {category!r}; pass "
                "--data-root for your own"
            )
    if len(categories) == 1:
        return [dataclasses.replace(settings, category=categories[0])]
    parent = settings.run_folder
    return [
        dataclasses.replace(
            settings, category=name, run_folder=None if parent is None else parent / name
        )
        for name in categories
    ]


def print_scores(folders: Sequence[Path]) -> None:
    """The figures of each run, and with several categories a table over all of them."""
    runs = [load_metrics(folder) for folder in folders]
    for folder, metrics in zip(folders, runs, strict=True):
        if metrics["scores"]:
            print(f"\n{metrics['category']}\n{format_scores(metrics)}")
        print(f"see {folder / 'report.html'}")
    if len(runs) > 1:
        print(f"\n{category_table(runs)}")
