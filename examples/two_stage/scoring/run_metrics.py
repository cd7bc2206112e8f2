"""The parts of `metrics.json`: about the run, what was chosen, and what the test images gave."""

from __future__ import annotations

import datetime
import platform
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from ..pictures.foreground import share_beyond
from ..run.groups import Scoring
from ..run.run import Run
from ..training.data import RunData
from ..training.model import count_multiply_adds, count_parameters
from .metrics import Scores, best_image_f1
from .scorer import Scorer
from .selection import Choice
from .thresholds import expected_false_alarms, pictures_at, pixels_at


def about_run(model: nn.Module, data: RunData, run: Run) -> dict[str, Any]:
    settings, precision = run.settings, run.settings.training.mixed_precision
    return {
        "category": settings.data.category,
        "arm": settings.stages.arm,
        "preset": settings.preset,
        "seed": settings.training.seed,
        "device": device_name(run.device),
        "precision": "float32" if precision == "no" else precision,
        "evaluated": when_and_where(),
        "images": {
            "train": len(data.train),
            "validation": len(data.held_out),
            "test": dict(Counter(sample.defect for sample in data.test)),
        },
        "notes": [str(note) for note in data.notes],
        "model": {
            "parameters": count_parameters(model),
            "multiply_adds_per_patch": count_multiply_adds(
                model, settings.data.channels, settings.training.patch_size
            ),
        },
    }


def when_and_where() -> dict[str, str]:
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(" ", "minutes"),
        "host": platform.node(),
        "system": platform.platform(),
        "torch": torch.__version__,
    }


def about_choice(
    choice: Choice, untrained: Choice, data: RunData, scoring: Scoring
) -> dict[str, Any]:
    scorer, held_out = choice.scorer, choice.scorer.held_out
    return {
        "chosen_on_held_out_normals": {
            "residual": scorer.residual,
            "smoothing": scorer.smoothing,
            "normality": choice.candidates[0]["normality"],
            "scored_area": _about_area(choice.normality.area, data.held_out_foregrounds),
            "candidates": choice.candidates,
            # Of the constant reconstruction, the best alone.
            "untrained": untrained.candidates[0],
        },
        "thresholds": {
            "quantile": scoring.threshold_quantile,
            "pixel": scorer.pixel_threshold,
            "image": scorer.image_threshold,
            "held_out": held_out,
            "expected_false_alarms": expected_false_alarms(held_out, scoring.threshold_quantile),
        },
    }


def _about_area(area: Tensor | None, held_out: Tensor | None) -> dict[str, float] | None:
    """Shares of the picture that are scored, and of held-out products that are not."""
    if area is None or held_out is None:
        return None
    beyond = share_beyond(held_out, area.to(held_out.device))
    return {"share": float(area.float().mean()), "product_beyond": beyond}


def about_test(
    scores: Scores, normal: list[float], defective: list[float], scorer: Scorer
) -> dict[str, Any]:
    """Every figure of the test images; `normal` and `defective` are their own scores."""
    pictures = pictures_at(normal, defective, scorer.image_threshold)
    counts = scores.pixels_of("chosen")
    flagged = pictures["false_alarms"] / len(normal) if normal else None
    return {
        "dominating_defect": scores.dominating() if scores.names() else None,
        "scores": scores.table(),
        "at_threshold": {
            "defective_images_found": pictures["recall"],
            "normal_images_flagged": flagged,
            "pictures": pictures | {"best_f1": best_image_f1(normal, defective)},
            "pixels": pixels_at(counts, scorer.pixel_threshold),
        },
    }


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"
