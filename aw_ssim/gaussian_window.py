"""The one-dimensional Gaussian window of SSIM (eq. 8 of the paper), normalised to sum 1."""

from __future__ import annotations

import torch
from torch import Tensor

# Far below, float32 has nothing but 0 and the window's centre would be 0 / 0. A window is its
# centre tap alone long before.
SMALLEST_SIGMA = 1e-30
# Below any rounding. Taps that were smaller would leave windows whose only unmasked pixels lie
# far out a total weight that float32 cannot divide by.
SMALLEST_TAP = 1e-15


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
    else:
        sigma = max(sigma, SMALLEST_SIGMA)
    taps = torch.softmax(-0.5 * (offsets / sigma) ** 2, dim=0)
    return torch.where(taps < SMALLEST_TAP, 0, taps)
