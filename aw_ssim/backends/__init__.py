"""The ways to compute the loss, and the one place that chooses between them.

- ``torch``: plain differentiable torch, the definition. Every dtype, device and transform.
- ``analytic``: closed form in cache-sized chunks, gradient in the same pass. First derivatives.
- ``triton``: the closed form as one fused kernel for GPUs, float32 and half images. First
  derivatives.

A backend never changes the meaning: padding, dtypes, masks and NaN are the same in all.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .triton_support import why_not_triton

BACKENDS = ("auto", "torch", "analytic", "triton")


class BackendChoice(NamedTuple):
    """A backend's name, and why it was chosen."""

    name: str
    reason: str


def choose_backend(
    requested: str, x: Tensor, y: Tensor, sigma: float | Tensor, mask: Tensor | None = None
) -> BackendChoice:
    """Which backend computes a loss of these tensors, and why.

    Raises:
        ValueError: a backend was asked for by name that cannot do it.

    Example:
        >>> image = torch.rand(1, 3, 64, 64)
        >>> choose_backend("auto", image, image, sigma=1.5).name
        'analytic'
    """
    obstacle = _obstacle_of_closed_forms(sigma, mask)
    if requested != "auto":
        if requested == "triton":
            obstacle = obstacle or _obstacle_of_triton(x, y)
        if obstacle and requested != "torch":
            raise ValueError(
                f"backend: {requested!r} cannot compute this: {obstacle}. "
                "Use backend='torch' or 'auto'."
            )
        return BackendChoice(requested, "asked for by name")
    if obstacle:
        return BackendChoice("torch", obstacle)
    if torch.promote_types(x.dtype, y.dtype) == torch.float64:
        return BackendChoice("torch", "float64 images: the definition itself")
    if x.device.type == "cpu":
        return BackendChoice("analytic", "float32 or half images on the CPU")
    obstacle = _obstacle_of_triton(x, y)
    if obstacle:
        return BackendChoice("torch", obstacle)
    return BackendChoice("triton", f"float32 or half images on {x.device}")


def _obstacle_of_closed_forms(sigma: float | Tensor, mask: Tensor | None) -> str:
    for name, tensor in (("sigma", sigma), ("mask", mask)):
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            return f"{name} requires a gradient, which only 'torch' gives (or {name}.detach())"
    return ""


def _obstacle_of_triton(x: Tensor, y: Tensor) -> str:
    if torch.promote_types(x.dtype, y.dtype) == torch.float64:
        return "the Triton kernel computes in float32, and the images are float64"
    return why_not_triton(str(x.device))
