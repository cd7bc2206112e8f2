"""Checks of the options, and their error texts: what was expected, what came, what to do."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

REDUCTIONS = ("mean", "sum", "none", "image")
PADDINGS = ("valid", "same", "zeros")
WINDOWS = ("gaussian", "uniform")
COVARIANCES = ("population", "sample")


def number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {describe(value)}.")
    # Not math.isfinite: torch.compile(dynamic=True) makes numbers symbols, which only compare.
    comparable: Any = value
    if not -math.inf < comparable < math.inf:
        raise ValueError(f"{name}: expected a finite number, got {value}.")
    return float(value)


def positive_number(name: str, value: Any, advice: str = "") -> float:
    checked = number(name, value)
    if checked <= 0:
        raise ValueError(f"{name}: expected a number greater than 0, got {value}.{advice}")
    return checked


def non_negative_number(name: str, value: Any) -> float:
    checked = number(name, value)
    if checked < 0:
        raise ValueError(f"{name}: expected a number of at least 0, got {value}.")
    return checked


def positive_integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected a whole number, got {describe(value)}.")
    if value <= 0:
        raise ValueError(f"{name}: expected a whole number greater than 0, got {value}.")
    return int(value)


def fraction(name: str, value: Any) -> float:
    checked = number(name, value)
    if not 0 <= checked <= 1:
        raise ValueError(f"{name}: expected a number from 0 to 1, got {value}.")
    return checked


def data_range(value: Any) -> float | Tensor:
    """A number, or a tensor of one for each image, whose values are not read."""
    if not isinstance(value, Tensor):
        return data_range_number(value)
    if value.ndim > 1:
        raise ValueError(
            f"data_range: expected a number, or a tensor with one or N values for N images, got "
            f"shape {tuple(value.shape)}. Use data_range.flatten() if it has N values."
        )
    if not value.is_floating_point():
        raise TypeError(
            f"data_range: expected a floating-point tensor, got {value.dtype}. "
            "Use data_range.float()."
        )
    return value


def data_range_number(value: Any) -> float:
    advice = " It is the span of possible pixel values: 1.0 for images in [0, 1], 255 for [0, 255]."
    checked = positive_number("data_range", value, advice)
    # Images and gradients are divided by it in float32, which holds no numbers far beyond these.
    if not 1e-30 <= checked <= 1e30:
        raise ValueError(f"data_range: expected a number from 1e-30 to 1e30, got {value}.{advice}")
    return checked


def value_range(value: Any, span: Any) -> tuple[float, float]:
    """The lowest value and the span, from a pair, or from the span alone: then it starts at 0."""
    if value is None:
        return 0.0, data_range_number(span)
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise TypeError(
            f"value_range: expected the lowest and the highest value, such as (-1, 1), got "
            f"{describe(value)}."
        )
    low, high = (number("value_range", one) for one in value)
    if low >= high:
        raise ValueError(
            f"value_range: expected the lowest value first, got ({low:g}, {high:g}). "
            f"Use ({high:g}, {low:g})."
        )
    if span not in (1.0, high - low):
        raise ValueError(
            f"data_range: expected nothing beside value_range, got {span}. Leave data_range out; "
            f"it is {high - low:g}."
        )
    return low, data_range_number(high - low)


def window_size(value: Any) -> int:
    one_for_all_axes("window_size", value, "11")
    checked = positive_integer("window_size", value)
    if checked % 2 == 0:
        raise ValueError(
            f"window_size: expected an odd number, got {checked}. A window has a centre tap; "
            f"use {checked - 1} or {checked + 1}."
        )
    return checked


def one_for_all_axes(name: str, value: Any, example: str) -> None:
    if isinstance(value, (tuple, list)):
        raise TypeError(
            f"{name}: expected one number for all axes, got {value}. The window is as wide along "
            f"each; use one value, such as {name}={example}."
        )


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        valid = ", ".join(repr(item) for item in allowed)
        raise ValueError(f"{name}: expected one of {valid}, got {value!r}.")
    return str(value)


def weights(value: Any) -> tuple[float, float, float]:
    """Three weights divided by their sum, from three non-negative numbers."""
    example = " For example weights=(0.25, 0.25, 0.5), or a category's name such as 'carpet'."
    expected = "weights: expected three numbers (luminance, contrast, structure)"
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise TypeError(f"{expected}, got {describe(value)}.{example}")
    if len(value) != 3:
        raise ValueError(f"{expected}, got {len(value)} values.{example}")
    names = ("luminance", "contrast", "structure")
    checked = [
        non_negative_number(f"weights, {name}", item)
        for name, item in zip(names, value, strict=True)
    ]
    total = sum(checked)
    if total == 0:
        raise ValueError(f"{expected}, not all of them 0, got {tuple(value)}.{example}")
    # Not math.isfinite: see `number`.
    if not total < math.inf:
        raise ValueError(f"{expected} with a finite sum, got {tuple(value)}.{example}")
    luminance, contrast, structure = (item / total for item in checked)
    return luminance, contrast, structure


def scale_weights(value: Any) -> tuple[float, ...]:
    """Positive numbers, one for each scale."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) == 0:
        raise TypeError(
            "scale_weights: expected a weight for each scale, finest first, such as "
            f"(0.5, 0.3, 0.2), got {describe(value)}."
        )
    return tuple(positive_number("scale_weights", one) for one in value)


