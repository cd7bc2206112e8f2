"""The closed forms as one torch operator: its schema, what it allocates, shapes for tracing.

An operator is opaque to torch.compile, which therefore compiles one graph for every sigma. No
device is named, so the operator exists on machines where a backend cannot run. It is defined and
implemented in two steps, since what `torch.library.custom_op` wraps around a function imports
torch's compiler at the first call, and costs more at each call than the smallest images.
"""

from __future__ import annotations

import importlib
from typing import get_type_hints

import torch
from torch import Tensor

from ..options import Options
from .interface import ClosedForm, Inputs, Outputs

_TYPES = {"weights": "float[]", "data_range": "float"}
_OPTIONS = ", ".join(
    f"{_TYPES.get(name) or kind.__name__} {name}" for name, kind in get_type_hints(Options).items()
)

_NAME = "aw_ssim::compare"

torch.library.define(
    _NAME,
    "(Tensor x, Tensor y, Tensor taps, Tensor? mask, Tensor? upstream, str folder, bool maps, "
    f"bool need_x, bool need_y, {_OPTIONS}) -> (Tensor sums, Tensor maps, Tensor grad_x, "
    "Tensor grad_y)",
    tags=(torch.Tag.pt2_compliant_tag,),
)


@torch.library.impl(_NAME, "default")
def _run(x, y, taps, mask, upstream, folder, maps, need_x, need_y, *options):  # type: ignore[no-untyped-def]
    """The outputs of a backend's `run`; what is not asked for is empty.

    Maps, or the gradients of maps under an upstream gradient; else sums and their gradients.
    """
    options = Options(*options)
    results = _allocated(x, taps, upstream, maps, need_x, need_y, options)
    sums, maps_out, *gradients = (result if result.numel() else None for result in results)
    # A loss is symmetric, and a backend knows the gradient to the first image, or to both.
    if need_y and not need_x:
        x, y = y, x
    inputs = Inputs(x, y, taps, None if mask is None else mask.expand(x.shape))
    # Triton and numba are no dependencies, and are brought in when they are used.
    backend: ClosedForm = importlib.import_module(f".{folder}.run", __package__)
    backend.run(
        inputs,
        options,
        Outputs(sums, maps_out, tuple(g for g in gradients if g is not None)),
        None if upstream is None else upstream.contiguous(),
    )
    return results


@torch.library.register_fake(_NAME)
def _shapes(x, y, taps, mask, upstream, folder, maps, need_x, need_y, *options):  # type: ignore[no-untyped-def]
    return _allocated(x, taps, upstream, maps, need_x, need_y, Options(*options))


compare = torch.ops.aw_ssim.compare.default


def _allocated(
    x: Tensor,
    taps: Tensor,
    upstream: Tensor | None,
    maps: bool,
    need_x: bool,
    need_y: bool,
    options: Options,
) -> tuple[Tensor, ...]:
    """Room for sums, maps and both gradients."""
    windows = [side - 2 * options.margin for side in x.shape[2:]]
    shapes = (
        None if maps or upstream is not None else x.shape[:2],
        (len(options.term_weights), *x.shape[:2], *windows) if maps else None,
        x.shape if need_x else None,
        x.shape if need_y else None,
    )
    return tuple(taps.new_empty(0 if shape is None else shape) for shape in shapes)
