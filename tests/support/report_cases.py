"""Made-up figures of a run, and the tables of a Markdown text, for the tests of reports."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
from two_stage.report.tables import MEASURES
from two_stage.scoring.baselines import CONSTANT

NAMES = (
    "plain l1", "chosen", "l1", "aw_ssim", "gradient",
    CONSTANT, "input only: gradient", "input only: distance to mean",
)  # fmt: skip
KINDS = {"crack": 5, "pill_type": 2}
# As many as MVTec AD's pill has.
OFFICIAL_TEST = {"good": 26, "crack": 139, "pill_type": 2}


def make_metrics(category: str = "pill", **changes: Any) -> dict[str, Any]:
    """Metrics in which every figure differs, so that each can be found in the report."""
    values = iter(np.linspace(0.2, 0.95, 400))

    def measures() -> dict[str, float]:
        return {key: float(next(values)) for key in MEASURES}

    scores = {
        name: {
            "all": measures(),
            "foreground": measures(),
            "without_dominating": measures(),
            "by_defect": {kind: measures() for kind in KINDS},
        }
        for name in NAMES
    }
    metrics = {
        "category": category, "arm": "two-stage", "preset": "quick", "seed": 0, "device": "cpu",
        "precision": "no",
        "evaluated": {"date": "2026-01-02 03:04+00:00", "host": "bench-7", "system": "Linux-6",
                      "torch": "2.15.0+cpu"},
        "images": {"train": 240, "validation": 27, "test": {"good": 13, **KINDS}},
        "model": {"parameters": 1234567, "multiply_adds_per_patch": 7654321},
        "seconds": {"stage_1": 1111.0, "evaluation": 2222.0},
        "chosen_on_held_out_normals": {
            "residual": "l1+aw_ssim", "smoothing": 4.0,
            "candidates": [{"residual": "l1", "smoothing": 2.0, "pixel_auroc": 0.1234,
                            "aupro": 0.1345, "criterion": 0.1456}],
            "untrained": {"residual": "gradient", "smoothing": 2.5, "pixel_auroc": 0.1561,
                          "aupro": 0.1672, "criterion": 0.1783},
        },
        "thresholds": {"quantile": 0.995, "pixel": 1.357, "image": 2.468, "held_out": 27,
                       "expected_false_alarms": 1 / 28},
        "dominating_defect": "pill_type",
        "scores": scores,
        "at_threshold": {
            "defective_images_found": 0.8121, "normal_images_flagged": 0.0769,
            "pictures": {"found": 106, "missed": 35, "false_alarms": 17, "passed": 9,
                         "precision": 0.7131, "recall": 0.7242, "f1": 0.7353, "best_f1": 0.7464},
            "pixels": {"precision": 0.6131, "recall": 0.6242, "f1": 0.6353},
        },
        "reconstruction_of_normals": {"psnr": 31.57, "ssim": 0.9135},
        "reconstruction_of_held_out": {"pictures": 27, "network": {"psnr": 30.46, "ssim": 0.9024},
                                       "constant": {"psnr": 12.34, "ssim": 0.1357}},
        "shown": [{"picture": "crack_000", "kind": "crack", "score": 3.579},
                  {"picture": "good_000", "kind": "good", "score": 1.246}],
        "doubts": [],
    }  # fmt: skip
    return copy.deepcopy({**metrics, **changes})


def tables_in(markdown: str) -> list[list[list[str]]]:
    """Cells of each table; a bar that is escaped does not part cells."""
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]
