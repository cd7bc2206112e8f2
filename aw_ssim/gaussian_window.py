"""The one-dimensional Gaussian window of SSIM (eq. 8 of the paper), normalised to sum 1."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_window(
    window_size: int,
    sigma: float | Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Taps ``exp(-(n - centre)^2 / (2 sigma^2))`` of a separable window, divided by their sum.

    The paper prints the centre as the window's size; the centre is ``(window_size - 1) / 2``.

    Args:
        window_size: number of taps, odd.
        sigma: standard deviation in pixels. A 0-dim tensor is read on its own device, so
            that a new value costs neither a synchronisation nor a recompilation.
        dtype: of the result; the taps are computed in it.
        device: of the result.

    Returns:
        Tensor of shape ``(window_size,)``.

    Example:
        >>> gaussian_window(3, 1.0)
        tensor([0.2741, 0.4519, 0.2741])
    """
    offsets = torch.arange(window_size, dtype=dtype, device=device) - (window_size - 1) / 2
    if isinstance(sigma, Tensor):
        sigma = sigma.to(device=offsets.device, dtype=dtype)
    return torch.softmax(-0.5 * (offsets / sigma) ** 2, dim=0)
