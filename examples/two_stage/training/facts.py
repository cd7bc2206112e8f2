"""Everything that the weights after some stages depend on: two runs that share it share weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..run.groups import Data, Defects, Network, Training
from ..run.settings import Settings, plain
from .losses import Stage

# Fields that came after version 0.1, with the values at which training is as it was.
LATER = {
    "white": None,
    "architecture": "paper",
    "upsampling": "transposed",
    "least_patches": 0,
    "pixel_weight": 0.0,
    "repair_weight": 0.0,
    "lpips_share": 1.0,
}


def describe_training(settings: Settings, stages: tuple[Stage, ...]) -> dict[str, Any]:
    """Everything that the weights after `stages` depend on."""
    values = settings.to_dict(Data, Network, Training, Defects)
    return {
        "stages": [_without(LATER, plain(dataclasses.asdict(stage))) for stage in stages],
        "settings": _without(LATER, values),
    }


def _without(unchanged: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Weights of earlier versions do not know of fields that change nothing."""
    return {
        name: value
        for name, value in values.items()
        if name not in unchanged or value != unchanged[name]
    }
