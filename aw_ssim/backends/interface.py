"""What goes into a backend and what comes out of it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from ..options import Options


class Inputs(NamedTuple):
    """The tensors of a comparison."""

    x: Tensor
    """N x C x H x W or, of volumes, N x C x D x H x W, in its own dtype and strides."""
    y: Tensor
    """Of the shape and device of x."""
    taps: Tensor
    """Of the window, (window_size,), in the dtype to compute in."""
    mask: Tensor | None
    """Of the shape of x, or with one channel, in that dtype, not negative."""


class Outputs(NamedTuple):
    """The tensors to fill, all of the dtype to compute in; what is not wanted is not there."""

    sums: Tensor | None
    """N x C: the weighted shortfalls of a channel's windows, each by the mask at its centre, and
    `Options.l1` times its pixels' |x - y|, over which no mask lies then."""
    maps: Tensor | None
    """K x N x C x H' x W', of volumes K x N x C x D' x H' x W': the shortfalls, 1 - l, 1 - c and
    1 - s, or 1 - l c s alone."""
    gradients: tuple[Tensor, ...]
    """As x: to x, or to x and y; of `sums`, or of `maps` under an upstream gradient."""


def inside(image: Tensor, margin: int) -> Tensor:
    """What lies this far from all edges, N x C x ...; of a mask, the windows' centres."""
    for dim in range(2, image.ndim):
        image = image.narrow(dim, margin, image.shape[dim] - 2 * margin)
    return image


class Backend(Protocol):
    """Gives the sums of `Outputs`, or with `maps` its maps; the result can be differentiated."""

    def __call__(self, inputs: Inputs, options: Options, *, maps: bool) -> Tensor: ...


class ClosedForm(Protocol):
    """The module of a backend that forms its gradients itself. `run` is all it needs to have."""

    def run(self, inputs: Inputs, options: Options, out: Outputs, upstream: Tensor | None) -> None:
        """Fills the outputs. `upstream`, of the shape of the maps, comes with gradients alone.

        A mask has the shape of the images here.
        """
