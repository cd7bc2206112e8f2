"""Derivatives and batching (vmap) of the closed forms.

`_Sums` forms the gradient in the forward pass and keeps nothing else; `_Maps` keeps its inputs and
works again in the backward pass, since any upstream gradient may come.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ..image_checks import inside_torch_func
from ..options import Options
from . import operators
from .interface import Backend, Inputs

ONCE_ONLY = (
    "The {backend!r} backend of aw_ssim gives first derivatives in reverse mode. For double "
    'backward, forward-mode derivatives (jvp) or gradients of sigma or mask use backend="torch".'
)


def closed_form(folder: str) -> Backend:
    """The differentiable backend around the `run` in a folder of this package."""

    def run(inputs: Inputs, options: Options, *, maps: bool) -> Tensor:
        need_x, need_y = _needed(inputs.x), _needed(inputs.y)
        compiling = torch.compiler.is_compiling()
        if compiling and not (need_x or need_y):
            # Torch 2.4 cannot trace a function that nothing is to be differentiated by.
            if maps:
                return _Maps.forward(*inputs, folder, options)
            return _Sums.forward(*inputs, folder, options, False, False)[0]
        of_sums, of_maps = _functions(compiling)
        result: Tensor
        if maps:
            result = of_maps.apply(*inputs, folder, options)
        else:
            result = of_sums.apply(*inputs, folder, options, need_x, need_y)[0]
        return result

    return run


def _functions(compiling: bool) -> tuple[type[Function], type[Function]]:
    """For sums and for maps, in the form that suits who calls."""
    if compiling:
        # torch.compile refuses a function with a jvp, even one that only raises.
        return _Sums, _Maps
    return (_FuncSums, _FuncMaps) if inside_torch_func() else (_EagerSums, _EagerMaps)


def _needed(image: Tensor) -> bool:
    # Under torch.func an outer transform may want a gradient that this level does not show.
    return torch.is_grad_enabled() and (image.requires_grad or inside_torch_func())


class _Sums(Function):
    """N x C sums, and the two gradients, kept from the forward pass for the backward one."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        *tensors, folder, options, need_x, need_y = inputs
        sums, _, grad_x, grad_y = operators.compare(
            *tensors, None, folder, False, need_x, need_y, *options
        )
        return sums, grad_x, grad_y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, y, _, _, _, options, _, _ = inputs
        sums, grad_x, grad_y = output
        ctx.mark_non_differentiable(grad_x, grad_y)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(sums, grad_x, grad_y)
        ctx.dtypes, ctx.backend = (x.dtype, y.dtype), options.backend

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        sums, *kept = ctx.saved_tensors
        gradients: list[Tensor | None] = [None, None]
        for i, gradient in enumerate(kept):
            if upstream is None or not ctx.needs_input_grad[i]:
                continue
            # By index: a reshape would write the expanded tensor's strides into a dynamic graph.
            of_plane = upstream[(...,) + (None,) * (gradient.dim() - 2)]
            # In its own memory if it can be: fresh memory can take half as long as the kernel.
            scaled = gradient.mul_(of_plane) if _read_once(upstream) else gradient * of_plane
            scaled = scaled.to(ctx.dtypes[i])
            # The sums lead back to the images: through them a second derivative finds its error.
            gradients[i] = (
                _OnceOnly.apply(scaled, sums, ctx.backend) if torch.is_grad_enabled() else scaled
            )
        return *gradients, None, None, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> Any:
        tensors = _merge_batch(info.batch_size, in_dims, inputs[:4])
        outputs = _Sums.apply(*tensors, *inputs[4:])
        return _split_batch(outputs, info.batch_size)


def _read_once(upstream: Tensor) -> bool:
    """Whether what the graph keeps is let go after this backward pass."""
    # Before all else: the questions below cannot be traced.
    if torch.compiler.is_compiling():
        return False
    # torch has no public names for two of them, and before 2.5 none for the first.
    keeps_graph = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)
    return not (
        keeps_graph()
        or torch.is_grad_enabled()
        or inside_torch_func()
        # A batch of gradients (`is_grads_batched`) has no room in the memory of one.
        or torch._C._functorch.is_legacy_batchedtensor(upstream)
    )


class _Maps(Function):
    """K x N x C x H' x W' maps."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        *tensors, folder, options = inputs
        maps: Tensor
        _, maps, _, _ = operators.compare(*tensors, None, folder, True, False, False, *options)
        return maps

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.folder, ctx.options = inputs
        ctx.save_for_backward(*tensors)
        ctx.backend = ctx.options.backend

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, y, taps, mask = ctx.saved_tensors
        needed = ctx.needs_input_grad[:2]
        # A compiled graph is never differentiated twice, and older torch traces no function here.
        compiling = torch.compiler.is_compiling()
        function = _MapsBackward.forward if compiling else _MapsBackward.apply
        outputs = function(upstream, x, y, taps, mask, ctx.folder, ctx.options, *needed)
        gradients = [
            gradient.to(image.dtype) if need else None
            for gradient, image, need in zip(outputs, (x, y), needed, strict=True)
        ]
        return *gradients, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> Any:
        tensors = _merge_batch(info.batch_size, in_dims, inputs[:4])
        maps: Tensor = _Maps.apply(*tensors, *inputs[4:])
        return _split(maps, 1, info.batch_size), 1


class _ReverseOnly(Function):
    """An error in place of forward-mode derivatives."""

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise NotImplementedError(ONCE_ONLY.format(backend=ctx.backend))


class _FuncSums(_ReverseOnly, _Sums):
    """For `torch.func`."""


class _FuncMaps(_ReverseOnly, _Maps):
    """For `torch.func`."""


class _Eager(_ReverseOnly):
    """Without a `setup_context` of its own, for whose sake `apply` reads a signature each time."""

    setup_context = staticmethod(Function.setup_context)


class _EagerSums(_Eager, _Sums):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        outputs = _Sums.forward(*inputs)
        _Sums.setup_context(ctx, inputs, outputs)
        return outputs


class _EagerMaps(_Eager, _Maps):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        outputs = _Maps.forward(*inputs)
        _Maps.setup_context(ctx, inputs, outputs)
        return outputs


class _MapsBackward(Function):
    """The gradients of `_Maps`, an image each; not differentiable again."""

    @staticmethod
    def forward(upstream: Tensor, *inputs: Any) -> tuple[Tensor, Tensor]:
        *tensors, folder, options, need_x, need_y = inputs
        _, _, grad_x, grad_y = operators.compare(
            *tensors, upstream, folder, False, need_x, need_y, *options
        )
        return grad_x, grad_y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.backend = inputs[6].backend

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(ONCE_ONLY.format(backend=ctx.backend))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> Any:
        tensors = _merge_batch(info.batch_size, in_dims[1:], inputs[1:5])
        upstream = _batch_at(inputs[0], in_dims[0], info.batch_size, 1).flatten(1, 2)
        outputs = _MapsBackward.apply(upstream, *tensors, *inputs[5:])
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
