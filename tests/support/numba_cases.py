"""Images for the numba kernel, and what it gives for them."""

from __future__ import annotations

from typing import Any

import torch
from cases import noise
from torch import Tensor

from aw_ssim import aw_ssim
from aw_ssim.backends.numba_cpu.passes import COLUMNS

WEIGHTS = (0.2, 0.3, 0.5)


def images(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    x = 0.5 + 0.2 * noise(0, torch.empty(shape))
    return x.clamp(0, 1), (x + 0.1 * noise(1, x)).clamp(0, 1)


def value_and_gradients(x: Tensor, y: Tensor, **options: Any) -> tuple[Tensor, ...]:
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    value = aw_ssim(x, y, WEIGHTS, **options)
    upstream = noise(2, value.detach()) if value.dim() else torch.ones(())
    return value.detach(), *torch.autograd.grad(value, (x, y), upstream.to(value.dtype))


def results_at_many_widths() -> list[Tensor]:
    results: list[Tensor] = []
    for width in (11, 18, 26, 27, 42, 43, 44, COLUMNS + 30):
        for padding in ("valid", "same"):
            pair = images((1, 1, 13, width))
            results += value_and_gradients(*pair, padding=padding, backend="numba")
    return results
