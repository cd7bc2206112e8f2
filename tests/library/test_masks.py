"""Masked windows, masked reductions, and images whose masked-out pixels hold anything."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
import torch
from cases import noise
from tolerances import assert_gradient_close, assert_value_close
from torch import Tensor

from aw_ssim import AWSSIMLoss, aw_ssim, ssim, ssim_components

WEIGHTS = (0.2, 0.3, 0.5)
SHAPE = (2, 3, 21, 24)


def images() -> tuple[Tensor, Tensor]:
    x = 0.5 + 0.2 * noise(0, torch.empty(SHAPE))
    return x, x + 0.1 * noise(1, x)


def blob() -> Tensor:
    """A foreground that leaves out a corner, an edge and a hole."""
    mask = torch.ones(2, 1, 21, 24, dtype=torch.bool)
    mask[0, :, :9, :11] = False
    mask[1, :, :, 16:] = False
    mask[1, :, 8, 7] = False
    return mask


def soft(channels: int) -> Tensor:
    mask = noise(2, torch.empty(2, channels, 21, 24)).abs()
    return mask * (noise(3, mask) > -0.5)


MASKS = {
    "bool": blob(),
    "float": blob().float(),
    "half": blob().half(),
    "double": blob().double(),
    "soft": soft(1),
    "per channel": soft(3),
    "bool per channel": soft(3) > 0,
}


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_against_the_oracle(mask: Tensor, padding: str, backend: str) -> None:
    x, y = images()
    options: dict[str, Any] = {"padding": padding, "mask": mask, "sigma": 2.0}
    reference = oracle.loops(x, y, **options)
    centre = torch.from_numpy(reference.centre)
    components = ssim_components(x, y, **options, backend=backend)
    for actual, expected in zip(components, reference[:3], strict=True):
        assert actual.dtype == torch.float32
        assert_value_close(actual, torch.from_numpy(expected) * centre, torch.float32)
    for function, weights in ((aw_ssim, WEIGHTS), (ssim, None)):
        arguments: dict[str, Any] = {**options, "backend": backend}
        if weights is not None:
            arguments["weights"] = weights
        expected = torch.from_numpy(reference.similarity(weights))
        actual = function(x, y, **arguments, reduction="none")
        assert_value_close(actual, expected, torch.float32)
        total = float(expected.sum())
        assert float(function(x, y, **arguments, reduction="sum")) == pytest.approx(total, rel=1e-5)
        mean = total / float(centre.sum())
        assert float(function(x, y, **arguments)) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradients(reduction: str, mask: Tensor, padding: str, backend: str) -> None:
    x, y = (image.requires_grad_() for image in images())
    options: dict[str, Any] = {"padding": padding, "mask": mask}
    value = aw_ssim(x, y, WEIGHTS, **options, reduction=reduction, backend=backend)
    centre = oracle.windows(x.detach(), y.detach(), **options).centre
    upstream, per_pixel = {
        "none": (noise(4, centre).float(), noise(4, centre)),
        "sum": (torch.tensor(-2.0), torch.tensor(-2.0)),
        "mean": (torch.tensor(-2.0), -2.0 / centre.sum()),
    }[reduction]
    gradients = torch.autograd.grad(value, (x, y), upstream)
    references = oracle.gradients(x, y, per_pixel, WEIGHTS, **options)
    for gradient, reference in zip(gradients, references, strict=True):
        assert_gradient_close(gradient, reference, torch.float32, float(per_pixel.abs().max()))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_loss_is_the_masked_distance(reduction: str, padding: str, backend: str) -> None:
    x, y = images()
    mask = soft(1)
    loss = AWSSIMLoss(WEIGHTS, reduction=reduction, padding=padding, backend=backend)
    reference = oracle.windows(x, y, padding=padding, mask=mask)
    distance = reference.centre - reference.similarity(WEIGHTS)
    expected = {
        "none": distance,
        "sum": distance.sum(),
        "mean": distance.sum() / reference.centre.sum(),
    }[reduction]
    actual = loss(x, y, mask)
    torch.testing.assert_close(actual.double(), expected, atol=1e-5, rtol=1e-5)
    if reduction == "none":
        assert not actual[reference.centre == 0].any()
    else:
        rounding = 1e-6 * (distance.numel() if reduction == "sum" else 1)
        assert float(loss(x, x, mask)) == pytest.approx(0, abs=rounding)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_mask_of_ones_changes_nothing(dtype: torch.dtype, backend: str) -> None:
    x, y = (image.requires_grad_() for image in images())
    plain = aw_ssim(x, y, reduction="none", backend=backend)
    mask = torch.ones(2, 1, 21, 24, dtype=dtype)
    masked = aw_ssim(x, y, mask=mask, reduction="none", backend=backend)
    assert_value_close(masked, plain, torch.float32)
    upstream = noise(4, plain)
    for actual, expected in zip(
        torch.autograd.grad(masked, (x, y), upstream),
        torch.autograd.grad(plain, (x, y), upstream),
        strict=True,
    ):
        assert_gradient_close(actual, expected, torch.float32)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("rubbish", [torch.nan, torch.inf, -1e30])
def test_masked_out_pixels_have_no_influence(rubbish: float, padding: str, backend: str) -> None:
    mask = blob().expand(SHAPE)
    outcomes = []
    for replace in (False, True):
        x, y = images()
        if replace:
            x[~mask], y[~mask] = rubbish, rubbish
        x, y = x.requires_grad_(), y.requires_grad_()
        value = aw_ssim(x, y, mask=mask, padding=padding, reduction="none", backend=backend)
        gradients = torch.autograd.grad(value, (x, y), noise(4, value))
        mean = aw_ssim(x, y, mask=mask, padding=padding, backend=backend)
        gradients += torch.autograd.grad(mean, (x, y))
        for gradient in gradients:
            assert not gradient[~mask].any()
            assert gradient.isfinite().all()
        outcomes.append((value, mean, *gradients))
    for clean, dirty in zip(*outcomes, strict=True):
        assert torch.equal(clean, dirty)


def test_nan_inside_the_mask_is_reported(backend: str) -> None:
    x, y = images()
    x[0, 0, 15, 18] = torch.nan
    assert aw_ssim(x, y, mask=blob(), backend=backend).isnan()


def test_nan_inside_the_mask_gives_hidden_pixels_no_gradient(backend: str) -> None:
    x, y = images()
    mask = blob().expand(SHAPE)
    x[0, 0, 15, 18] = torch.nan
    x.requires_grad_()
    value = aw_ssim(x, y, mask=mask, reduction="none", backend=backend)
    (gradient,) = torch.autograd.grad(value.nansum(), x)
    assert gradient.isnan().any()
    assert not gradient[~mask].any()


def test_scale_of_the_mask(backend: str) -> None:
    x, y = images()
    mask = soft(1)
    mean, half = (aw_ssim(x, y, mask=m, backend=backend) for m in (mask, 0.5 * mask))
    torch.testing.assert_close(mean, half, atol=1e-6, rtol=0)
    total, half = (
        aw_ssim(x, y, mask=m, reduction="sum", backend=backend) for m in (mask, 0.5 * mask)
    )
    torch.testing.assert_close(0.5 * total, half, atol=0, rtol=1e-5)


def test_an_image_without_foreground_counts_for_nothing(backend: str) -> None:
    x, y = images()
    mask = blob()
    mask[1] = False
    x.requires_grad_()
    both = aw_ssim(x, y, mask=mask, backend=backend)
    first = aw_ssim(x[:1], y[:1], mask=mask[:1], backend=backend)
    torch.testing.assert_close(both, first, atol=1e-6, rtol=0)
    (gradient,) = torch.autograd.grad(both, x)
    assert gradient[0].any()
    assert not gradient[1].any()


def test_masks_that_leave_nothing(backend: str) -> None:
    x, y = images()
    border = torch.ones(2, 1, 21, 24)
    border[..., 5:-5, 5:-5] = 0
    for mask in (torch.zeros(2, 1, 21, 24), torch.zeros(2, 1, 21, 24, dtype=torch.bool), border):
        with pytest.raises(ValueError, match="mask"):
            aw_ssim(x, y, mask=mask, backend=backend)
        with pytest.raises(ValueError, match="mask"):
            ssim_components(x, y, mask=mask, backend=backend)
    assert aw_ssim(x, y, mask=border, padding="same", backend=backend).isfinite()


def test_negative_masks(backend: str) -> None:
    x, y = images()
    for value in (-0.5, torch.nan):
        mask = torch.ones(2, 1, 21, 24)
        mask[0, 0, 10, 10] = value
        with pytest.raises(ValueError, match="negative"):
            aw_ssim(x, y, mask=mask, backend=backend)


def test_the_mask_is_left_alone(backend: str) -> None:
    x, y = images()
    mask = soft(1)
    copy = mask.clone()
    aw_ssim(x.requires_grad_(), y, mask=mask, backend=backend).backward()
    assert torch.equal(mask, copy)
