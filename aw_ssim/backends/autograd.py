"""Derivatives and batching (vmap) of the closed-form operators.

`DissimilaritySums` forms the gradient in the forward pass and keeps nothing else; `LocalTerms`
keeps its inputs and works again in the backward pass, since any upstream gradient may come.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ..checks import inside_torch_func
from . import operators
from .operators import Settings

ONCE_ONLY = (
    "The {backend!r} backend of aw_ssim gives first derivatives in reverse mode. For double "
    'backward, forward-mode derivatives (jvp) or gradients of sigma or mask use backend="torch".'
)


def dissimilarity_sums(
    x: Tensor, y: Tensor, taps: Tensor, mask: Tensor | None, settings: Settings
) -> Tensor:
    """The loss map of each image summed: shape (N,)."""
    need_x, need_y = _needed(x), _needed(y)
    if torch.compiler.is_compiling() and not (need_x or need_y):
        # Torch 2.4 cannot trace a function that nothing is to be differentiated by.
        return _DissimilaritySums.forward(x, y, taps, mask, settings, False, False)[0]
    # torch.compile refuses a function with a jvp, even one that only raises.
    function = _DissimilaritySums if torch.compiler.is_compiling() else _EagerDissimilaritySums
    result: Tensor = function.apply(x, y, taps, mask, settings, need_x, need_y)[0]
    return result


def local_terms(
    x: Tensor, y: Tensor, taps: Tensor, mask: Tensor | None, settings: Settings
) -> Tensor:
    """The maps 1 - l, 1 - c, 1 - s, or 1 - l c s alone: K x N x C x H' x W'."""
    if torch.compiler.is_compiling() and not (_needed(x) or _needed(y)):
        return _LocalTerms.forward(x, y, taps, mask, settings)
    function = _LocalTerms if torch.compiler.is_compiling() else _EagerLocalTerms
    result: Tensor = function.apply(x, y, taps, mask, settings)
    return result


def _needed(image: Tensor) -> bool:
    # Under torch.func an outer transform may want a gradient that this level does not show.
    return torch.is_grad_enabled() and (image.requires_grad or inside_torch_func())


class _DissimilaritySums(Function):
    """(N,) sums, and the two gradients, kept from the forward pass for the backward one."""

    @staticmethod
    def forward(
        x: Tensor,
        y: Tensor,
        taps: Tensor,
        mask: Tensor | None,
        settings: Settings,
        need_x: bool,
        need_y: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        result: tuple[Tensor, Tensor, Tensor] = operators.sums_op(
            x, y, taps, mask, *settings, need_x, need_y
        )
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, y, _, _, settings, _, _ = inputs
        sums, grad_x, grad_y = output
        ctx.mark_non_differentiable(grad_x, grad_y)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(sums, grad_x, grad_y)
        ctx.dtypes, ctx.backend = (x.dtype, y.dtype), settings.backend

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        sums, *kept = ctx.saved_tensors
        gradients: list[Tensor | None] = [None, None]
        for i, gradient in enumerate(kept):
            if upstream is None or not ctx.needs_input_grad[i]:
                continue
            scaled = (gradient * upstream[:, None, None, None]).to(ctx.dtypes[i])
            # The sums lead back to the images: through them a second derivative finds its error.
            gradients[i] = (
                _OnceOnly.apply(scaled, sums, ctx.backend) if torch.is_grad_enabled() else scaled
            )
        return *gradients, None, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> Any:
        tensors = _merge_batch(info.batch_size, in_dims, inputs[:4])
        outputs = _DissimilaritySums.apply(*tensors, *inputs[4:])
        return _split_batch(outputs, info.batch_size)


class _LocalTerms(Function):
    """K x N x C x H' x W' maps."""

    @staticmethod
    def forward(
        x: Tensor, y: Tensor, taps: Tensor, mask: Tensor | None, settings: Settings
    ) -> Tensor:
        result: Tensor = operators.terms_op(x, y, taps, mask, *settings)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, y, taps, mask, ctx.settings = inputs
        ctx.save_for_backward(x, y, taps, mask)
        ctx.backend = ctx.settings.backend

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, y, taps, mask = ctx.saved_tensors
        settings, needed = ctx.settings, ctx.needs_input_grad[:2]
        # A compiled graph is never differentiated twice, and older torch traces no function here.
        compiling = torch.compiler.is_compiling()
        function = _LocalTermsBackward.forward if compiling else _LocalTermsBackward.apply
        outputs = function(upstream, x, y, taps, mask, settings, *needed)
        gradients = [
            gradient.to(image.dtype) if need else None
            for gradient, image, need in zip(outputs, (x, y), needed, strict=True)
        ]
        return *gradients, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> Any:
        tensors = _merge_batch(info.batch_size, in_dims, inputs[:4])
        maps: Tensor = _LocalTerms.apply(*tensors, inputs[4])
        return _split(maps, 1, info.batch_size), 1


class _EagerDissimilaritySums(_DissimilaritySums):
    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise NotImplementedError(ONCE_ONLY.format(backend=ctx.backend))


class _EagerLocalTerms(_LocalTerms):
    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise NotImplementedError(ONCE_ONLY.format(backend=ctx.backend))


class _LocalTermsBackward(Function):
    """The gradients of `_LocalTerms`, an image each; not differentiable again."""

    @staticmethod
    def forward(
        upstream: Tensor,
        x: Tensor,
        y: Tensor,
        taps: Tensor,
        mask: Tensor | None,
        settings: Settings,
        need_x: bool,
        need_y: bool,
    ) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = operators.terms_backward_op(
            upstream, x, y, taps, mask, *settings, need_x, need_y
        )
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.backend = inputs[5].backend

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(ONCE_ONLY.format(backend=ctx.backend))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> Any:
        tensors = _merge_batch(info.batch_size, in_dims[1:], inputs[1:5])
        upstream = _batch_at(inputs[0], in_dims[0], info.batch_size, 1).flatten(1, 2)
        outputs = _LocalTermsBackward.apply(upstream, *tensors, *inputs[5:])
        return _split_batch(outputs, info.batch_size)


class _OnceOnly(Function):
    """Passes a gradient on; differentiating it again is an error, never a silent zero."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, anchor: Tensor, backend: str) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.backend = inputs[2]

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(ONCE_ONLY.format(backend=ctx.backend))


