"""The command `ablate`: the paper's Table 2 and further arms, side by side on one category."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import tyro

from ..report.figures import save_arm_panels
from ..report.tables import ablation_table
from ..run.folder import load_metrics, save_json, write_atomically
from ..run.settings import Arm, Settings
from ..scoring.evaluation import first_of_each_kind, score_samples
from ..scoring.trained_run import load_trained_run
from ..training.arms import stages_of
from ..training.data import test_samples
from ..training.stages import describe_training
from .command_line import each_category

# Makes one run; of the folder of another, if there is one, it takes the first stage.
Train = Callable[[Settings, Path | None], Path]


@dataclasses.dataclass(frozen=True)
class Ablation:
    """Train several arms on the same data and compare them; an interrupted ablation goes on."""

    settings: tyro.conf.OmitArgPrefixes[Settings]
    arms: tuple[Arm, ...] = get_args(Arm)
    """Which to train; the paper's Table 2 has ssim+l1, lpips+ssim, aw-ssim and two-stage."""
    seeds: tuple[int, ...] = (0,)
    """One run of each arm for each; the table has their mean and spread."""


def main(arguments: Sequence[str], train: Train) -> None:
    for ablation, folder in each_category(Ablation, "ablate", arguments, folder="ablation"):
        print(ablate(ablation, folder, train))


def ablate(ablation: Ablation, folder: Path, train: Train) -> str:
    """Train all arms below `folder`; returns the table that `ablation.md` holds."""
    runs = [
        dataclasses.replace(
            ablation.settings, arm=arm, seed=seed, run_folder=folder / f"{arm}-seed-{seed}"
        )
        for seed in ablation.seeds
        for arm in ablation.arms
    ]
    for number, settings in enumerate(runs):
        train(settings, same_first_stage(settings, runs[:number]))
    metrics = [load_metrics(settings.run_folder) for settings in runs]
    table = ablation_table(metrics)
    write_atomically(folder / "ablation.md", table.encode())
    save_json({"runs": metrics}, folder / "ablation.json")
    first_seed = [run for run in runs if run.seed == ablation.seeds[0]]
    save_panels_of_arms(first_seed, folder / "arms.png")
    return table


def same_first_stage(settings: Settings, earlier: Sequence[Settings]) -> Path | None:
    """The folder of an earlier run whose first stage is this run's to the last setting."""
    facts = describe_training(settings, stages_of(settings)[:1])
    for other in earlier:
        if describe_training(other, stages_of(other)[:1]) == facts:
            return other.run_folder
    return None


def save_panels_of_arms(runs: Sequence[Settings], path: Path) -> None:
    """The first picture of each kind of defect as every arm sees it, like the paper's Figure 7."""
    results, scales = {}, {}
    for settings in runs:
        trained = load_trained_run(settings.run_folder, "cpu")
        samples = [
            sample
            for sample in first_of_each_kind(test_samples(settings, settings.run_folder), 1)
            if sample.defect != "good"
        ]
        results[settings.arm] = list(
            score_samples(trained.model, trained.scorer, samples, trained.settings)
        )
        scales[settings.arm] = 2 * trained.scorer.pixel_threshold
    save_arm_panels(results, path, scales)
