"""Results of the two-stage example, gathered from its run folders into one file and one page.

``python -m benchmarks.detection RUN_FOLDER...`` reads every ``metrics.json`` below the folders,
puts them into ``results/detection.json``, in place of earlier runs of the same settings, and writes
the page ``docs/detection.md`` and README's table of arms anew from that file; so it does without
folders. ``--demo RUN_FOLDER`` puts the demo's run into ``results/demo.json`` and changes nothing
else.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common import RESULTS, save
from benchmarks.detection_page import METRICS, RECIPE, SCORES, Row, page, readme_arms

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs" / "detection.md", ROOT / "README.md"
# Of the settings, those that the tables' runs differ in.
KEPT = (*("image_size", "patch_size", "width", "stage_1_epochs", "stage_2_epochs"), "weights")
KEPT += RECIPE


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
    return {
        "data": Path(settings["data_root"] or "demo").name,
        **{key: measured[key] for key in ("category", "arm", "preset", "seed", "device")},
        "settings": {key: settings[key] for key in KEPT},
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


def with_table(text: str, table: str) -> str:
    """A text with a table in place of the one of the same first line."""
    head = table.partition("\n")[0] + "\n"
    before, found, after = text.partition(head)
    if not found:
        raise ValueError(f"expected a table that begins with {head!r}")
    rest = itertools.dropwhile(lambda line: line.startswith("|"), after.splitlines(keepends=True))
    return before + table + "".join(rest)


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
    text = with_table(README.read_text(encoding="utf-8"), readme_arms(rows))
    README.write_text(text, encoding="utf-8")
    print(f"written: {PAGE}, {README}")


if __name__ == "__main__":
    main()
