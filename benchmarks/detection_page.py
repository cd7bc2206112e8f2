"""The page docs/detection.md and README's tables, from rows of `detection.py`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from examples.two_stage.report.paper import TABLE_1
from examples.two_stage.report.tables import MEASURES
from examples.two_stage.run import arms

ARMS = {name: arm.title for name, arm in arms.ARMS.items()}
TABLE_2 = {name: arm.table_2 for name, arm in arms.ARMS.items() if arm.table_2}

# In this page's order.
METRICS = {name: MEASURES[name] for name in ("pixel_auroc", "aupro", "pixel_ap", "image_auroc")}
SCORES = {
    "chosen": "chosen on held-out normal images",
    "plain l1": "the paper's residual",
    "input only: gradient": "no training: the input's gradient",
    "input only: distance to mean": "no training: distance to the mean training image",
}
UNTRAINED = list(SCORES)[2:]
GENERATED = ["carpet", "leather", "wood", "tile", "hazelnut"]
# The term that weighs most in the preset, the paper's direction.
HEAVIEST = dict.fromkeys(GENERATED[:3], "structure") | dict.fromkeys(GENERATED[3:], "luminance")

# What may differ between runs of one arm in one table.
RECIPE = (
    *("defect_side", "defect_count", "defect_opacity", "defect_feather", "defect_sources"),
    *("skips", "flips", "crops_per_image"),
)

Row = Mapping[str, Any]


def page(rows: Sequence[Row]) -> str:
    """The whole of docs/detection.md."""
    parts = [
        "# Detection, measured\n\nWritten by `python -m benchmarks.detection` from "
        "`benchmarks/results/detection.json`. Percent; what it says is in the "
        "[reproduction report](reproduction.md).\n"
    ]
    cases = [("pill", "quick"), ("grid", "quick"), ("magnetic_tile", None), ("pill", "paper")]
    for category, preset in cases:
        found = [
            row for row in rows if row["category"] == category and preset in (None, row["preset"])
        ]
        if found:
            parts.append(_category(found))
    parts += [_generated(rows), _weights(rows)]
    return "\n".join(parts)


def _category(rows: Sequence[Row]) -> str:
    """One table: each arm, mean and spread over its seeds, then what needs no training."""
    of_name = by_name(rows)
    first_arm = next(iter(of_name.values()))
    first = first_arm[0]
    settings, images = first["settings"], first["images"]
    dominating = first["dominating_defect"]
    devices = " or ".join(sorted({row["device"] for row in rows}))
    head = [*METRICS.values(), "pixel AUROC, paper's residual", "pixel AUROC, foreground"]
    head += [f"pixel AUROC without `{dominating}`"] if dominating else []
    head += ["the paper", "seeds"]
    lines = [
        f"## {first['category']}, preset {first['preset']}\n",
        f"{settings['image_size']} pixels, patches of {settings['patch_size']}, width "
        f"{settings['width']}, {settings['stage_1_epochs']} + {settings['stage_2_epochs']} epochs, "
        f"{images['train']} training images, {images['validation']} held out, {images['test']} "
        f"test images; {devices}. Mean (least to greatest) of the seeds.\n",
        _line(["", *head]),
        _line(["---", *["---:"] * len(head)]),
    ]
    for name, found in of_name.items():
        seeds = ", ".join(str(row["seed"]) for row in found)
        lines.append(_line([name, *_cells(found, "chosen"), _paper(found[0]), seeds]))
    # They are smoothed as the first arm's own map is.
    for score in UNTRAINED:
        lines.append(_line([SCORES[score], *_cells(first_arm, score), "-", "-"]))
    return "\n".join(lines) + "\n"


def by_name(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The runs of each arm and, where they differ, of each recipe."""
    usual = {}
    for category in {row["category"] for row in rows}:
        recipes = [_recipe(row) for row in rows if row["category"] == category]
        usual[category] = max(recipes, key=recipes.count)
    names = [_name(row, usual[row["category"]]) for row in rows]
    order = sorted(
        zip(names, rows, strict=True),
        key=lambda pair: (list(ARMS).index(pair[1]["arm"]), pair[0], pair[1]["seed"]),
    )
    return {name: [row for other, row in order if other == name] for name, _ in order}


def _recipe(row: Row) -> list[str]:
    """As the options of the command."""
    options = []
    for key in RECIPE:
        value = row["settings"][key]
        values = value if isinstance(value, list) else [value]
        options.append(" ".join([f"--{key.replace('_', '-')}", *map(str, values)]))
    return options


def _name(row: Row, usual: Sequence[str]) -> str:
    options = [option for option in _recipe(row) if option not in usual]
    return ARMS[row["arm"]] + (f"; `{' '.join(options)}`" if options else "")


def _cells(rows: Sequence[Row], score: str) -> list[str]:
    cells = [_spread(rows, score, "all", metric) for metric in METRICS]
    cells.append(_spread(rows, "plain l1", "all", "pixel_auroc") if score == "chosen" else "-")
    cells.append(_spread(rows, score, "foreground", "pixel_auroc"))
    if rows[0]["dominating_defect"]:
        cells.append(_spread(rows, score, "without_dominating", "pixel_auroc"))
    return cells


def _paper(row: Row) -> str:
    if row["category"] not in TABLE_1:
        return "-"
    if row["arm"] == "two-stage":
        return f"{TABLE_1[row['category']]:.2f}"
    return f"{TABLE_2[row['arm']]:.2f} (hazelnut)" if row["arm"] in TABLE_2 else "-"


