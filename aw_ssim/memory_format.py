"""The memory format of an image, channels_last, kept in its gradient and in the maps made of it.

The backends work plane by plane, and what they make lies so. In eager mode alone: a compiler lays
tensors out as it likes, and `torch.func` does not tell how they lie.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from .availability import being_exported
from .image_checks import inside_torch_func

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def gradient_as(image: Tensor) -> Tensor:
    """The image; its gradient will lie in memory as it does."""
    wanted = torch.is_grad_enabled() and image.requires_grad and _channels_last(image)
    kept: Tensor = _GradientAs.apply(image) if wanted else image
    return kept


def laid_as(image: Tensor, made: Tensor) -> Tensor:
    """What was made of an image, in its memory format."""
    if not _channels_last(image):
        return made
    return made.contiguous(memory_format=CHANNELS_LAST[image.ndim])


def _channels_last(image: Tensor) -> bool:
    if torch.compiler.is_compiling() or inside_torch_func() or being_exported():
        return False
    # Of one channel, or one pixel, an image lies both ways.
    last = image.is_contiguous(memory_format=CHANNELS_LAST[image.ndim])
    return last and not image.is_contiguous()


class _GradientAs(Function):
    @staticmethod
    def forward(image: Tensor) -> Tensor:
        return image.view_as(image)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.memory_format = CHANNELS_LAST[output.ndim]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=ctx.memory_format)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.view_as(tangent)
