"""The ways to compute the loss, and the one place that chooses between them.

- ``torch``: plain differentiable torch, the definition. Every dtype, device and transform.
- ``analytic``: closed form in cache-sized chunks, gradient in the same pass. First derivatives.

A backend never changes the meaning: padding, dtypes, masks and NaN are the same in all.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BACKENDS = ("auto", "torch", "analytic")


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
    for name, tensor in (("sigma", sigma), ("mask", mask)):
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            if requested == "analytic":
                raise ValueError(
                    f"backend: 'analytic' gives no gradient to {name}, and {name} requires one. "
                    f"Use backend='torch' or 'auto', or {name}.detach()."
                )
            return BackendChoice("torch", f"{name} requires a gradient")
    if requested != "auto":
        return BackendChoice(requested, "asked for by name")
    if torch.promote_types(x.dtype, y.dtype) == torch.float64:
        return BackendChoice("torch", "float64 images: the definition itself")
    if x.device.type != "cpu":
        return BackendChoice("torch", f"the closed form in chunks is for CPUs, not {x.device}")
    return BackendChoice("analytic", "float32 or half images on the CPU")
