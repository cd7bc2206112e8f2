"""What torch's own modules are held to in channels_last: gradients and maps lie as their image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import noise
from torch import Tensor

from aw_ssim import AWSSIMLoss, CombinedL1Loss, MSAWSSIMLoss, SSIMLoss, ssim_components

LAST = torch.channels_last


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    x = 0.5 + 0.2 * noise(0, torch.empty(2, 3, 16, 18))
    return x.to(dtype), (x + 0.1 * noise(1, x)).to(dtype)


def last(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=LAST)


def lies_last(image: Tensor) -> bool:
    return image.is_contiguous(memory_format=LAST) and not image.is_contiguous()


def gradients(loss: Any, x: Tensor, y: Tensor, mask: Tensor | None = None) -> list[Tensor]:
    """The value, and the gradients as an earlier layer gets them: a leaf's are laid out anew."""
    leaves = [image.clone(memory_format=torch.preserve_format).requires_grad_() for image in (x, y)]
    inner = [leaf * 1 for leaf in leaves]
    value = loss(*inner, mask)
    return [value.detach(), *torch.autograd.grad(value, inner, noise(5, value) + 2)]


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("padding", ["valid", "same", "zeros"])
def test_each_gradient_lies_as_its_image(
    padding: str, reduction: str, masked: bool, backend: str
) -> None:
    """Also where the other image lies otherwise; the numbers are those of contiguous images."""
    x, y = batch()
    mask = (noise(2, x[:, :1]) > -0.5).float() if masked else None
    loss = SSIMLoss(padding=padding, reduction=reduction, backend=backend)
    expected = gradients(loss, x, y, mask)
    for images in ((last(x), last(y)), (last(x), y), (x, last(y))):
        found = gradients(loss, *images, mask)
        for image, gradient in zip(images, found[1:], strict=True):
            assert lies_last(gradient) == lies_last(image)
        if reduction == "none":
            assert lies_last(found[0]) == lies_last(images[0])
        for actual, reference in zip(found, expected, strict=True):
            torch.testing.assert_close(actual, reference, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        AWSSIMLoss(),
        MSAWSSIMLoss(scale_weights=(0.5, 0.5), window_size=5),
        CombinedL1Loss(smoothed=True),
        CombinedL1Loss(SSIMLoss(reduction="none", padding="same")),
    ],
    ids=["AWSSIMLoss", "MSAWSSIMLoss", "CombinedL1Loss", "map"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_every_loss(loss: Any, dtype: torch.dtype) -> None:
    found = gradients(loss, *(last(image) for image in batch(dtype)))
    assert all(lies_last(gradient) for gradient in found[1:])
    assert all(gradient.dtype == dtype for gradient in found[1:])


def test_component_maps() -> None:
    x, y = batch()
    for term in ssim_components(last(x), last(y)):
        assert lies_last(term)


# Torch imports its forward-mode formulas by way of the compiler that it deprecates.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_derivatives_of_every_kind_pass() -> None:
    """Second ones, forward mode, and those of torch.func, which does not tell how images lie."""
    x, y = (last(image[:1, :2, :4, :4].double()) for image in batch())
    loss = SSIMLoss(window_size=3, backend="torch")
    assert torch.autograd.gradcheck(loss, (x.requires_grad_(), y), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, (x, y))
    (expected,) = torch.autograd.grad(loss(x, y), x)
    torch.testing.assert_close(torch.func.grad(loss)(x.detach(), y), expected)
    of_each = torch.func.vmap(torch.func.grad(loss))(x.detach()[None], y[None])
    torch.testing.assert_close(of_each[0], expected)
