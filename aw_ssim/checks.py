"""Every check of the arguments, and every error text: what was expected, what came, what to do.

The checks read shapes, dtypes and devices, never the values of images, so that they neither
synchronise a device nor break a compiled graph. The one exception is a mask, see `mask_values`.
"""

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
        raise TypeError(f"{name}: expected a number, got {_describe(value)}.")
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
        raise TypeError(f"{name}: expected a whole number, got {_describe(value)}.")
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
            f"{_describe(value)}."
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


def target_in_range(target: Tensor, mask: Tensor | None, low: float, span: float) -> None:
    """A target that is not far outside its range; reads values, in eager mode alone."""
    if torch.compiler.is_compiling() or inside_torch_func():
        return
    with torch.no_grad():
        shown = target if mask is None else target[(mask > 0).expand(target.shape)]
        least, most = (float(value) for value in shown.aminmax()) if shown.numel() else (low, low)
    # A little beyond is what filters and augmentation make.
    if least < low - span / 4 or most > low + 1.25 * span:
        raise ValueError(
            f"target: expected values from {low:g} to {low + span:g}, got {least:.4g} to "
            f"{most:.4g}. Pass value_range=(lowest, highest), such as value_range=(-1, 1), or "
            "data_range for images that start at 0."
        )


def range_for_each(value: Tensor, image: Tensor) -> None:
    """A tensor of ranges that fits a batch."""
    if value.ndim == 1 and value.shape[0] not in (1, image.shape[0]):
        raise ValueError(
            f"data_range: expected one value, or one for each of {image.shape[0]} images, got "
            f"{value.shape[0]} values. Select those of this batch."
        )


def window_size(value: Any) -> int:
    checked = positive_integer("window_size", value)
    if checked % 2 == 0:
        raise ValueError(
            f"window_size: expected an odd number, got {checked}. A window has a centre tap; "
            f"use {checked - 1} or {checked + 1}."
        )
    return checked


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
        raise TypeError(f"{expected}, got {_describe(value)}.{example}")
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
            f"(0.5, 0.3, 0.2), got {_describe(value)}."
        )
    return tuple(positive_number("scale_weights", one) for one in value)


def sigma(value: Any) -> float | Tensor:
    """A positive number, or a 0-dim floating tensor whose value is not read."""
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


def images(x: Any, y: Any, names: tuple[str, str]) -> None:
    """Two floating N x C x H x W tensors of one shape and device."""
    for name, image in zip(names, (x, y), strict=True):
        if not isinstance(image, Tensor):
            raise TypeError(
                f"{name}: expected a torch.Tensor of shape N x C x H x W, got {_describe(image)}."
                f" Use torch.as_tensor({name})."
            )
        _floating(name, image)
        if image.ndim != 4:
            raise ValueError(
                f"{name}: expected 4 dimensions N x C x H x W, got shape {tuple(image.shape)}. "
                f"Add what is missing, for example {name}.unsqueeze(0)."
            )
    first, second = names
    if x.shape != y.shape:
        raise ValueError(
            f"{first} and {second}: expected one shape, got {tuple(x.shape)} and "
            f"{tuple(y.shape)}. Images are not broadcast; use expand if that is meant."
        )
    if x.device != y.device:
        raise ValueError(
            f"{first} and {second}: expected one device, got {x.device} and {y.device}. "
            f"Use {second}.to({first}.device)."
        )
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(
            f"{first}: expected at least one image and one channel, got shape "
            f"{tuple(x.shape)}. Skip an empty batch: its mean is not defined."
        )


def image_size(image: Tensor, name: str, smallest: int, padding: str) -> None:
    """Height and width that a window, or its mirror image, fits into."""
    if min(image.shape[2:]) >= smallest:
        return
    what = {
        "valid": "window_size",
        "same": "window_size // 2 + 1, which reflection takes",
    }[padding]
    raise ValueError(
        f"{name}: expected height and width of at least {smallest} ({what}), got shape "
        f"{tuple(image.shape)}. Use larger images or crops, or a smaller odd window_size."
    )


def image_size_of_scales(image: Tensor, least: int, scales: int) -> None:
    if min(image.shape[2:]) < least:
        raise ValueError(
            f"prediction: expected height and width of at least {least} for {scales} scales, got "
            f"shape {tuple(image.shape)}. Pass fewer scale_weights or a smaller odd window_size."
        )


