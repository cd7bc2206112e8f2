"""First and second derivatives by autograd, and what is kept for a backward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import batch, noise, patches
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from aw_ssim import AWSSIMLoss, SSIMLoss, aw_ssim, ssim, ssim_components
from aw_ssim.backends import choose_backend

WEIGHTS = (0.2, 0.3, 0.5)
SMALL: dict[str, Any] = {"window_size": 3, "sigma": 1.0}
KINDS = ("textured", "identical", "flat against texture", "flat", "black")


def leaves(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return pair[0].clone().requires_grad_(), pair[1].clone().requires_grad_()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_gradcheck(backend: str, kind: str) -> None:
    def function(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        maps = ssim_components(x, y, **SMALL, backend=backend)
        return *maps, aw_ssim(x, y, WEIGHTS, **SMALL, padding="same", backend=backend)

    # finite differences across the kink-free but sharp sqrt(v + 1e-12) need a tiny step
    assert torch.autograd.gradcheck(function, leaves(patches(kind)), eps=1e-9, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("function", [aw_ssim, ssim])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradcheck_of_the_closed_form(function: Callable[..., Tensor], reduction: str) -> None:
    def closed(x: Tensor, y: Tensor) -> Tensor:
        return function(x, y, **SMALL, reduction=reduction, backend="analytic")

    assert torch.autograd.gradcheck(closed, leaves(patches("textured")), eps=1e-6, atol=1e-6)


def test_gradgradcheck() -> None:
    """As the error of the backend that `auto` takes advises."""

    def function(x: Tensor, y: Tensor, backend: str = "torch") -> Tensor:
        return aw_ssim(x, y, WEIGHTS, **SMALL, backend=backend)

    pair = leaves(patches("textured"))
    with pytest.raises(RuntimeError, match=r'double backward.* use backend="torch"'):
        torch.autograd.gradgradcheck(lambda x, y: function(x, y, "auto"), pair)
    assert torch.autograd.gradgradcheck(function, pair, atol=1e-4)


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("option", ["sigma", "mask"])
def test_gradcheck_of_sigma_and_mask(option: str, backend: str) -> None:
    x, y = patches("textured")
    start = {
        "sigma": torch.tensor(0.9, dtype=torch.float64),
        "mask": noise(3, torch.empty(1, 1, 5, 6)).double().abs() + 0.1,
    }[option]

    def function(value: Tensor) -> Tensor:
        options = {"window_size": 3, option: value, "backend": backend}
        return aw_ssim(x, y, WEIGHTS, **options, reduction="none")

    assert torch.autograd.gradcheck(function, start.requires_grad_(), atol=1e-5)


@pytest.mark.parametrize("option", ["sigma", "mask"])
def test_auto_gives_sigma_and_mask_their_gradient_in_float32(option: str) -> None:
    x, y = (image.float() for image in patches("textured"))
    value = {"sigma": torch.tensor(0.9), "mask": torch.ones(1, 1, 5, 6)}[option].requires_grad_()
    mean = aw_ssim(x.requires_grad_(), y, **{"window_size": 3, option: value})
    gradient, image_gradient = torch.autograd.grad(mean, (value, x))
    exact = value.detach().double().requires_grad_()
    mean = aw_ssim(x.double(), y.double(), **{"window_size": 3, option: exact}, backend="torch")
    (expected,) = torch.autograd.grad(mean, exact)
    torch.testing.assert_close(gradient.double(), expected, atol=1e-6, rtol=1e-4)
    assert image_gradient.any()


def penalty(value: Tensor, x: Tensor) -> Tensor:
    """A gradient penalty, whose backward pass needs second derivatives."""
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    return gradient.square().sum()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_double_backward_through_the_closed_form_is_refused(reduction: str) -> None:
    x, y = leaves(patches("textured"))
    value = aw_ssim(x, y, **SMALL, reduction=reduction, backend="analytic")
    with pytest.raises(RuntimeError, match='backend="torch"'):
        penalty(value, x).backward()


def test_double_backward_through_maps_of_the_closed_form_is_refused() -> None:
    x, y = leaves(patches("textured"))
    value = aw_ssim(x, y, **SMALL, reduction="none", backend="analytic").square().sum()
    with pytest.raises(RuntimeError, match='backend="torch"'):
        penalty(value, x).backward()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_graph_of_the_gradient_may_be_asked_for_and_not_used(
    reduction: str, backend: str
) -> None:
    x, y = (image.requires_grad_() for image in batch())
    value = aw_ssim(x, y, reduction=reduction, backend=backend).sum()
    kept = torch.autograd.grad(value, (x, y), create_graph=True)
    for left, right in zip(kept, torch.autograd.grad(value, (x, y)), strict=True):
        torch.testing.assert_close(left, right, atol=0, rtol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_backward_twice_over_a_kept_graph(reduction: str, backend: str) -> None:
    """What is read again is not scaled in place."""
    x, y = (image.requires_grad_() for image in batch())
    value = aw_ssim(x, y, reduction=reduction, backend=backend)
    upstream = torch.full_like(value, 3.0)
    first = torch.autograd.grad(value, (x, y), upstream, retain_graph=True)
    first = tuple(gradient.clone() for gradient in first)
    second = torch.autograd.grad(value, (x, y), upstream)
    for left, right in zip(first, second, strict=True):
        assert torch.equal(left, right)


def test_only_what_is_needed_gets_a_gradient(backend: str) -> None:
    for needed in (0, 1):
        pair = [image.requires_grad_(i == needed) for i, image in enumerate(batch())]
        aw_ssim(*pair, backend=backend).backward()
        alone = pair[needed].grad
        assert pair[1 - needed].grad is None
        both = [image.requires_grad_() for image in batch()]
        aw_ssim(*both, backend=backend).backward()
        torch.testing.assert_close(alone, both[needed].grad, atol=0, rtol=1e-6)


def test_without_gradients(backend: str) -> None:
    x, y = (image.requires_grad_() for image in batch())
    expected = aw_ssim(x, y, backend=backend)
    assert expected.requires_grad
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            value = aw_ssim(x, y, backend=backend)
        assert not value.requires_grad
        torch.testing.assert_close(value, expected.detach(), atol=1e-6, rtol=0)
    assert not aw_ssim(x.detach(), y.detach(), backend=backend).requires_grad


def test_one_tensor_as_both_images(backend: str) -> None:
    x, _ = batch()
    x.requires_grad_()
    aw_ssim(x, x, reduction="sum", backend=backend).backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) < 1e-4


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_a_gradient_is_scaled_in_place_where_it_is_read_once(
    known: bool, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not known:
        # As before torch 2.5.
        monkeypatch.delattr(torch._C._autograd, "_get_current_graph_task_keep_graph")
    x, y = (torch.rand(2, 3, 20, 20) for _ in range(2))
    expected = torch.autograd.functional.jacobian(lambda x: 3 * ssim(x, y, backend="torch"), x)
    x.requires_grad_()
    value = 3 * ssim(x, y, backend="analytic")
    node = value.grad_fn
    while not hasattr(node, "saved_tensors"):
        node = node.next_functions[0][0]
    # A second name of the tensor would make autograd copy it.
    address, before = node.saved_tensors[1].data_ptr(), node.saved_tensors[1].clone()
    value.backward(retain_graph=kept)
    assert (x.grad.data_ptr() == address) == (known and not kept)
    if kept:
        assert torch.equal(node.saved_tensors[1], before)
    torch.testing.assert_close(x.grad, expected, atol=1e-7, rtol=1e-4)


def to_host_and_back() -> contextlib.AbstractContextManager[Any]:
    return torch.autograd.graph.save_on_cpu()


def as_they_are() -> contextlib.AbstractContextManager[Any]:
    return torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept)


@pytest.mark.parametrize("hooks", [to_host_and_back, as_they_are])
@pytest.mark.parametrize("reentrant", [None, False, True])
def test_gradients_are_the_same_however_a_graph_keeps_them(
    reentrant: bool | None, hooks: Callable[[], Any], backend: str
) -> None:
    x, y = batch()
    results = []
    for plain in (True, False):
        left, right = leaves((x, y))

        def function(left: Tensor, right: Tensor) -> Tensor:
            return aw_ssim(left, right, reduction="image", backend=backend)

        with contextlib.nullcontext() if plain else hooks():
            if plain or reentrant is None:
                value = function(left, right)
            else:
                value = checkpoint(function, left, right, use_reentrant=reentrant)
            (value * torch.linspace(-2, 3, len(value))).sum().backward()
        results.append((left.grad, right.grad))
    for expected, found in zip(*results, strict=True):
        assert torch.equal(expected, found)


def test_a_batch_of_upstream_gradients(backend: str) -> None:
    x, y = leaves(batch())
    value = aw_ssim(x, y, reduction="image", backend=backend)
    upstream = torch.eye(len(value), dtype=value.dtype)
    kept = {"retain_graph": True}
    expected = torch.stack([torch.autograd.grad(value, x, one, **kept)[0] for one in upstream])
    (found,) = torch.autograd.grad(value, x, upstream, is_grads_batched=True)
    torch.testing.assert_close(found, expected)


def saved_bytes(function: Callable[[], Tensor]) -> int:
    """Bytes of distinct storages that autograd keeps for backward."""
    storages: dict[int, int] = {}
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = function()
    assert value.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("loss", [AWSSIMLoss, SSIMLoss])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("closed_form", ["analytic", "auto"])
@pytest.mark.parametrize("needed", ["prediction", "target", "both"])
def test_memory_kept_for_backward(
    needed: str,
    padding: str,
    loss: type[AWSSIMLoss] | type[SSIMLoss],
    reduction: str,
    closed_form: str,
) -> None:
    x, y = (torch.rand(2, 3, 64, 64) for _ in range(2))
    x.requires_grad_(needed != "target")
    y.requires_grad_(needed != "prediction")
    criterion = loss(reduction=reduction, padding=padding, backend=closed_form)
    gradients = 2 if needed == "both" else 1
    assert saved_bytes(lambda: criterion(x, y)) <= 4 * gradients * x.numel() + 1024


def test_auto_takes_the_closed_form_for_float32() -> None:
    x, y = torch.rand(2, 3, 64, 64, requires_grad=True), torch.rand(2, 3, 64, 64)
    assert saved_bytes(lambda: aw_ssim(x, y)) <= 4 * x.numel() + 1024
    chosen = choose_backend("auto", x, y, 1.5).name
    assert chosen != "torch"
    assert torch.equal(aw_ssim(x, y), aw_ssim(x, y, backend=chosen))
    assert torch.equal(aw_ssim(x.half(), y.half()), aw_ssim(x.half(), y.half(), backend=chosen))
