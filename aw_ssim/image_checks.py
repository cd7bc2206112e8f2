"""Checks of images and masks, and their error texts: what was expected, what came, what to do.

They read shapes, dtypes and devices, never values, so that they neither synchronise a device nor
break a compiled graph. Two exceptions say so: `mask_values` and `target_in_range`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .checks import describe

# The numbers of channels that a picture's last dimension shows it to be colours by.
COLOURS = (1, 3, 4)


def images(x: Any, y: Any, names: tuple[str, str]) -> None:
    """Two floating tensors of one shape and device, N x C x H x W or N x C x D x H x W."""
    for name, image in zip(names, (x, y), strict=True):
        if not isinstance(image, Tensor):
            advice = f"Use torch.as_tensor({name})."
            if type(image).__module__.startswith("PIL."):
                advice = (
                    f"Use torch.as_tensor(numpy.array({name})) / 255, then .permute(2, 0, 1)[None] "
                    "for colour or [None, None] for grey."
                )
            raise TypeError(
                f"{name}: expected a torch.Tensor of shape N x C x H x W, got {describe(image)}. "
                f"{advice}"
            )
        _plain(name, image)
        _floating(name, image)
        if image.ndim not in (4, 5):
            raise ValueError(
                f"{name}: expected 4 dimensions N x C x H x W, or 5 of volumes N x C x D x H x W, "
                f"got shape {tuple(image.shape)}. {_dimensions_advice(name, image)}"
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
    """Sides that a window, or its mirror image, fits into."""
    if min(image.shape[2:]) >= smallest:
        return
    what = {
        "valid": "window_size",
        "same": "window_size // 2 + 1, which reflection takes",
    }[padding]
    raise ValueError(
        f"{name}: expected {_sides(image)} of at least {smallest} ({what}), got shape "
        f"{tuple(image.shape)}. {_size_advice(name, image)}"
    )


def image_size_of_scales(image: Tensor, least: int, scales: int) -> None:
    if min(image.shape[2:]) < least:
        raise ValueError(
            f"prediction: expected {_sides(image)} of at least {least} for {scales} scales, got "
            f"shape {tuple(image.shape)}. Pass fewer scale_weights or a smaller odd window_size."
        )


def mask(value: Any, image: Tensor) -> None:
    """A bool or floating tensor of the images' shape, or with one channel, on their device."""
    n, c, *sides = image.shape
    if not isinstance(value, Tensor):
        raise TypeError(
            f"mask: expected a torch.Tensor of shape {(n, 1, *sides)} or {(n, c, *sides)}, got "
            f"{describe(value)}."
        )
    if value.dtype != torch.bool and not value.is_floating_point():
        raise TypeError(
            f"mask: expected a bool or floating-point tensor, got {value.dtype}. Use mask.bool()."
        )
    if value.shape not in ((n, 1, *sides), (n, c, *sides)):
        raise ValueError(
            f"mask: expected shape {(n, 1, *sides)} or {(n, c, *sides)} for images of shape "
            f"{tuple(image.shape)}, got {tuple(value.shape)}."
        )
    if value.device != image.device:
        raise ValueError(
            f"mask: expected the images' device {image.device}, got {value.device}. "
            f"Use mask.to({str(image.device)!r})."
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


def channels_for_trunk(image: Tensor, name: str, smallest: int) -> None:
    """Images that an ImageNet trunk can read: one or three channels, large enough to pool."""
    if image.ndim != 4:
        raise ValueError(
            f"{name}: expected pictures N x C x H x W for the perceptual term, got volumes of "
            f"shape {tuple(image.shape)}. Compare slices, {name}.transpose(1, 2).flatten(0, 1), or "
            "pass a `perceptual` module for volumes."
        )
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


def inside_torch_func() -> bool:
    """Whether a transform of `torch.func` (grad, vmap, jvp ...) is running."""
    # torch has no public name for this question.
    return torch._C._functorch.maybe_current_level() is not None


def _plain(name: str, image: Tensor) -> None:
    """A tensor whose numbers are all here and dense."""
    if image.is_nested:
        kind, advice = "a nested tensor", f"Compare its images one by one: {name}.unbind()."
    elif type(image).__name__ == "DTensor":
        kind, advice = "a DTensor", f"Use {name}.to_local() or {name}.full_tensor()."
    elif image.is_sparse:
        kind, advice = "a sparse tensor", f"Use {name}.to_dense()."
    else:
        return
    raise TypeError(f"{name}: expected a plain torch.Tensor, got {kind}. {advice}")


def _sides(image: Tensor) -> str:
    return "height and width" if image.ndim == 4 else "depth, height and width"


def _channels_last(image: Tensor, channels: int = -3) -> bool:
    """Whether the last dimension looks like colours, and the one for channels does not."""
    return image.shape[-1] in COLOURS and image.shape[channels] > 4


def _size_advice(name: str, image: Tensor) -> str:
    if image.ndim == 5:
        if _channels_last(image, 1):
            return f"If these are N x D x H x W x C, use {name}.permute(0, 4, 1, 2, 3)."
        if image.shape[2] in COLOURS:
            return (
                f"If these are videos N x T x C x H x W, use {name}.flatten(0, 1); compare volumes "
                f"of few slices by slices, {name}.transpose(1, 2).flatten(0, 1)."
            )
        return (
            "Use larger volumes or a smaller odd window_size, or compare slices: "
            f"{name}.transpose(1, 2).flatten(0, 1)."
        )
    if _channels_last(image):
        return f"If these are N x H x W x C, use {name}.permute(0, 3, 1, 2)."
    return "Use larger images or crops, or a smaller odd window_size."


def _dimensions_advice(name: str, image: Tensor) -> str:
    if image.ndim == 2:
        return f"For a grey image use {name}[None, None]."
    if image.ndim == 3 and _channels_last(image):
        return f"For an image H x W x C use {name}.permute(2, 0, 1)[None]."
    if image.ndim == 3:
        return (
            f"For an image C x H x W use {name}[None], for grey images {name}[:, None], for a "
            f"volume D x H x W {name}[None, None]."
        )
    if image.ndim == 6:
        return f"For videos of volumes N x T x C x D x H x W use {name}.flatten(0, 1)."
    return f"Use {name}.reshape."


def _floating(name: str, image: Tensor) -> None:
    if image.is_floating_point() and image.element_size() > 1:
        return
    if image.is_floating_point():
        advice = f"Use {name}.float()."
    elif image.is_complex():
        advice = f"Pass a real quantity such as {name}.abs()."
    elif image.dtype == torch.bool:
        advice = f"Use {name}.float()."
    else:
        advice = (
            f"Use {name}.float() with data_range=255 for 8-bit images, or {name}.float() / 255."
        )
    expected = "a floating-point tensor of 16 bits or more"
    raise TypeError(f"{name}: expected {expected}, got {image.dtype}. {advice}")
