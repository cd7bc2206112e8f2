"""docs/detection.md from rows of `measure/detection.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from two_stage.report.paper import TABLE_1
from two_stage.report.tables import MEASURES
from two_stage.run import arms as plans
from two_stage.scoring.baselines import CONSTANT

from benchmarks.measure.detection import METRICS, RECIPE, Row
from benchmarks.pages.markdown import percent, spread, table

SCORES = {
    "plain l1": "the paper's residual, mean abs(x - x')",
    "chosen": "chosen on held-out normal images",
    "input only: gradient": "no training: the input's gradient",
    "input only: distance to mean": "no training: distance to the mean training image",
    CONSTANT: "no training: constant reconstruction, scored as chosen",
}
# Of every run; only later ones have the constant reconstruction too.
UNTRAINED = list(SCORES)[2:4]
METRIC_COLUMNS = [("all", metric, MEASURES[metric]) for metric in METRICS]
ONE_STAGE = ("ssim+l1", "lpips+ssim", "aw-ssim")
ARMS = {name: arm.title for name, arm in plans.ARMS.items()}
TABLE_2 = {name: arm.table_2 for name, arm in plans.ARMS.items() if arm.table_2}
GENERATED = ["carpet", "leather", "wood", "tile", "hazelnut"]
# The term that weighs most in the preset, the paper's direction.
HEAVIEST = dict.fromkeys(GENERATED[:3], "structure") | dict.fromkeys(GENERATED[3:], "luminance")

# A part of the test images, a metric of theirs, and what its column is called.
Column = tuple[str, str, str]
# What a table's cell says of some runs.
Cell = Callable[[Sequence[Row]], str]


def page(rows: Sequence[Row], demo: Row) -> str:
    """The whole page."""
    parts = [
        "# Detection, measured\n\nWritten by `python -m benchmarks page` from "
        "`benchmarks/results/detection.json` and `demo.json`; the commands of the runs are in "
        "`benchmarks/detection.sh`. Percent. The [reproduction report](reproduction.md) says what "
        "the figures mean.\n",
        _one_run(demo),
        _one_run(next(row for row in rows if row["preset"] == "paper")),
    ]
    for category in ("pill", "grid", "magnetic_tile"):
        parts.append(arms(of(rows, category)))
    quick = [row for row in rows if row["preset"] == "quick"]
    return "\n".join([*parts, _generated(quick), _weights(quick)])


def of(rows: Sequence[Row], category: str, preset: str = "quick") -> list[Row]:
    return [row for row in rows if (row["category"], row["preset"]) == (category, preset)]


def untrained_of(rows: Sequence[Row]) -> list[str]:
    """The scores that need no training and that every one of the runs has."""
    found = [*UNTRAINED, CONSTANT]
    return [score for score in found if all(score in row["scores"] for row in rows)]


def devices(rows: Sequence[Row]) -> str:
    names = " or ".join(sorted({row["device"] for row in rows}))
    return re.sub(r"\b1 threads", "1 thread", names.replace(" threads or cpu, ", " or "))


def _heading(rows: Sequence[Row]) -> str:
    first = rows[0]
    settings, images = first["settings"], first["images"]
    return (
        f"## {first['category']}, preset {first['preset']}\n\n"
        f"{settings['image_size']} pixels, patches of {settings['patch_size']}, width "
        f"{settings['width']}, {settings['stage_1_epochs']} + {settings['stage_2_epochs']} epochs, "
        f"{images['train']} training images, {images['validation']} held out, {images['test']} "
        f"test images; {devices(rows)}. "
    )


def _one_run(row: Row) -> str:
    """One line for each score."""
    residual, smoothing = row["chosen"]
    columns = [*METRIC_COLUMNS, *_other_columns(row)]
    lines = (
        [name, *_cells([row], score, columns)]
        for score, name in SCORES.items()
        if score in row["scores"]
    )
    return (
        f"{_heading([row])}Seed {row['seed']}; {residual}, smoothed by {smoothing:g} pixels, was "
        f"chosen.{_paper(row)}\n\n{table(['', *(title for *_, title in columns)], lines)}"
    )


def arms(rows: Sequence[Row]) -> str:
    """Two tables: each arm, mean and spread over its seeds, then what needs no training."""
    recipes: list[str] = []
    named = {_short(name, recipes): runs for name, runs in by_name(rows).items()}
    # What needs no training is smoothed as the first arm's own map is.
    untrained = next(iter(named.values()))

    def arms_table(own: dict[str, Cell], columns: list[Column]) -> str:
        lines = [
            [name, *(cell(runs) for cell in own.values()), *_cells(runs, "chosen", columns)]
            for name, runs in named.items()
        ]
        if columns:
            lines += [
                [SCORES[score], *["-"] * len(own), *_cells(untrained, score, columns)]
                for score in untrained_of(untrained)
            ]
        return table(["", *own, *(title for *_, title in columns)], lines)

    seeds = {"seeds": lambda runs: ", ".join(str(row["seed"]) for row in runs)}
    own: dict[str, Cell] = {
        "pixel AUROC, paper's residual": lambda runs: spread_of(
            runs, "plain l1", "all", "pixel_auroc"
        )
    }
    # The first runs did not keep it.
    if all(row.get("painted") for row in rows):
        own["image AUROC, painted on held-out"] = lambda runs: spread(
            [row["painted"] for row in runs], percent
        )
    return (
        f"{_heading(rows)}Mean (least to greatest) of the seeds.{_paper(rows[0])}\n\n"
        f"{arms_table(seeds, METRIC_COLUMNS)}\n{arms_table(own, _other_columns(rows[0]))}"
        + "".join(f"\nRecipe {n}: {recipe}.\n" for n, recipe in enumerate(recipes, start=1))
    )


def _other_columns(row: Row) -> list[Column]:
    """The parts of the test images that have a pixel AUROC of their own."""
    parts = {
        "foreground": "pixel AUROC, foreground",
        "without_dominating": f"pixel AUROC without `{row['dominating_defect']}`",
    }
    found = row["scores"]["chosen"]
    return [(part, "pixel_auroc", title) for part, title in parts.items() if part in found]


def _cells(rows: Sequence[Row], score: str, columns: Sequence[Column]) -> list[str]:
    return [spread_of(rows, score, part, metric) for part, metric, _ in columns]


def _paper(row: Row) -> str:
    if row["category"] not in TABLE_1:
        return ""
    arms = ", ".join(f"{TABLE_2[arm]:.2f} ({ARMS[arm].partition(': ')[2]})" for arm in ONE_STAGE)
    return (
        f" The paper states {TABLE_1[row['category']]:.2f} for {row['category']}; its figures for "
        f"one stage are of hazelnut: {arms}."
    )


def _short(name: str, recipes: list[str]) -> str:
    """An arm's name with the number of its recipe, whose options are noted below the tables."""
    arm, _, recipe = name.partition("; ")
    if not recipe:
        return arm
    if recipe not in recipes:
        recipes.append(recipe)
    return f"{arm}; recipe {recipes.index(recipe) + 1}"