def readme_table(row: Row) -> str:
    """README's table of one run: the two residuals, and what needs no training."""
    parts = {"all": METRICS}
    if row["dominating_defect"]:
        parts["without_dominating"] = {
            "pixel_auroc": f"pixel AUROC without `{row['dominating_defect']}`"
        }
    head = [title for metrics in parts.values() for title in metrics.values()]
    lines = [_line(["", *head]), _line(["---", *["---:"] * len(head)])]
    names = SCORES | {
        "chosen": f"**{SCORES['chosen']}**",
        "plain l1": f"{SCORES['plain l1']}, mean abs(x - x')",
    }
    for score in ("plain l1", "chosen", *UNTRAINED):
        cells = [
            _percent(row["scores"][score][part][metric])
            for part, metrics in parts.items()
            for metric in metrics
        ]
        lines.append(_line([names[score], *cells]))
    return "\n".join(lines) + "\n"


def readme_arms(rows: Sequence[Row]) -> str:
    """README's table: the paper's arms on real defects, pixel AUROC / mean pixel AP."""
    categories = ("grid", "pill", "magnetic_tile")
    lines = [_line(["", *categories, "the same, `uneven` left out"]), _line(["---"] * 5)]
    quick = [row for row in rows if row["preset"] == "quick" and row["category"] in categories]
    arms = {name: runs for name, runs in by_name(quick).items() if name in ARMS.values()}
    for name, runs in arms.items():
        lines.append(_line([name, *_auroc_and_ap(_by_category(runs, categories), "chosen")]))
    two_stage = _by_category(arms[ARMS["two-stage"]], categories)
    for score in UNTRAINED:
        lines.append(_line([SCORES[score], *_auroc_and_ap(two_stage, score)]))
    return "\n".join(lines) + "\n"


def _by_category(rows: Sequence[Row], categories: Sequence[str]) -> list[list[Row]]:
    return [[row for row in rows if row["category"] == category] for category in categories]


def _auroc_and_ap(found: Sequence[Sequence[Row]], score: str) -> list[str]:
    cells = [
        f"{_spread(runs, score, 'all', 'pixel_auroc')} / {_mean(runs, score, 'all', 'pixel_ap')}"
        for runs in found
    ]
    return [*cells, _spread(found[-1], score, "without_dominating", "pixel_auroc")]


def _generated(rows: Sequence[Row]) -> str:
    """Nine arms on few normals with generated defects; seed 0."""
    found = {
        (row["category"], row["arm"]): row
        for row in rows
        if row["data"] == "mvtec_few" and row["seed"] == 0 and not row["settings"]["weights"]
    }
    lines = [
        "## Nine arms on few normal images with generated defects\n",
        "Not MVTec AD's test set, and never to be set beside the paper's figures. Preset quick, "
        "seed 0, pixel AUROC / pixel AP.\n",
        _line(["", *GENERATED]),
        _line(["---", *["---:"] * len(GENERATED)]),
    ]
    for arm, name in ARMS.items():
        scores = [found[category, arm]["scores"]["chosen"]["all"] for category in GENERATED]
        cells = [f"{_percent(s['pixel_auroc'])} / {_percent(s['pixel_ap'])}" for s in scores]
        lines.append(_line([name, *cells]))
    return "\n".join(lines) + "\n"


def _weights(rows: Sequence[Row]) -> str:
    """Preset, equal and opposite weights: mean and range over seeds."""
    lines = [
        "## Do the preset weights help?\n",
        "The same data, two stages. Opposite: structure and luminance exchanged. Mean (least to "
        "greatest) of the seeds, pixel AUROC, then pixel AP.\n",
        _line(["category, heaviest term", "seeds", "preset", "equal", "opposite"]),
        _line(["---", "---:", "---:", "---:", "---:"]),
    ]
    for category in GENERATED:
        of = {
            kind: [
                row
                for row in rows
                if row["data"] == "mvtec_few"
                and row["category"] == category
                and _kind_of_weights(row) == kind
            ]
            for kind in ("preset", "equal", "opposite")
        }
        seeds = {tuple(sorted(row["seed"] for row in runs)) for runs in of.values()}
        assert len(seeds) == 1, (category, seeds)
        cells = [
            "; ".join(
                _spread(runs, "chosen", "all", metric) for metric in ("pixel_auroc", "pixel_ap")
            )
            for runs in of.values()
        ]
        lines.append(_line([f"{category}, {HEAVIEST[category]}", str(len(*seeds)), *cells]))
    return "\n".join(lines) + "\n"


def _kind_of_weights(row: Row) -> str:
    if row["arm"] == "equal-weights":
        return "equal"
    if row["arm"] != "two-stage":
        return "-"
    weights = row["settings"]["weights"]
    if not weights:
        return "preset"
    return "equal" if max(weights) - min(weights) < 1e-3 else "opposite"


def _spread(rows: Sequence[Row], score: str, part: str, metric: str) -> str:
    """Mean (least to greatest) of some runs, in percent; the mean alone where all agree."""
    mean, values = _mean(rows, score, part, metric), _values(rows, score, part, metric)
    if not values or _percent(min(values)) == _percent(max(values)):
        return mean
    return f"{mean} ({_percent(min(values))} to {_percent(max(values))})"


def _mean(rows: Sequence[Row], score: str, part: str, metric: str) -> str:
    values = _values(rows, score, part, metric)
    return _percent(statistics.mean(values) if values else None)


def _values(rows: Sequence[Row], score: str, part: str, metric: str) -> list[float]:
    values = (row["scores"][score].get(part, {}).get(metric) for row in rows)
    return [value for value in values if value is not None]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
