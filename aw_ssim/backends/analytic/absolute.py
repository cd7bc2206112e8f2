"""L1 beside the windows, whose passes see no single pixels."""

from __future__ import annotations

import math

from ...options import Options
from ..interface import Inputs, Outputs

# As many pixels as stay in the cache from their difference to the gradient.
CHUNK_PIXELS = 1 << 16


def add(inputs: Inputs, options: Options, out: Outputs) -> None:
    """Adds `Options.l1` times |x - y| to the sums, and its derivatives to the gradients."""
    assert out.sums is not None
    sums = out.sums.view(-1)
    x, y = (image.reshape(-1, *image.shape[2:]) for image in inputs[:2])
    gradients = [gradient.flatten(0, 1) for gradient in out.gradients]
    planes = max(1, CHUNK_PIXELS // math.prod(x.shape[1:]))
    rows = max(1, CHUNK_PIXELS // (planes * math.prod(x.shape[2:])))
    factor = options.l1 / options.divisor
    for plane in range(0, len(x), planes):
        of_planes = sums[plane : plane + planes]
        for row in range(0, x.shape[1], rows):
            part = slice(plane, plane + planes), slice(row, row + rows)
            apart = x[part].to(sums.dtype) - y[part].to(sums.dtype)
            for gradient, sign in zip(gradients, (factor, -factor), strict=False):
                gradient[part].add_(apart.sign(), alpha=sign)
            of_planes += factor * apart.abs_().flatten(1).sum(1)
