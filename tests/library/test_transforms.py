"""The transforms of torch.func: vmap, grad, jvp and jacrev."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import oracle
import pytest
import torch
from cases import batch, noise, patches
from tolerances import assert_gradient_close
from torch import Tensor
from torch.func import grad, jacrev, jvp, vmap

from aw_ssim import AWSSIMLoss, aw_ssim

WEIGHTS = (0.2, 0.3, 0.5)
SMALL: dict[str, Any] = {"window_size": 3, "sigma": 1.0}


# torch.func.jvp itself loads a decomposition that torch.jit compiles
@pytest.mark.filterwarnings("ignore:.torch.jit.script.:FutureWarning")
def test_forward_mode(backend: str) -> None:
    x, y = patches("textured")
    if backend == "numba":
        x, y = x.float(), y.float()
    tangents = (noise(4, x).to(x.dtype), noise(5, x).to(x.dtype))

    def function(x: Tensor, y: Tensor) -> Tensor:
        return aw_ssim(x, y, WEIGHTS, **SMALL, backend=backend)

    if backend != "torch":
        with pytest.raises(RuntimeError, match='backend="torch"'):
            jvp(function, (x, y), tangents)
        return
    value, slope = jvp(function, (x, y), tangents)
    gradients = oracle.gradients(x, y, 1 / (2 * 3 * 4), WEIGHTS, **SMALL)
    expected = sum((g * t).sum() for g, t in zip(gradients, tangents, strict=True))
    torch.testing.assert_close(value, function(x, y))
    torch.testing.assert_close(slope, expected, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_vmap(reduction: str, backend: str) -> None:
    x, y = batch()

    def single(x: Tensor, y: Tensor) -> Tensor:
        return aw_ssim(x[None], y[None], WEIGHTS, reduction=reduction, backend=backend)

    expected = torch.stack([single(*pair) for pair in zip(x, y, strict=True)])
    torch.testing.assert_close(vmap(single)(x, y), expected, atol=1e-6, rtol=1e-5)
    moved = vmap(single, in_dims=(1, 3))(x.movedim(0, 1), y.movedim(0, 3))
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=1e-5)
    one_target = torch.stack([single(image, y[0]) for image in x])
    broadcast = vmap(single, in_dims=(0, None))(x, y[0])
    torch.testing.assert_close(broadcast, one_target, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_gradient_transforms(masked: bool, backend: str) -> None:
    x, y = batch()
    mask = (noise(2, x[:1, :1]) > -1).float() if masked else None
    loss = AWSSIMLoss(WEIGHTS, backend=backend)

    def single(x: Tensor, y: Tensor) -> Tensor:
        return loss(x[None], y[None], mask)

    def reference(x: Tensor, y: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(single(x, y), x)[0]

    expected = torch.stack([reference(*pair) for pair in zip(x, y, strict=True)])
    options = {"atol": 1e-7, "rtol": 1e-4}
    torch.testing.assert_close(grad(single)(x[0], y[0]), expected[0], **options)
    torch.testing.assert_close(vmap(grad(single))(x, y), expected, **options)
    both = vmap(grad(single, argnums=(0, 1)))(y, x)
    torch.testing.assert_close(both[1], -_swapped(single, x, y), **options)


def _swapped(single: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Minus the gradient to the target when the images change places: SSIM is symmetric."""
    pairs = zip(x.clone().requires_grad_().unbind(), y, strict=True)
    return -torch.stack([torch.autograd.grad(single(a, b), a)[0] for a, b in pairs])


def test_vmap_over_masks(backend: str) -> None:
    x, y = batch()
    masks = torch.stack([(noise(seed, x[:1, :1]) > 0).float() for seed in (1, 2, 3)])

    def masked(mask: Tensor) -> Tensor:
        return aw_ssim(x[:1], y[:1], mask=mask, backend=backend)

    expected = torch.stack([masked(mask) for mask in masks])
    torch.testing.assert_close(vmap(masked)(masks), expected, atol=1e-6, rtol=0)


def test_jacobian_of_the_map(backend: str) -> None:
    """A backward pass with a batch of upstream gradients."""
    x, y = patches("textured")
    if backend == "numba":
        x, y = x.float(), y.float()
    options = {**SMALL, "reduction": "none", "backend": backend}
    jacobian = jacrev(lambda x: aw_ssim(x, y, WEIGHTS, **options))(x)
    for index in ((0, 0, 0, 0), (0, 1, 2, 3)):
        upstream = torch.zeros(1, 2, 3, 4)
        upstream[index] = 1
        expected, _ = oracle.gradients(x, y, upstream, WEIGHTS, **SMALL)
        assert_gradient_close(jacobian[index], expected, x.dtype)


@pytest.mark.parametrize("closed_form", ["analytic", "auto"])
def test_the_closed_form_refuses_a_batch_of_sigmas(closed_form: str) -> None:
    x, y = batch()
    with pytest.raises(NotImplementedError, match='backend="torch"'):
        vmap(lambda sigma: aw_ssim(x, y, sigma=sigma, backend=closed_form))(torch.ones(2))


def test_vmap_over_sigma() -> None:
    x, y = batch()
    sigmas = torch.tensor([0.7, 1.5, 3.0])
    values = vmap(lambda sigma: aw_ssim(x, y, sigma=sigma, backend="torch"))(sigmas)
    expected = torch.stack([aw_ssim(x, y, sigma=sigma, backend="torch") for sigma in sigmas])
    torch.testing.assert_close(values, expected, atol=1e-6, rtol=0)
