"""The one table of tolerances, by the dtype of the images, and the comparison that reads it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Tolerance(NamedTuple):
    """`value` is absolute (similarities live on a scale of 1); `gradient` is over the maximum."""

    value: float
    gradient: float


# Half precision images are computed in float32 and compared on the rounded images, so their values
# are as good as float32's; their gradients are rounded once more when they are stored.
TOLERANCES = {
    torch.float64: Tolerance(1e-10, 1e-8),
    torch.float32: Tolerance(1e-5, 1e-3),
    torch.float16: Tolerance(1e-5, 2e-3),
    torch.bfloat16: Tolerance(1e-5, 5e-3),
}

# Of compiled code on images of ordinary contrast, over the maximum. Nothing random is in it.
COMPILED_GRADIENT = {torch.float32: 5e-6, torch.float16: 5e-4, torch.bfloat16: 4e-3}

# Identical images have a gradient of 0, which no relative error can measure. Each of the parts
# that cancel there reaches 1 / (2 sqrt(C3)), about 24, for an upstream gradient of 1: what is
# this far below is as good as 0, and compared with an absolute error.
ZERO_GRADIENT = 1e-5
ZERO_GRADIENT_ERROR = 1e-5


def assert_value_close(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """Compare two values or maps, in float64, to the tolerance of images of `dtype`."""
    torch.testing.assert_close(
        actual.detach().double(), expected.detach().double(), atol=TOLERANCES[dtype].value, rtol=0
    )


def assert_gradient_close(
    actual: Tensor | None, expected: Tensor, dtype: torch.dtype, upstream: float = 1.0
) -> None:
    """Compare a gradient with its reference, relative to the reference's largest entry.

    `upstream` is the size of the gradient per pixel of the map, for references that are 0.
    """
    assert actual is not None
    assert actual.dtype == dtype
    assert actual.shape == expected.shape
    scale = float(expected.abs().max())
    allowed = TOLERANCES[dtype].gradient * scale
    if scale <= ZERO_GRADIENT * upstream:
        allowed = ZERO_GRADIENT_ERROR * upstream
    error = float((actual.double() - expected.double()).abs().max())
    assert error <= allowed, f"{error:.3g} of {scale:.3g}"
