"""The Triton kernel compiled ahead of time, for a chip that need not be there."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from aw_ssim.backends.triton_gpu.kernel import SIZES, STRIDES, tiles_kernel

IMAGES = ("x", "y")
# The gradients are of the images' types.
FLOATS = ("mask", "upstream", "taps", "scratch", "sums", "maps")
POINTERS = (*IMAGES, *FLOATS, "grad_x", "grad_y")
NUMBERS = ("scale", "c1", "c2", "a", "b", "g", "l1")


def compiled(
    types: Mapping[str, str],
    constants: Mapping[str, Any],
    *,
    architecture: int,
    warps: int,
    registers: int,
    fusion: bool = True,
    aligned: tuple[str, ...] = POINTERS,
) -> Any:
    """What `run` would have compiled at a launch, with its options; see `types_of` for `types`."""
    options = {
        "num_warps": warps,
        "num_stages": 1,
        "enable_fp_fusion": fusion,
        "maxnreg": registers,
    }
    # Hashable, to be kept.
    return _compiled(
        *(tuple(d.items()) for d in (types, constants, options)), architecture, aligned
    )


def types_of(image: str = "fp32", integer: str = "i32") -> dict[str, str]:
    """Triton's types of the kernel's arguments, in their order; the integer's is of the strides."""
    return {
        **dict.fromkeys(IMAGES, f"*{image}"),
        **dict.fromkeys(FLOATS, "*fp32"),
        **dict.fromkeys(("grad_x", "grad_y"), f"*{image}"),
        **dict.fromkeys(STRIDES, integer),
        **dict.fromkeys(SIZES, "i32"),
        **dict.fromkeys(NUMBERS, "fp32"),
    }


@functools.cache
def _compiled(
    types: tuple[tuple[str, str], ...],
    constants: tuple[tuple[str, Any], ...],
    options: tuple[tuple[str, Any], ...],
    architecture: int,
    aligned: tuple[str, ...],
) -> Any:
    signature = dict(types) | {name: "constexpr" for name, _ in constants}
    attributes = {(list(signature).index(name),): [["tt.divisibility", 16]] for name in aligned}
    return triton.compile(
        ASTSource(tiles_kernel, signature, dict(constants), attributes),
        target=GPUTarget("cuda", architecture, 32),
        options=dict(options),
    )
