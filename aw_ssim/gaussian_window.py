"""The one-dimensional Gaussian window of SSIM (eq. 8 of the paper), normalised to sum 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter

from .image_checks import inside_torch_func

# Far below, float32 has nothing but 0 and the window's centre would be 0 / 0. A window is its
# centre tap alone long before.
SMALLEST_SIGMA = 1e-30
# Below any rounding. Taps that were smaller would leave windows whose only unmasked pixels lie
# far out a total weight that float32 cannot divide by.
SMALLEST_TAP = 1e-15
# Windows of numbers that are kept: more than any training uses at once.
MOST_KEPT = 64
_kept: dict[tuple[object, ...], Tensor] = {}


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


def window_for(
    image: Tensor, window_size: int, sigma: float | Tensor, dtype: torch.dtype
) -> Tensor:
    """`gaussian_window` on the image's device, kept from call to call where sigma is a number."""
    device = image.device
    if not _may_be_kept(image, sigma):
        return gaussian_window(window_size, sigma, dtype=dtype, device=device)
    # A stream of a GPU does not wait for what another one writes.
    stream = torch.cuda.current_stream(device) if image.is_cuda else None
    key = (window_size, sigma, dtype, device, stream)
    taps = _kept.get(key)
    if taps is None:
        # The first to ask may be in inference mode, and another may need a gradient.
        with torch.inference_mode(False):
            taps = gaussian_window(window_size, sigma, dtype=dtype, device=device)
        if len(_kept) >= MOST_KEPT:
            _kept.clear()
        _kept[key] = taps
    return taps


def _may_be_kept(image: Tensor, sigma: float | Tensor) -> bool:
    """Where numbers are computed at once: not while a graph is traced, transformed or captured."""
    if isinstance(sigma, Tensor) or type(image) not in (Tensor, Parameter):
        return False
    if torch.compiler.is_compiling() or inside_torch_func():
        return False
    if image.is_cuda:
        return not torch.cuda.is_current_stream_capturing()
    return image.device.type == "cpu"
