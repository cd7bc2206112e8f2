"""The command `ablate`: the paper's Table 2 and further arms, side by side on one category."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ..report.figures import save_arm_panels
from ..report.tables import ablation_table
from ..run.arms import ARMS
from ..run.folder import load_metrics, save_json, write_atomically
from ..run.groups import ArmName
from ..run.ownership import refuse_foreign
from ..run.settings import Settings
from ..scoring.evaluation import first_of_each_kind, score_samples
from ..scoring.trained_run import load_trained_run
from ..training.data import test_samples
from ..training.losses import stages_of
from ..training.stages import describe_training
from .command_line import each_category

# Makes one run; of the folder of another, if there is one, it takes the first stage.
Train = Callable[[Settings, Path | None], Path]


@dataclasses.dataclass(frozen=True)
class Ablation:
    """Train several arms on the same data and compare them; an interrupted ablation goes on."""

    settings: Settings
    arms: tuple[ArmName, ...] = tuple(ARMS)
    """Which to train; the paper's Table 2 has ssim+l1, lpips+ssim, aw-ssim and two-stage."""
    seeds: tuple[int, ...] = (0,)
    """One run of each arm for each; the table has their mean and spread."""


def main(arguments: Sequence[str], train: Train) -> None:
    for ablation, folder in each_category(Ablation, "ablate", arguments, folder="ablation"):
        print(ablate(ablation, folder, train))


def ablate(ablation: Ablation, folder: Path, train: Train) -> str:
    """Train all arms below `folder`; returns the table that `ablation.md` holds."""
    own = rf"({'|'.join(map(re.escape, ARMS))})-seed-\d+|ablation\.(md|json)(\.partial)?|arms\.png"
    refuse_foreign(folder, own, proof=bool([*folder.glob("*-seed-*")]), holder="an ablation")
    runs = [
        ablation.settings.changed(arm=arm, seed=seed, run_folder=folder / f"{arm}-seed-{seed}")
        for seed in ablation.seeds
        for arm in ablation.arms
    ]
    for number, settings in enumerate(runs):
        train(settings, same_first_stage(settings, runs[:number]))
    metrics = [load_metrics(settings.running.run_folder) for settings in runs]
    table = ablation_table(metrics)
    write_atomically(folder / "ablation.md", table.encode())
    save_json({"runs": metrics}, folder / "ablation.json")
    first_seed = [run for run in runs if run.training.seed == ablation.seeds[0]]
    save_panels_of_arms(first_seed, folder / "arms.png")
    return table


def same_first_stage(settings: Settings, earlier: Sequence[Settings]) -> Path | None:
    """The folder of an earlier run whose first stage has the same settings."""
    facts = describe_training(settings, stages_of(settings)[:1])
    for other in earlier:
        if describe_training(other, stages_of(other)[:1]) == facts:
            return other.running.run_folder
    return None


def save_panels_of_arms(runs: Sequence[Settings], path: Path) -> None:
    """The first picture of each kind of defect as every arm sees it, like the paper's Figure 7."""
    results, scales = {}, {}
    for settings in runs:
        arm, folder = settings.stages.arm, settings.running.run_folder
        trained = load_trained_run(folder, "cpu")
        first = first_of_each_kind(test_samples(settings.data, folder), 1)
        samples = [sample for sample in first if sample.defect != "good"]
        results[arm] = list(score_samples(trained.model, trained.scorer, samples, settings))
        scales[arm] = trained.scorer.brightest
    save_arm_panels(results, path, scales)
