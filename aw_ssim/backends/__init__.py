"""The ways to compute a loss.

- ``torch``: plain differentiable torch, the definition. Every dtype, device and transform.
- ``analytic``: closed form in cache-sized chunks, gradient in the same pass; also of volumes. First
  derivatives.
- ``numba``: the closed form as one fused kernel for CPUs, float32 and half images. First
  derivatives. With the extra ``cpu``.
- ``triton``: the closed form as one fused kernel for GPUs, float32 and half images. First
  derivatives.

A backend never changes the meaning: padding, dtypes, masks and NaN are the same in all.
:func:`aw_ssim.choose_backend` says which one computes what, and why.
"""

from __future__ import annotations

from ..availability import BackendChoice, choose_backend
from . import reference
from .autograd import closed_form
from .interface import Backend

__all__ = ["BACKENDS", "BackendChoice", "choose_backend"]

BACKENDS: dict[str, Backend] = {
    "torch": reference.run,
    "analytic": closed_form("analytic"),
    "numba": closed_form("numba_cpu"),
    "triton": closed_form("triton_gpu"),
}
