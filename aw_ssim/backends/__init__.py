"""The ways to compute the loss, and the one place that chooses between them.

- ``torch``: plain differentiable torch, the definition. Every dtype, device and transform.
- ``analytic``: closed form in cache-sized chunks, gradient in the same pass. First derivatives.
- ``numba``: the closed form as one fused kernel for CPUs, float32 and half images, no mask. First
  derivatives. With the extra ``cpu``.
- ``triton``: the closed form as one fused kernel for GPUs, float32 and half images. First
  derivatives.

A backend never changes the meaning: padding, dtypes, masks and NaN are the same in all.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .numba_support import LARGEST_WINDOW, why_not_numba
from .triton_support import why_not_triton

BACKENDS = ("auto", "torch", "analytic", "numba", "triton")


class BackendChoice(NamedTuple):
    """A backend's name, and why it was chosen."""

    name: str
    reason: str


def choose_backend(
    requested: str,
    x: Tensor,
    y: Tensor,
    sigma: float | Tensor,
    mask: Tensor | None = None,
    window_size: int = 11,
) -> BackendChoice:
    """Which backend computes a loss of these tensors, and why.

    Raises:
        ValueError: a backend was asked for by name that cannot do it.

    Example:
        >>> image = torch.rand(1, 3, 64, 64)
        >>> choose_backend("auto", image.double(), image, sigma=1.5).name
        'torch'
    """
    obstacle = _obstacle_of_closed_forms(sigma, mask)
    if requested != "auto":
        if requested == "triton":
            obstacle = obstacle or _obstacle_of_triton(x, y)
        if requested == "numba":
            obstacle = obstacle or _obstacle_of_numba(x, y, mask, window_size)
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
        obstacle = _obstacle_of_numba(x, y, mask, window_size)
        if obstacle:
            return BackendChoice("analytic", f"images on the CPU, and no numba kernel: {obstacle}")
        return BackendChoice("numba", "float32 or half images on the CPU")
    obstacle = _obstacle_of_triton(x, y)
    if obstacle:
        return BackendChoice("torch", obstacle)
    return BackendChoice("triton", f"float32 or half images on {x.device}")


def _obstacle_of_closed_forms(sigma: float | Tensor, mask: Tensor | None) -> str:
    for name, tensor in (("sigma", sigma), ("mask", mask)):
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            return f"{name} requires a gradient, which only 'torch' gives (or {name}.detach())"
    return ""


def _obstacle_of_numba(x: Tensor, y: Tensor, mask: Tensor | None, window_size: int) -> str:
    if x.device.type != "cpu":
        return f"the numba kernel runs on CPUs, and the images are on {x.device}"
    if torch.promote_types(x.dtype, y.dtype) == torch.float64:
        return "the numba kernel computes in float32, and the images are float64"
    if mask is not None:
        return "the numba kernel takes no mask"
    if window_size > LARGEST_WINDOW:
        return f"the numba kernel's windows are at most {LARGEST_WINDOW} wide, not {window_size}"
    return why_not_numba()


def _obstacle_of_triton(x: Tensor, y: Tensor) -> str:
    if torch.promote_types(x.dtype, y.dtype) == torch.float64:
        return "the Triton kernel computes in float32, and the images are float64"
    return why_not_triton(str(x.device))
