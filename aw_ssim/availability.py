"""The backends by name: which can compute what, which cannot and why, and what `auto` takes."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import checks

OLDEST_NUMBA = (0, 61)
# The rows of sums in the numba kernel have room for windows up to this.
LARGEST_NUMBA_WINDOW = 33
OLDEST_TRITON = (3, 3)
GPU_TYPES = ("cuda", "xpu")


class BackendChoice(NamedTuple):
    """A backend's name, and why it was chosen."""

    name: str
    reason: str


class Request(NamedTuple):
    """What a backend's answer depends on."""

    x: Tensor
    y: Tensor
    sigma: float | Tensor
    mask: Tensor | None
    window_size: int

    @property
    def volumes(self) -> bool:
        return self.x.ndim == 5

    @property
    def double(self) -> bool:
        return torch.promote_types(self.x.dtype, self.y.dtype) == torch.float64


def choose_backend(
    requested: str,
    x: Tensor,
    y: Tensor,
    sigma: float | Tensor,
    mask: Tensor | None = None,
    window_size: int = 11,
) -> BackendChoice:
    """Which backend computes a loss of these tensors, and why.

    Args:
        requested: ``"auto"``, or a backend's name.
        x: images N x C x H x W or volumes N x C x D x H x W; their values are not read.
        y: images of the same shape and device.
        sigma: the window's standard deviation, a number or a 0-dim tensor.
        mask: as the losses take it.
        window_size: taps of the window per axis.

    Raises:
        ValueError: there is no such backend, or it cannot compute this; the message says why.

    Example:
        >>> image = torch.rand(1, 3, 64, 64)
        >>> choose_backend("auto", image.double(), image, sigma=1.5).name
        'analytic'
    """
    checks.choice("backend", requested, ("auto", *BACKENDS))
    request = Request(x, y, sigma, mask, window_size)
    if requested != "auto":
        obstacle = BACKENDS[requested](request)
        if obstacle:
            raise ValueError(
                f"backend: {requested!r} cannot compute this: {obstacle}. "
                "Use backend='torch' or 'auto'."
            )
        return BackendChoice(requested, "asked for by name")
    obstacle = obstacle_of_closed_forms(request)
    if obstacle:
        return BackendChoice("torch", obstacle)
    if being_exported():
        return BackendChoice("torch", "a graph is being exported, which plain torch alone can be")
    if x.device.type == "cpu":
        obstacle = obstacle_of_numba(request)
        if obstacle:
            return BackendChoice("analytic", f"images on the CPU, and no numba kernel: {obstacle}")
        return BackendChoice("numba", "float32 or half images on the CPU")
    obstacle = obstacle_of_triton(request)
    if obstacle:
        return BackendChoice("analytic", f"images on {x.device}, and no Triton kernel: {obstacle}")
    return BackendChoice("triton", f"float32 or half images on {x.device}")


def being_exported() -> bool:
    """Whether torch.export, an ONNX exporter or torch.jit.trace records what is computed."""
    exporting = getattr(torch.compiler, "is_exporting", lambda: False)
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return bool(exporting() or torch.onnx.is_in_onnx_export() or tracing)


def no_obstacle(request: Request) -> str:
    return ""


def obstacle_of_closed_forms(request: Request) -> str:
    for name, tensor in (("sigma", request.sigma), ("mask", request.mask)):
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            return f"{name} requires a gradient, which only 'torch' gives (or {name}.detach())"
    return ""


def obstacle_of_numba(request: Request) -> str:
    if obstacle := obstacle_of_closed_forms(request):
        return obstacle
    if request.x.device.type != "cpu":
        return f"the numba kernel runs on CPUs, and the images are on {request.x.device}"
    if request.volumes:
        return (
            "the numba kernel takes images N x C x H x W, and these are volumes N x C x D x H x W"
        )
    if request.double:
        return "the numba kernel computes in float32, and the images are float64"
    if request.window_size > LARGEST_NUMBA_WINDOW:
        return (
            f"the numba kernel's windows are at most {LARGEST_NUMBA_WINDOW} wide, "
            f"not {request.window_size}"
        )
    return why_not_numba()


def obstacle_of_triton(request: Request) -> str:
    if obstacle := obstacle_of_closed_forms(request):
        return obstacle
    if request.volumes:
        return (
            "the Triton kernel takes images N x C x H x W, and these are volumes N x C x D x H x W"
        )
    if request.double:
        return "the Triton kernel computes in float32, and the images are float64"
    return why_not_triton(str(request.x.device))


# Each answers why it cannot compute a request: in words, or with nothing if it can.
BACKENDS: dict[str, Callable[[Request], str]] = {
    "torch": no_obstacle,
    "analytic": obstacle_of_closed_forms,
    "numba": obstacle_of_numba,
    "triton": obstacle_of_triton,
}


def why_not_numba() -> str:
    """Why numba cannot be used here; empty if it can."""
    return _why_not_numba()


def why_not_triton(device: str) -> str:
    """Why Triton cannot be used on this device; empty if it can."""
    return _why_not_triton(device)


# torch.compile asks while it traces, and is to take the answers for constants. This is what
# `torch.compiler.assume_constant_result` does, which would import the whole compiler.
why_not_numba._dynamo_marked_constant = True  # type: ignore[attr-defined]
why_not_triton._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def _why_not_numba() -> str:
    try:
        import numba
    except ImportError as error:
        return f"numba cannot be imported ({error}); the extra aw_ssim[cpu] brings it"
    if old := _too_old("numba", numba, OLDEST_NUMBA):
        return old
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return "numba is told to compile nothing (environment variable NUMBA_DISABLE_JIT)"
    return ""


@functools.cache
def _why_not_triton(device: str) -> str:
    kind = torch.device(device).type
    if kind not in (*GPU_TYPES, "cpu"):
        return f"the Triton kernel runs on CUDA, ROCm and XPU devices, not on {device}"
    try:
        import triton
    except ImportError:
        return "Triton is not installed (PyTorch's Linux builds for GPUs bring it)"
    if old := _too_old("Triton", triton, OLDEST_TRITON):
        return old
    if not isinstance(triton.jit(_nothing), triton.runtime.JITFunction):
        # In Triton's interpreter, which needs no device.
        return ""
    if kind == "cpu":
        return (
            "the images are on the CPU, where the Triton kernel runs only in Triton's interpreter "
            "(environment variable TRITON_INTERPRET=1, set before Triton is imported)"
        )
    if kind == "cuda" and torch.version.hip is None:
        capability = torch.cuda.get_device_capability(device)
        if capability < (7, 0):
            found = ".".join(map(str, capability))
            return f"Triton needs compute capability 7.0 or higher, and {device} has {found}"
    try:
        trial(torch.device(device))
    # Without a C compiler, Python.h or a recent driver; errors of many kinds.
    except Exception as error:
        reason = f"Triton failed on {device}: {type(error).__name__}: {error}"
        warnings.warn(f"aw_ssim computes without its Triton kernel. {reason}", stacklevel=2)
        return reason
    return ""


def trial(device: torch.device) -> None:
    """Builds and launches an empty kernel."""
    import triton

    with getattr(torch, device.type).device(device):
        triton.jit(_nothing)[(1,)]()


def _nothing():  # type: ignore[no-untyped-def]
    pass


def _too_old(name: str, module: Any, oldest: tuple[int, int]) -> str:
    if tuple(int(part) for part in module.__version__.split(".")[:2]) >= oldest:
        return ""
    least = ".".join(map(str, oldest))
    return f"the kernel needs {name} {least} or later, and {module.__version__} is installed"
