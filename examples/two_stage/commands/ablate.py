"""The command `ablate`: the paper's Table 2 and further arms, side by side on one category."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate import PartialState

from ..report.figures import save_arm_panels
from ..report.tables import ablation_notes, ablation_table
from ..run.arms import ARMS
from ..run.folder import is_complete, load_metrics, save_json, write_text
from ..run.groups import ArmName
from ..run.ownership import refuse_foreign
from ..run.settings import Settings
from ..scoring.evaluation import first_of_each_kind, score_samples
from ..scoring.trained_run import load_trained_run
from ..training.data import test_samples
from ..training.facts import describe_training
from ..training.losses import stages_of
from .command_line import distinct, each_category, say, say_how_long

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

    def __post_init__(self) -> None:
        distinct("arms", self.arms)
        distinct("seeds", self.seeds)


def main(arguments: Sequence[str], train: Train) -> None:
    for ablation, folder in each_category(Ablation, "ablate", arguments, folder="ablation"):
        say(f"the arms of {ablation.settings.data.category} go to {folder}")
        say(ablate(ablation, folder, train))
        files = ("ablation.md", "ablation.json", "arms.png")
        say(f"see {', '.join(str(folder / name) for name in files if (folder / name).exists())}")


def ablate(ablation: Ablation, folder: Path, train: Train) -> str:
    """Train all arms below `folder`; returns the table that `ablation.md` holds."""
    arms = "|".join(map(re.escape, ARMS))
    own = rf"({arms})-seed-\d+|(ablation\.(md|json)|arms\.png)(\.partial)?"
    refuse_foreign(folder, own, proof=bool([*folder.glob("*-seed-*")]), holder="an ablation")
    runs = [
        ablation.settings.changed(arm=arm, seed=seed, run_folder=folder / f"{arm}-seed-{seed}")
        for seed in ablation.seeds
        for arm in ablation.arms
    ]
    for settings in say_how_long(runs, is_done):
        train(settings, same_first_stage(settings, runs[: runs.index(settings)]))
    metrics = [load_metrics(settings.running.run_folder) for settings in runs]
    if not PartialState().is_main_process:
        return ablation_table(metrics)
    first_seed = [run for run in runs if run.training.seed == ablation.seeds[0]]
    shown = save_panels_of_arms(first_seed, folder / "arms.png")
    text = ablation_table(metrics) + ablation_notes(metrics, shown)
    write_text(folder / "ablation.md", text)
    save_json({"runs": metrics}, folder / "ablation.json")
    return text


def is_done(settings: Settings) -> bool:
    return is_complete(settings.running.run_folder) and not settings.running.overwrite


def same_first_stage(settings: Settings, earlier: Sequence[Settings]) -> Path | None:
    """The folder of an earlier run whose first stage has the same settings."""
    facts = describe_training(settings, stages_of(settings)[:1])
    for other in earlier:
        if describe_training(other, stages_of(other)[:1]) == facts:
            return other.running.run_folder
    return None


def save_panels_of_arms(runs: Sequence[Settings], path: Path) -> list[str]:
    """The first picture of each kind of defect as every arm sees it, like the paper's Figure 7.

    Returns the pictures' names in the order of its rows.
    """
    results, scales = {}, {}
    for settings in runs:
        arm, folder = settings.stages.arm, settings.running.run_folder
        trained = load_trained_run(folder, "cpu")
        first = first_of_each_kind(test_samples(settings.data, folder), 1)
        samples = [sample for sample in first if sample.defect != "good"]
        if not samples:
            return []
        results[arm] = list(score_samples(trained.model, trained.scorer, samples, settings))
        scales[arm] = trained.scorer.brightest
    save_arm_panels(results, path, scales)
    return [sample.name for sample in samples]