def mask(value: Any, image: Tensor) -> None:
    """A bool or floating N x 1 x H x W or N x C x H x W tensor on the images' device."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"mask: expected a torch.Tensor of shape N x 1 x H x W or N x C x H x W, got "
            f"{_describe(value)}."
        )
    if value.dtype != torch.bool and not value.is_floating_point():
        raise TypeError(
            f"mask: expected a bool or floating-point tensor, got {value.dtype}. Use mask.bool()."
        )
    n, c, h, w = image.shape
    if value.shape not in ((n, 1, h, w), (n, c, h, w)):
        raise ValueError(
            f"mask: expected shape {(n, 1, h, w)} or {(n, c, h, w)} for images of shape "
            f"{tuple(image.shape)}, got {tuple(value.shape)}."
        )
    if value.device != image.device:
        raise ValueError(
            f"mask: expected the images' device {image.device}, got {value.device}. "
            f"Use mask.to({str(image.device)!r})."
        )


def no_schedule(sigma: Any) -> None:
    if not isinstance(sigma, (int, float)):
        raise ValueError(
            "window: 'uniform' has no sigma, and a tensor or schedule was passed as sigma. Leave "
            "sigma out, or use window='gaussian'."
        )


def mask_values(value: Tensor, at_centres: Tensor, reduction: str) -> None:
    """A mask with no negative value, and not zero at the centre of every window.

    With reduction "image" that holds for each image.

    Reads values, in eager mode alone: a graph being compiled or transformed by ``torch.func``
    cannot stop for them, and an all-zero mask gives NaN there.
    """
    if torch.compiler.is_compiling() or inside_torch_func():
        return
    if not bool((value >= 0).all()):
        raise ValueError(
            "mask: expected values of 0 (left out) and above, got negative or NaN values."
        )
    counted = (at_centres > 0).flatten(1).any(1)
    if not bool(counted.all() if reduction == "image" else counted.any()):
        where = " in each image" if reduction == "image" else ""
        raise ValueError(
            f"mask: expected at least one window centred on a pixel above 0{where}, got none. With "
            "padding='valid' the outer (window_size - 1) / 2 pixels are no window's centre; "
            "leave the image out, or use padding='same'."
        )


def inside_torch_func() -> bool:
    """Whether a transform of `torch.func` (grad, vmap, jvp ...) is running."""
    # torch has no public name for this question.
    return torch._C._functorch.maybe_current_level() is not None


def structural_loss(loss: Any, expected_range: float) -> None:
    """A module that gives a mean, on the same range of values as the perceptual term."""
    if not isinstance(loss, torch.nn.Module):
        raise TypeError(f"structural: expected a loss module, got {_describe(loss)}.")
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
        raise TypeError(f"perceptual: expected a torch.nn.Module, got {_describe(module)}.")
    if trunk_weights is not None:
        raise ValueError(
            "trunk_weights: expected None beside `perceptual`, got both. The weights are for "
            "the LPIPS built here; load yours into your own module."
        )


def channels_for_trunk(image: Tensor, name: str, smallest: int) -> None:
    """Images that an ImageNet trunk can read: one or three channels, large enough to pool."""
    if image.shape[1] not in (1, 3):
        raise ValueError(
            f"{name}: expected 1 or 3 channels for the perceptual term, got shape "
            f"{tuple(image.shape)}. Pass another `perceptual` module for other channel counts."
        )
    if min(image.shape[2:]) < smallest:
        raise ValueError(
            f"{name}: expected height and width of at least {smallest} for the perceptual "
            f"trunk, got shape {tuple(image.shape)}. Use larger crops."
        )


def _floating(name: str, image: Tensor) -> None:
    if image.is_floating_point():
        return
    if image.is_complex():
        advice = f"Pass a real quantity such as {name}.abs()."
    elif image.dtype == torch.bool:
        advice = f"Use {name}.float()."
    else:
        advice = (
            f"Use {name}.float() with data_range=255 for 8-bit images, or {name}.float() / 255."
        )
    raise TypeError(f"{name}: expected a floating-point tensor, got {image.dtype}. {advice}")


def _describe(value: Any) -> str:
    if isinstance(value, (str, int, float)):
        return repr(value)
    return f"an object of type {type(value).__name__}"