def sigma(value: Any) -> float | Tensor:
    """A positive number, or a 0-dim floating tensor whose value is not read."""
    one_for_all_axes("sigma", value, "1.5")
    if not isinstance(value, Tensor):
        return positive_number("sigma", value, " It is the window's standard deviation in pixels.")
    if value.ndim != 0:
        raise ValueError(
            f"sigma: expected a number or a 0-dim tensor, got a tensor of shape "
            f"{tuple(value.shape)}. Use sigma.squeeze() or sigma[i]."
        )
    if not value.is_floating_point():
        raise TypeError(
            f"sigma: expected a floating-point tensor, got {value.dtype}. Use sigma.float()."
        )
    return value


def no_schedule(sigma: Any) -> None:
    if not isinstance(sigma, (int, float)):
        raise ValueError(
            "window: 'uniform' has no sigma, and a tensor or schedule was passed as sigma. Leave "
            "sigma out, or use window='gaussian'."
        )


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {describe(value)}.")
    return value


def loss_of_this_package(loss: Any, kind: type) -> None:
    """A loss whose options, window and reduction the L1 term can follow."""
    if not isinstance(loss, kind):
        raise TypeError(
            f"structural: expected SSIMLoss, AWSSIMLoss, MSSSIMLoss or MSAWSSIMLoss, got "
            f"{describe(loss)}. Add torch.nn.functional.l1_loss to another loss yourself."
        )


def structural_loss(loss: Any, expected_range: float) -> None:
    """A module that gives a mean, on the same range of values as the perceptual term."""
    if not isinstance(loss, torch.nn.Module):
        raise TypeError(f"structural: expected a loss module, got {describe(loss)}.")
    reduction = getattr(loss, "reduction", "mean")
    if reduction != "mean":
        raise ValueError(
            f"structural: expected reduction='mean', got {reduction!r}. LPIPS is one number for "
            "an image; a sum or a map cannot be mixed with it."
        )
    own_range = getattr(loss, "data_range", expected_range)
    if isinstance(own_range, Tensor) or own_range != expected_range:
        raise ValueError(
            f"structural: expected data_range={expected_range:g} as in this loss, got "
            f"{own_range}. Pass one data_range to both, the span of value_range if you pass that."
        )


def perceptual_module(module: Any, trunk_weights: Any) -> None:
    if module is None:
        return
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"perceptual: expected a torch.nn.Module, got {describe(module)}.")
    if trunk_weights is not None:
        raise ValueError(
            "trunk_weights: expected None beside `perceptual`, got both. The weights are for "
            "the LPIPS built here; load yours into your own module."
        )


def describe(value: Any) -> str:
    if isinstance(value, (str, int, float)):
        return repr(value)
    return f"an object of type {type(value).__name__}"