def by_name(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The runs of each arm and, where they differ, of each recipe."""
    usual = {}
    for category in {row["category"] for row in rows}:
        recipes = [recipe_of(row) for row in rows if row["category"] == category]
        usual[category] = max(recipes, key=recipes.count)
    names = [_name(row, usual[row["category"]]) for row in rows]
    order = sorted(
        zip(names, rows, strict=True),
        key=lambda pair: (list(ARMS).index(pair[1]["arm"]), pair[0], pair[1]["seed"]),
    )
    return {name: [row for other, row in order if other == name] for name, _ in order}


def recipe_of(row: Row) -> list[str]:
    """As the options of the command."""
    options = []
    for key in RECIPE:
        value = row["settings"][key]
        values = value if isinstance(value, list) else [value]
        options.append(" ".join([f"--{key.replace('_', '-')}", *map(str, values)]))
    return options


def _name(row: Row, usual: Sequence[str]) -> str:
    options = [option for option in recipe_of(row) if option not in usual]
    return ARMS[row["arm"]] + (f"; `{' '.join(options)}`" if options else "")


def _generated(rows: Sequence[Row]) -> str:
    """Nine arms on few normals with generated defects; seed 0."""
    found = {
        (row["category"], row["arm"]): [row]
        for row in rows
        if row["data"] == "mvtec_few" and row["seed"] == 0 and not row["settings"]["weights"]
    }
    lines = [
        [name, *(_auroc_and_ap(found[category, arm], " / ") for category in GENERATED)]
        for arm, name in ARMS.items()
    ]
    return (
        "## Nine arms on few normal images with generated defects\n\n"
        "Not MVTec AD's test set: never compare these with the paper's figures. Preset quick, "
        f"seed 0, pixel AUROC / pixel AP.\n\n{table(['', *GENERATED], lines)}"
    )


def _weights(rows: Sequence[Row]) -> str:
    """Preset, equal and opposite weights: mean and range over seeds."""
    lines = []
    for category in GENERATED:
        found = [row for row in rows if (row["data"], row["category"]) == ("mvtec_few", category)]
        kinds = {
            kind: [row for row in found if _kind_of_weights(row) == kind]
            for kind in ("preset", "equal", "opposite")
        }
        seeds = {tuple(sorted(row["seed"] for row in runs)) for runs in kinds.values()}
        assert len(seeds) == 1, (category, seeds)
        cells = (_auroc_and_ap(runs, "; ") for runs in kinds.values())
        lines.append([f"{category}, {HEAVIEST[category]}", str(len(*seeds)), *cells])
    head = ["category, heaviest term", "seeds", "preset", "equal", "opposite"]
    return (
        "## Do the preset weights help?\n\n"
        "The same data, two stages. Opposite: structure and luminance exchanged. Mean (least to "
        f"greatest) of the seeds, pixel AUROC, then pixel AP.\n\n{table(head, lines)}"
    )


def _kind_of_weights(row: Row) -> str:
    if row["arm"] == "equal-weights":
        return "equal"
    if row["arm"] != "two-stage":
        return "-"
    weights = row["settings"]["weights"]
    if not weights:
        return "preset"
    return "equal" if max(weights) - min(weights) < 1e-3 else "opposite"


def _auroc_and_ap(rows: Sequence[Row], between: str) -> str:
    return between.join(spread_of(rows, "chosen", "all", m) for m in ("pixel_auroc", "pixel_ap"))


def spread_of(rows: Sequence[Row], score: str, part: str, metric: str) -> str:
    return spread(values_of(rows, score, part, metric), percent)


def values_of(rows: Sequence[Row], score: str, part: str, metric: str) -> list[float]:
    values = (row["scores"][score].get(part, {}).get(metric) for row in rows)
    return [value for value in values if value is not None]
