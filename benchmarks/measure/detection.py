"""Figures of the two-stage pipeline, gathered from its run folders (`detection.sh` makes the runs).

Reads every ``metrics.json`` below the folders and puts it into ``results/detection.json``, in place
of an earlier run of the same settings. ``--demo RUN_FOLDER`` puts the demo's run into
``results/demo.json`` and changes nothing else.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from two_stage.report.ranking import criterion
from two_stage.run.settings import Settings
from two_stage.scoring.baselines import CONSTANT

from benchmarks.measure.harness import load, save

METRICS = ("pixel_auroc", "aupro", "pixel_ap", "image_auroc")
SCORES = (
    *("chosen", "plain l1", "input only: gradient", "input only: distance to mean"),
    CONSTANT,
)
# Settings in which runs of one arm in one table may differ.
RECIPE = (
    *("defect_side", "defect_count", "defect_opacity", "defect_feather", "defect_sources"),
    *("skips", "flips", "crops_per_image", "least_patches", "batch_size", "test_stride"),
    *("architecture", "upsampling", "pixel_weight", "repair_weight", "lpips_share", "defect_noise"),
    *("normality", "scored_area", "defect_probability"),
)
KEPT = ("image_size", "patch_size", "width", "stage_1_epochs", "stage_2_epochs", "weights", *RECIPE)

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
    # Files of earlier versions lack later settings, which then have their defaults.
    settings = Settings.from_dict(saved["settings"]).to_dict()
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
        # Image AUROC of held-out normals, clean against painted.
        "painted": _rounded(criterion(measured)),
        "dominating_defect": measured["dominating_defect"],
        "seconds": measured["seconds"],
        # PSNR and SSIM of held-out normals; the oldest runs did not measure them.
        "reconstruction": measured.get("reconstruction_of_held_out"),
        "scores": {
            score: {
                part: {
                    metric: _rounded(measured["scores"][score][part][metric]) for metric in METRICS
                }
                for part in ("all", "without_dominating", "foreground")
                if measured["scores"][score].get(part)
            }
            for score in SCORES
            # The oldest runs were not set beside a constant reconstruction.
            if score in measured["scores"]
        },
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--demo", type=Path)
    arguments = parser.parse_args()
    if arguments.demo:
        path = save("demo", {"runs": collect([arguments.demo])})
    else:
        runs = merged(load("detection")["runs"], collect(arguments.folders))
        path = save("detection", {"runs": runs})
    print(f"written: {path}")


if __name__ == "__main__":
    main()
