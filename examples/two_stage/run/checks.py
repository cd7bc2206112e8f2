"""What settings may be: types and bounds, for command lines and for the files of strangers."""

from __future__ import annotations

import dataclasses
import math
import reprlib
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from .errors import UserError

# Least and largest value. The largest lie far above all that is of use: no slip of the pen and no
# stranger's file should ask for the whole memory.
BOUNDS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "image_size": (32, 8192),
    "patch_size": (32, 8192),
    "width": (1, 1024),
    "latent_channels": (1, 65536),
    "stage_1_epochs": (0, 10**6),
    "stage_2_epochs": (0, 10**6),
    "crops_per_image": (1, 65536),
    "batch_size": (1, 65536),
    "learning_rate": (0, 100),
    "input_noise": (0, 100),
    "defect_probability": (0, 1),
    "mix": (0, 1),
    "sigma_start": (1e-6, 8192),
    "sigma_end": (1e-6, 8192),
    "smoothing": (0, 8192),
    "pictures_per_type": (0, 10**6),
    "checkpoint_steps": (1, 10**9),
}


def check_settings(settings: Any) -> None:
    """Raise a UserError that names the setting, what was expected and what came."""
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value, expected = getattr(settings, field.name), hints[field.name]
        if not fits(value, expected):
            raise UserError(f"{field.name} must be {describe(expected)}, got {brief(value)}")
        if field.name in BOUNDS and value is not None:
            low, high = BOUNDS[field.name]
            if not low <= value <= high:
                raise UserError(
                    f"{field.name} must be from {low:,} to {high:,}, got {brief(value)}"
                )
    _check_sizes(settings)
    _check_training(settings)


def brief(value: object) -> str:
    """A value for a message: a few lines of YAML can hold one that would print as gigabytes."""
    shortened = reprlib.Repr()
    shortened.maxlevel = 2
    return shortened.repr(value)


def fits(value: object, expected: Any) -> bool:
    """Whether a value is of an annotation's type; of numbers, whether it is finite too."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if expected in (int, float):
        kinds = (int, float) if expected is float else int
        # True is an int to Python, and no number to anyone else.
        number = isinstance(value, kinds) and not isinstance(value, bool)
        return number and -math.inf < value < math.inf
    return isinstance(value, expected)


def describe(expected: Any) -> str:
    """An annotation in words."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(one) for one in arguments)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"a list, each {describe(arguments[0])}"
        return f"{len(arguments)} values, each {describe(arguments[0])}"
    words = {int: "a whole number", float: "a finite number", bool: "true or false"}
    words |= {str: "a text", Path: "a path", type(None): "nothing"}
    return words[expected]


def _check_sizes(settings: Any) -> None:
    image, patch = settings.image_size, settings.patch_size
    if patch % 32:
        raise UserError(f"patch_size must be a multiple of 32, got {patch}")
    if image < patch:
        raise UserError(f"image_size ({image}) must be at least patch_size ({patch})")
    if settings.patches == "grid" and image % patch:
        raise UserError(
            f"a grid of patches needs an image_size that is a multiple of patch_size ({patch}), "
            f"got {image}"
        )
    if not 1 <= settings.test_stride <= patch // 2:
        raise UserError(
            f"test_stride must be from 1 to half of patch_size ({patch // 2}), so that test "
            f"patches overlap; got {settings.test_stride}"
        )


def _check_training(settings: Any) -> None:
    # Results are written to folders that carry its name.
    if settings.category != Path(settings.category).name:
        raise UserError(
            f"category must be the name of a folder below data_root, got {settings.category!r}"
        )
    for name in ("validation_share", "threshold_quantile"):
        if not 0 < getattr(settings, name) < 1:
            raise UserError(f"{name} must lie between 0 and 1, got {getattr(settings, name)}")
    for name in ("defect_count", "defect_side", "defect_opacity", "defect_feather"):
        low, high = getattr(settings, name)
        if not 0 < low <= high:
            raise UserError(
                f"{name} takes a least and a largest value, both positive; got {low} {high}"
            )
    if settings.sigma_end < settings.sigma_start:
        raise UserError(
            f"sigma_end ({settings.sigma_end}) must be at least sigma_start "
            f"({settings.sigma_start}): the window grows"
        )
    if settings.weights is not None and not (min(settings.weights) >= 0 < max(settings.weights)):
        raise UserError(f"weights must be at least 0 and not all 0, got {settings.weights}")
    if not settings.defect_sources:
        raise UserError("defect_sources is empty; name at least one, such as same")
    if ("folder" in settings.defect_sources) != (settings.texture_folder is not None):
        raise UserError(
            "the source folder and --texture-folder go together; got defect_sources "
            f"{settings.defect_sources} and texture_folder {settings.texture_folder}"
        )
