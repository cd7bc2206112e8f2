"""The closed-form backends as torch operators: schemas, and shapes for tracing.

A backend is a module with the three functions of `analytic`. As custom operators they are
opaque to torch.compile, which therefore compiles one graph for every sigma; no device is named,
so the operators exist on machines where a backend cannot run.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from ..local_terms import Constants
from . import analytic

_BACKENDS: dict[str, ModuleType] = {"analytic": analytic}


class Settings(NamedTuple):
    """The operators' arguments that are no tensors; `weights` None means the product l c s."""

    weights: list[float] | None
    c1: float
    c2: float
    data_range: float
    same: bool
    backend: str


@torch.library.custom_op("aw_ssim::dissimilarity_sums", mutates_args=())
def sums_op(
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    mask: Tensor | None,
    weights: list[float] | None,
    c1: float,
    c2: float,
    data_range: float,
    same: bool,
    backend: str,
    need_x: bool,
    need_y: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    options = _options(weights, c1, c2, data_range, same)
    sums, grad_x, grad_y = _BACKENDS[backend].dissimilarity_sums(
        x, y, taps, mask, options, need_x, need_y
    )
    return sums, _or_empty(grad_x, taps), _or_empty(grad_y, taps)


@sums_op.register_fake
def _(x, y, taps, mask, weights, c1, c2, data_range, same, backend, need_x, need_y):  # type: ignore[no-untyped-def]
    return (
        taps.new_empty(x.shape[0]),
        taps.new_empty(x.shape if need_x else 0),
        taps.new_empty(x.shape if need_y else 0),
    )


@torch.library.custom_op("aw_ssim::local_terms", mutates_args=())
def terms_op(
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    mask: Tensor | None,
    weights: list[float] | None,
    c1: float,
    c2: float,
    data_range: float,
    same: bool,
    backend: str,
) -> Tensor:
    options = _options(weights, c1, c2, data_range, same)
    result: Tensor = _BACKENDS[backend].local_terms(x, y, taps, mask, options)
    return result


@terms_op.register_fake
def _(x, y, taps, mask, weights, c1, c2, data_range, same, backend):  # type: ignore[no-untyped-def]
    n, c, h, w = x.shape
    margin = 0 if same else taps.shape[0] - 1
    return taps.new_empty(1 if weights is None else 3, n, c, h - margin, w - margin)


@torch.library.custom_op("aw_ssim::local_terms_backward", mutates_args=())
def terms_backward_op(
    upstream: Tensor,
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    mask: Tensor | None,
    weights: list[float] | None,
    c1: float,
    c2: float,
    data_range: float,
    same: bool,
    backend: str,
    need_x: bool,
    need_y: bool,
) -> tuple[Tensor, Tensor]:
    options = _options(weights, c1, c2, data_range, same)
    grad_x, grad_y = _BACKENDS[backend].local_terms_backward(
        upstream, x, y, taps, mask, options, need_x, need_y
    )
    return _or_empty(grad_x, taps), _or_empty(grad_y, taps)


@terms_backward_op.register_fake
def _(upstream, x, y, taps, mask, weights, c1, c2, data_range, same, backend, need_x, need_y):  # type: ignore[no-untyped-def]
    return (
        taps.new_empty(x.shape if need_x else 0),
        taps.new_empty(x.shape if need_y else 0),
    )


def _options(
    weights: list[float] | None, c1: float, c2: float, data_range: float, same: bool
) -> analytic.Options:
    fixed = None if weights is None else (weights[0], weights[1], weights[2])
    return analytic.Options(fixed, Constants(c1, c2), data_range, same)


def _or_empty(gradient: Tensor | None, like: Tensor) -> Tensor:
    return like.new_empty(0) if gradient is None else gradient
