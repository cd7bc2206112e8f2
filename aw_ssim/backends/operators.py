"""The closed-form backends as torch operators: schemas, and shapes for tracing.

A backend is a module with the three functions of `analytic`. As custom operators they are
opaque to torch.compile, which therefore compiles one graph for every sigma; no device is named,
so the operators exist on machines where a backend cannot run.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple

from torch import Tensor
from torch.library import custom_op

from ..local_terms import Constants
from . import analytic


class Settings(NamedTuple):
    """The operators' arguments that are no tensors; `weights` None means the product l c s."""

    weights: list[float] | None
    c1: float
    c2: float
    data_range: float
    same: bool
    backend: str

    def options(self) -> analytic.Options:
        weights = None if self.weights is None else tuple(self.weights)
        return analytic.Options(weights, Constants(self.c1, self.c2), self.data_range, self.same)


IMAGES = "Tensor x, Tensor y, Tensor taps, Tensor? mask"
SETTINGS = "float[]? weights, float c1, float c2, float data_range, bool same, str backend"
NEEDED = "bool need_x, bool need_y"


@custom_op(
    "aw_ssim::dissimilarity_sums",
    mutates_args=(),
    schema=f"({IMAGES}, {SETTINGS}, {NEEDED}) -> (Tensor, Tensor, Tensor)",
)
def sums_op(x, y, taps, mask, *rest):  # type: ignore[no-untyped-def]
    """The loss map of each image summed, (N,), and its gradients; empty where not needed."""
    settings, (need_x, need_y) = Settings(*rest[:-2]), rest[-2:]
    sums, *gradients = _module(settings.backend).dissimilarity_sums(
        x, y, taps, mask, settings.options(), need_x, need_y
    )
    return sums, *(_or_empty(gradient, taps) for gradient in gradients)


@sums_op.register_fake
def _(x, y, taps, mask, *rest):  # type: ignore[no-untyped-def]
    need_x, need_y = rest[-2:]
    return taps.new_empty(x.shape[0]), *_fake_gradients(x, taps, need_x, need_y)


@custom_op("aw_ssim::local_terms", mutates_args=(), schema=f"({IMAGES}, {SETTINGS}) -> Tensor")
def terms_op(x, y, taps, mask, *settings):  # type: ignore[no-untyped-def]
    """The maps 1 - l, 1 - c, 1 - s, or 1 - l c s alone: K x N x C x H' x W'."""
    settings = Settings(*settings)
    return _module(settings.backend).local_terms(x, y, taps, mask, settings.options())


@terms_op.register_fake
def _(x, y, taps, mask, *settings):  # type: ignore[no-untyped-def]
    settings = Settings(*settings)
    n, c, h, w = x.shape
    margin = 0 if settings.same else taps.shape[0] - 1
    return taps.new_empty(1 if settings.weights is None else 3, n, c, h - margin, w - margin)


@custom_op(
    "aw_ssim::local_terms_backward",
    mutates_args=(),
    schema=f"(Tensor upstream, {IMAGES}, {SETTINGS}, {NEEDED}) -> (Tensor, Tensor)",
)
def terms_backward_op(upstream, x, y, taps, mask, *rest):  # type: ignore[no-untyped-def]
    """The gradients of `local_terms`; empty where not needed."""
    settings, (need_x, need_y) = Settings(*rest[:-2]), rest[-2:]
    gradients = _module(settings.backend).local_terms_backward(
        upstream, x, y, taps, mask, settings.options(), need_x, need_y
    )
    return tuple(_or_empty(gradient, taps) for gradient in gradients)


@terms_backward_op.register_fake
def _(upstream, x, y, taps, mask, *rest):  # type: ignore[no-untyped-def]
    return _fake_gradients(x, taps, *rest[-2:])


def _module(backend: str) -> ModuleType:
    if backend == "analytic":
        return analytic
    # Triton and numba are no dependencies, and are brought in when they are used.
    return importlib.import_module(f".{backend}_op", __package__)


def _fake_gradients(x: Tensor, taps: Tensor, *needed: bool) -> tuple[Tensor, ...]:
    return tuple(taps.new_empty(x.shape if need else 0) for need in needed)


def _or_empty(gradient: Tensor | None, like: Tensor) -> Tensor:
    return like.new_empty(0) if gradient is None else gradient
