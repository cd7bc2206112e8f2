"""The command `tune`: weights of luminance, contrast and structure for your own product.

Candidates are trained and judged only on normal images: by how well they find painted defects, of
kinds that training does not use, on images held out from training. (The paper chose its weights by
hand, knowing the test data.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from accelerate import PartialState

from ..report.ranking import ONE_SEED, criterion_of
from ..report.results import draw_artificial_defects
from ..run.folder import parse_json, save_json, write_text
from ..run.ownership import refuse_foreign
from ..run.run import open_run
from ..run.settings import Settings
from ..scoring.selection import choose
from ..training.data import prepare_data
from ..training.losses import stages_of
from ..training.rehearsal import rehearse
from ..training.stages import new_model, train_stage
from .command_line import distinct, each_category, say, say_how_long

Weights = tuple[float, float, float]

# The last file of a candidate.
CHOICE = "choice.json"

# Equal, one term twice as heavy as the others, and two terms twice as heavy as the third.
CANDIDATES: tuple[Weights, ...] = (
    (1 / 3, 1 / 3, 1 / 3),
    (0.5, 0.25, 0.25),
    (0.25, 0.5, 0.25),
    (0.25, 0.25, 0.5),
    (0.4, 0.4, 0.2),
    (0.4, 0.2, 0.4),
    (0.2, 0.4, 0.4),
)


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Find loss weights with normal images only; an interrupted search goes on."""

    settings: Settings
    candidates: tuple[Weights, ...] = CANDIDATES
    """Triples of luminance, contrast and structure to compare."""
    seeds: tuple[int, ...] = (0,)
    """Each candidate is trained once for each; several show what is chance."""

    def __post_init__(self) -> None:
        # Of two weights that read the same in a folder's name the second would find the first.
        distinct("candidates", [_name(weights) for weights in self.candidates])
        distinct("seeds", self.seeds)


def main(arguments: Sequence[str]) -> None:
    for tuning, folder in each_category(Tuning, "tune", arguments, folder="tune", with_test=False):
        say(f"the candidates for {tuning.settings.data.category} go to {folder}")
        say(tune(tuning, folder))
        say(f"see {folder / 'tuning.md'}, {folder / 'tuning.json'}")


def tune(tuning: Tuning, folder: Path) -> str:
    """Train all candidates below `folder`; returns the text that `tuning.md` holds."""
    own = r"weights-.+-seed-\d+|tuning\.(md|json)(\.partial)?"
    refuse_foreign(folder, own, proof=bool([*folder.glob("weights-*")]), holder="a search")
    runs = [
        tuning.settings.changed(
            weights=weights,
            seed=seed,
            run_folder=folder / f"weights-{_name(weights)}-seed-{seed}",
        )
        for weights in tuning.candidates
        for seed in tuning.seeds
    ]
    found: dict[Weights, list[float]] = {weights: [] for weights in tuning.candidates}
    for settings in say_how_long(runs, is_done):
        criteria = found[settings.stages.weights]
        criteria.append(judge(settings))
        say(
            f"weights {_name(settings.stages.weights)}, seed {settings.training.seed}: painted "
            f"defects told from clean held-out pictures with an image AUROC of "
            f"{100 * criteria[-1]:.2f} %"
        )
    rows: list[dict[str, Any]] = [
        {"weights": list(weights), "criteria": criteria, "mean": mean(criteria)}
        for weights, criteria in found.items()
    ]
    rows.sort(key=lambda row: row["mean"], reverse=True)
    text = describe(rows, tuning)
    if PartialState().is_main_process:
        write_text(folder / "tuning.md", text)
        values = {"category": tuning.settings.data.category, "candidates": rows}
        save_json(values, folder / "tuning.json")
    return text


def judge(settings: Settings) -> float:
    """Train one candidate and say how well it finds painted defects on held-out normals."""
    with open_run(settings) as run:
        result = run.folder / CHOICE
        if not is_done(settings):
            data = prepare_data(run, with_test=False)
            model = new_model(run)
            rehearse(model, data, run)
            draw_artificial_defects(data, run)
            for number, stage in enumerate(stages_of(settings), start=1):
                train_stage(number, stage, model, data, run)
            choice = choose(model, data, settings)
            if run.is_main:
                save_json({"candidates": choice.candidates}, result)
            run.together()
        return criterion_of(parse_json(result.read_bytes(), result)["candidates"])


def is_done(settings: Settings) -> bool:
    return (settings.running.run_folder / CHOICE).is_file() and not settings.running.overwrite


def _name(weights: Weights) -> str:
    return "-".join(f"{weight:.3g}" for weight in weights)


def describe(rows: Sequence[dict[str, Any]], tuning: Tuning) -> str:
    """The search as a Markdown table, best first, and what it would choose."""
    lines = [
        f"# Loss weights for {tuning.settings.data.category}",
        "",
        "Image AUROC (in %) of held-out normal images, clean against painted with defects of "
        f"kinds that training does not use; {len(tuning.seeds)} seed(s), preset "
        f"{tuning.settings.preset}. No test image was scored.",
        "",
        "| luminance | contrast | structure | criterion | over seeds |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"{weight:.3f}" for weight in row["weights"]]
        spread = f"± {100 * stdev(row['criteria']):.2f}" if len(row["criteria"]) > 1 else "-"
        lines.append(f"| {' | '.join(cells)} | {100 * row['mean']:.2f} | {spread} |")
    chosen = " ".join(f"{weight:.3g}" for weight in rows[0]["weights"])
    lines += ["", f"It would choose `--weights {chosen}`.", *_caution(rows), ""]
    return "\n".join(lines)


def _caution(rows: Sequence[dict[str, Any]]) -> list[str]:
    if len(rows[0]["criteria"]) == 1:
        return [ONE_SEED]
    gap = rows[0]["mean"] - rows[-1]["mean"]
    chance = max(stdev(row["criteria"]) for row in rows)
    if gap < 2 * chance:
        return ["The candidates differ by less than twice their spread over seeds: chance."]
    return []
