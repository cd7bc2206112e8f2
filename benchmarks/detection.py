"""Results of the two-stage example, gathered from its run folders into one file and one page.

``python -m benchmarks.detection RUN_FOLDER...`` reads every ``metrics.json`` below the folders,
puts them into ``results/detection.json``, in place of earlier runs of the same settings, and writes
the page ``docs/detection.md`` and README's table of arms anew from that file; so it does without
folders. ``--demo RUN_FOLDER`` puts the demo's run into ``results/demo.json`` and changes nothing
else.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common import RESULTS, save
from examples.two_stage.paper import TABLE_1, TABLE_2

PAGE = Path(__file__).parents[1] / "docs" / "detection.md"
ARMS = {
    "two-stage": "two stages: AW-SSIM, then AW-SSIM + LPIPS",
    "ssim+l1": "one stage: SSIM + L1",
    "lpips+ssim": "one stage: LPIPS + SSIM",
    "aw-ssim": "one stage: AW-SSIM",
    "fixed-sigma": "two stages, fixed sigma",
    "equal-weights": "two stages, equal weights",
    "product-ssim": "two stages, SSIM as a product",
    "no-lpips": "two stages, no LPIPS",
    "adga-from-start": "one stage, painted defects from the start",
}
METRICS = {
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "pixel_ap": "pixel AP",
    "image_auroc": "image AUROC",
}
SCORES = {
    "chosen": "chosen on held-out normal images",
    "plain l1": "the paper's residual",
    "input only: gradient": "no training: the input's gradient",
    "input only: distance to mean": "no training: distance to the mean training image",
}
GENERATED = ["carpet", "leather", "wood", "tile", "hazelnut"]
# The term that weighs most in the preset, the paper's direction.
HEAVIEST = dict.fromkeys(GENERATED[:3], "structure") | dict.fromkeys(GENERATED[3:], "luminance")

Row = Mapping[str, Any]


def collect(folders: Iterable[Path]) -> list[dict[str, Any]]:
    return [_row(file) for folder in folders for file in sorted(folder.rglob("metrics.json"))]


def merged(earlier: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """All runs in a fixed order, the new ones in place of earlier ones of the same settings."""
    runs = {_identity(row): row for row in (*earlier, *new)}
    return [runs[identity] for identity in sorted(runs)]


def _identity(row: Row) -> str:
    names = ("data", "category", "arm", "preset", "seed", "settings")
    return json.dumps([row[name] for name in names], sort_keys=True)


def _row(file: Path) -> dict[str, Any]:
    measured = json.loads(file.read_text(encoding="utf-8"))
    saved = yaml.safe_load((file.parent / "settings.yaml").read_text(encoding="utf-8"))
    settings = saved["settings"]
    kept = ("image_size", "patch_size", "width", "stage_1_epochs", "stage_2_epochs", "weights")
    return {
        "data": Path(settings["data_root"] or "demo").name,
        **{key: measured[key] for key in ("category", "arm", "preset", "seed", "device")},
        "settings": {key: settings[key] for key in kept},
        "images": {
            "train": measured["images"]["train"],
            "validation": measured["images"]["validation"],
            "test": sum(measured["images"]["test"].values()),
        },
        "chosen": [
            measured["chosen_on_held_out_normals"][key] for key in ("residual", "smoothing")
        ],
        "dominating_defect": measured["dominating_defect"],
        "seconds": measured["seconds"],
        "scores": {
            score: {
                part: {
                    metric: _rounded(measured["scores"][score][part][metric]) for metric in METRICS
                }
                for part in ("all", "without_dominating", "foreground")
                if measured["scores"][score].get(part)
            }
            for score in SCORES
        },
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


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
    ordered = sorted(rows, key=lambda row: list(ARMS).index(row["arm"]))
    first = ordered[0]
    settings, images = first["settings"], first["images"]
    dominating = first["dominating_defect"]
    head = [*METRICS.values(), "pixel AUROC, paper's residual", "pixel AUROC, foreground"]
    head += [f"pixel AUROC without `{dominating}`"] if dominating else []
    head += ["the paper"]
    lines = [
        f"## {first['category']}, preset {first['preset']}\n",
        f"{settings['image_size']} pixels, patches of {settings['patch_size']}, width "
        f"{settings['width']}, {settings['stage_1_epochs']} + {settings['stage_2_epochs']} epochs, "
        f"seed {first['seed']}, {images['train']} training images, "
        f"{images['validation']} held out, {images['test']} test images, {first['device']}.\n",
        _line(["", *head]),
        _line(["---", *["---:"] * len(head)]),
    ]
    for row in ordered:
        lines.append(_line([ARMS[row["arm"]], *_cells(row, "chosen"), _paper(row)]))
    for score in list(SCORES)[2:]:
        lines.append(_line([SCORES[score], *_cells(first, score), "-"]))
    return "\n".join(lines) + "\n"


def _cells(row: Row, score: str) -> list[str]:
    scores = row["scores"][score]
    cells = [_percent(scores["all"][metric]) for metric in METRICS]
    plain = row["scores"]["plain l1"]["all"]["pixel_auroc"]
    cells.append(_percent(plain) if score == "chosen" else "-")
    cells.append(_percent(scores.get("foreground", {}).get("pixel_auroc")))
    if row["dominating_defect"]:
        cells.append(_percent(scores.get("without_dominating", {}).get("pixel_auroc")))
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
    for score in ("plain l1", "chosen", *list(SCORES)[2:]):
        cells = [
            _percent(row["scores"][score][part][metric])
            for part, metrics in parts.items()
            for metric in metrics
        ]
        lines.append(_line([names[score], *cells]))
    return "\n".join(lines) + "\n"


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
            f"{_spread(runs, 'pixel_auroc')}; {_spread(runs, 'pixel_ap')}" for runs in of.values()
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


def _spread(rows: Sequence[Row], metric: str) -> str:
    values = [row["scores"]["chosen"]["all"][metric] for row in rows]
    spread = f"{_percent(min(values))} to {_percent(max(values))}"
    return f"{_percent(statistics.mean(values))} ({spread})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--demo", type=Path)
    arguments = parser.parse_args()
    folders = arguments.folders
    if arguments.demo:
        print(f"written: {save('demo', {'runs': collect([arguments.demo])})}")
        return
    rows = json.loads((RESULTS / "detection.json").read_text(encoding="utf-8"))["runs"]
    if folders:
        rows = merged(rows, collect(folders))
        save("detection", {"runs": rows})
    PAGE.write_text(page(rows), encoding="utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
