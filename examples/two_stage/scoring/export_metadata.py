"""All that a program needs to use an exported graph, in words and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..run.groups import Data
from .exported_graph import IMAGE_AXES, INPUT, PICTURE, PICTURE_AXES, Depth, white_of_depth
from .thresholds import origin_of_image_threshold, origin_of_pixel_threshold
from .trained_run import TrainedRun

# What no graph can do, since it happens where a file is read.
READING = (
    "take the first picture of a file that holds several",
    "turn it upright: apply its EXIF orientation",
    "make a palette's numbers the colours they stand for",
    "make transparent parts black: each channel times alpha / 255, rounded; then drop alpha",
)


def describe(run: TrainedRun, folder: Path, depth: Depth) -> dict[str, Any]:
    """What lies in the files themselves, and in metadata.json."""
    return {**_prepared(run.settings.data), "picture": _picture(run, depth), **_origin(run, folder)}


def _prepared(data: Data) -> dict[str, Any]:
    size, channels = data.image_size, data.channels
    grey = "grey as (19595 red + 38470 green + 7471 blue + 32768) / 65536, rounded down"
    return {
        "input": {
            "name": INPUT,
            "shape": [*IMAGE_AXES, channels, size, size],
            "dtype": "float32",
            "range": [0, 1],
            "preprocessing": [
                *READING,
                "convert to RGB: of grey all three channels" if channels == 3 else grey,
                f"resize to {size} x {size}, bilinear with antialiasing as Pillow's BILINEAR: 8 "
                "bits to 8 bits, deeper grey to floats",
                "divide by the value of white, no more than 1: 255 for 8 bits, "
                f"{white_of_depth('uint16', data):g} for more",
                "order as batch, channels, rows, columns",
            ],
        },
        "outputs": _outputs([*IMAGE_AXES], data),
    }


def _picture(run: TrainedRun, depth: Depth) -> dict[str, Any]:
    data = run.settings.data
    return {
        "input": {
            "name": PICTURE,
            "shape": [*PICTURE_AXES],
            "dtype": depth,
            "white": white_of_depth(depth, data),
            "channels": "1 for grey, or 3 for red, green, blue; any height and width",
            "preprocessing": [*READING, "the rest, from colour and size on, is in the graph"],
        },
        "outputs": {
            **_outputs([], data),
            "defective": {
                "shape": [],
                "dtype": "bool",
                "meaning": "whether image_score lies above the image threshold, or is no number",
            },
            "defective_pixels": {
                "shape": [data.image_size, data.image_size],
                "dtype": "bool",
                "meaning": "where anomaly_map lies above the pixel threshold",
            },
        },
    }


def _outputs(batch: list[str], data: Data) -> dict[str, Any]:
    size = data.image_size
    return {
        "reconstruction": {
            "shape": [*batch, data.channels, size, size],
            "dtype": "float32",
            "range": [0, 1],
        },
        "anomaly_map": {
            "shape": [*batch, size, size],
            "dtype": "float32",
            "meaning": "larger where a defect is likelier; in spreads of normal images",
        },
        "image_score": {
            "shape": [*batch],
            "dtype": "float32",
            "meaning": "the map's largest value",
        },
    }


def _origin(run: TrainedRun, folder: Path) -> dict[str, Any]:
    settings, scorer = run.settings, run.scorer
    share = settings.scoring.threshold_quantile
    return {
        "thresholds": {
            "pixel": scorer.pixel_threshold,
            "image": scorer.image_threshold,
            "quantile": share,
            "origin": {
                "image": origin_of_image_threshold(share, scorer.held_out),
                "pixel": origin_of_pixel_threshold(share, scorer.held_out),
            },
            "meaning": "defective is what lies above",
        },
        "run": {
            "folder": folder.resolve().name,
            "category": settings.data.category,
            "arm": settings.stages.arm,
            "preset": settings.preset,
            "residual": scorer.residual,
            "smoothing": scorer.smoothing,
            "patch_size": settings.test_patch_size(),
            "test_stride": settings.scoring.test_stride,
        },
    }
