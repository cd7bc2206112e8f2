"""Whether the Triton kernel runs on a device, and if not, why; Triton is imported only to ask."""

from __future__ import annotations

import functools
import warnings

import torch

OLDEST = (3, 3)
GPU_TYPES = ("cuda", "xpu")


def why_not_triton(device: str) -> str:
    """The reason why tensors on this device cannot go through the kernel; empty if they can."""
    return _why_not(device)


# torch.compile asks while it traces, and is to take the answer for a constant. This is what
# `torch.compiler.assume_constant_result` does, which would import the whole compiler.
why_not_triton._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def _why_not(device: str) -> str:
    kind = torch.device(device).type
    if kind not in (*GPU_TYPES, "cpu"):
        return f"the Triton kernel runs on CUDA, ROCm and XPU devices, not on {device}"
    if not _installed():
        return "Triton is not installed (PyTorch's Linux builds for GPUs bring it)"
    import triton

    release = tuple(int(part) for part in triton.__version__.split(".")[:2])
    if release < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return f"the kernel needs Triton {oldest} or later, and {triton.__version__} is installed"
    from . import triton_op

    if triton_op.INTERPRETED:
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
    return _failure_of_a_trial(device)


def _installed() -> bool:
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def _failure_of_a_trial(device: str) -> str:
    """What Triton says when it cannot build or launch: no C compiler, no Python.h, old driver."""
    from . import triton_op

    try:
        triton_op.trial(torch.device(device))
    # Triton, its compilers and the driver raise errors of many kinds.
    except Exception as error:
        reason = f"Triton failed on {device}: {type(error).__name__}: {error}"
        warnings.warn(f"aw_ssim computes without its Triton kernel. {reason}", stacklevel=2)
        return reason
    return ""
