"""Made-up figures of a run, and the tables of a Markdown text, for the tests of reports."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
from two_stage.report.tables import MEASURES

NAMES = (
    "plain l1", "chosen", "l1", "aw_ssim", "gradient",
    "input only: gradient", "input only: distance to mean",
)  # fmt: skip
KINDS = {"crack": 5, "pill_type": 2}


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
        "images": {"train": 240, "validation": 27, "test": {"good": 13, **KINDS}},
        "model": {"parameters": 1234567, "multiply_adds_per_patch": 7654321},
        "seconds": {"stage_1": 1111.0, "evaluation": 2222.0},
        "chosen_on_held_out_normals": {
            "residual": "l1+aw_ssim", "smoothing": 4.0,
            "candidates": [{"residual": "l1", "smoothing": 2.0, "pixel_auroc": 0.1234,
                            "aupro": 0.1345, "criterion": 0.1456}],
        },
        "thresholds": {"quantile": 0.995, "pixel": 1.357, "image": 2.468},
        "dominating_defect": "pill_type",
        "scores": scores,
        "at_threshold": {"defective_images_found": 0.8121, "normal_images_flagged": 0.0769},
        "reconstruction_of_normals": {"psnr": 31.57, "ssim": 0.9135},
    }  # fmt: skip
    return copy.deepcopy({**metrics, **changes})


def tables_in(markdown: str) -> list[list[list[str]]]:
    """Cells of each table; a bar that is escaped does not part cells."""
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]