def _merge_batch(
    size: int, in_dims: tuple[int | None, ...], tensors: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """x, y, taps and mask with the mapped dimension merged into N."""
    x, y, taps, mask = tensors
    if in_dims[2] is not None:
        raise NotImplementedError(
            'vmap over sigma: this backend reads one window for all images. Use backend="torch".'
        )
    merged = [
        None if image is None else _batch_at(image, dim, size, 0).flatten(0, 1)
        for image, dim in ((x, in_dims[0]), (y, in_dims[1]), (mask, in_dims[3]))
    ]
    return [merged[0], merged[1], taps, merged[2]]


def _batch_at(tensor: Tensor, dim: int | None, size: int, position: int) -> Tensor:
    if dim is None:
        expanded = tensor.unsqueeze(position)
        shape = list(expanded.shape)
        shape[position] = size
        return expanded.expand(shape)
    return tensor.movedim(dim, position)


def _split_batch(outputs: tuple[Tensor, ...], size: int) -> Any:
    """Outputs with N split again; a gradient that was not asked for is empty and not mapped."""
    split = tuple(_split(out, 0, size) if out.numel() else out for out in outputs)
    return split, tuple(0 if out.numel() else None for out in outputs)


def _split(tensor: Tensor, dim: int, size: int) -> Tensor:
    return tensor.reshape(*tensor.shape[:dim], size, -1, *tensor.shape[dim + 1 :])
