"""Digits of the Triton kernel where others lose them: nearly flat images, steps, ramps, holes."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
import torch
from cases import noise
from torch import Tensor
from triton_cases import DEVICE, WEIGHTS, only_where_it_runs

from aw_ssim import aw_ssim

pytestmark = only_where_it_runs

HEIGHT, WIDTH = 18, 40


def flat() -> Tensor:
    return torch.full((1, 1, HEIGHT, WIDTH), 0.8)


def steps() -> Tensor:
    image = torch.zeros(1, 1, HEIGHT, WIDTH)
    image[..., HEIGHT // 2 :, :] += 0.5
    image[..., WIDTH // 2 :] += 0.25
    return image


def ramp() -> Tensor:
    return torch.linspace(0, 1, WIDTH).expand(1, 1, HEIGHT, WIDTH)


def gradient_errors(
    backend: str, x: Tensor, y: Tensor, mask: Tensor | None = None, **options: Any
) -> Tensor:
    """Of both images, in parts of the largest gradient."""
    device = DEVICE if backend == "triton" else "cpu"
    leaves = [image.to(device, copy=True).requires_grad_() for image in (x, y)]
    on_device = None if mask is None else mask.to(device)
    loss = aw_ssim(*leaves, WEIGHTS, mask=on_device, reduction="sum", backend=backend, **options)
    loss.backward()
    wanted = oracle.gradients(x, y, 1.0, WEIGHTS, mask=mask, **options)
    errors = []
    for leaf, gradient in zip(leaves, wanted, strict=True):
        assert leaf.grad is not None
        errors.append((leaf.grad.cpu().double() - gradient).abs().max() / gradient.abs().max())
    return torch.stack(errors)


def assert_as_accurate_as_analytic(*images: Tensor, **options: Any) -> None:
    """That keeps what the images allow: on a steep ramp the loss itself cancels."""
    found, reference = (
        gradient_errors(name, *images, **options) for name in ("triton", "analytic")
    )
    assert (found < 2 * reference + 5e-7).all(), (found, reference)


@pytest.mark.parametrize("sigma", [0.5, 1.5])
@pytest.mark.parametrize("image", [flat, steps, ramp])
def test_low_contrast(image: object, sigma: float) -> None:
    assert callable(image)
    x = image() + 1e-4 * noise(0, flat())
    assert_as_accurate_as_analytic(x, x + 1e-4 * noise(1, x), sigma=sigma)


@pytest.mark.parametrize(
    ("contrast", "window_size", "padding"),
    [(1.0, 3, "same"), (1.0, 5, "valid"), (1e-3, 3, "valid"), (1e-3, 5, "same")],
)
def test_a_few_visible_pixels(contrast: float, window_size: int, padding: str) -> None:
    """Two that are nearly equal make a steep loss, whatever the hidden ones between them hold."""
    x = flat() + contrast * noise(0, flat())
    mask = (noise(2, x) > 0.7).float()
    assert 0.02 < mask.mean() < 0.3
    y = flat() + contrast * noise(1, x)
    assert_as_accurate_as_analytic(x, y, mask, window_size=window_size, padding=padding)
