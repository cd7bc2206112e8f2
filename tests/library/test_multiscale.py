"""Several scales: against the definition in float64, other libraries, and where those fail."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
import torch
import torch.nn.functional as F
from cases import noise
from torch import Tensor

from aw_ssim import AWSSIMLoss, MSAWSSIMLoss, MSSSIMLoss, SSIMLoss
from aw_ssim.multiscale import WANG

THREE = (0.2, 0.3, 0.5)
KINDS = [MSSSIMLoss, MSAWSSIMLoss]


def pair(height: int = 48, width: int = 55, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth enough to keep some contrast at coarse scales."""
    x = noise(seed, torch.empty(2, 3, height // 4 + 1, width // 4 + 1))
    x = F.interpolate(x, size=(height, width), mode="bilinear").mul(0.2).add(0.5).clamp(0, 1)
    return x, (x + 0.05 * noise(seed + 1, x)).clamp(0, 1)


def definition(x: Tensor, y: Tensor, scale_weights: tuple[float, ...], **options: Any) -> Tensor:
    """Of each image: 1 - the product over scales, in float64, from unfolded windows."""
    similarity = torch.ones(x.shape[:2], dtype=torch.float64)
    for number, weight in enumerate(scale_weights):
        maps = oracle.windows(x, y, **options)
        terms = maps.contrast * maps.structure
        if number == len(scale_weights) - 1:
            terms = terms * maps.luminance
        similarity = similarity * terms.mean((2, 3)) ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return 1 - similarity.mean(1)


@pytest.mark.parametrize("padding", ["valid", "same", "zeros"])
@pytest.mark.parametrize("scale_weights", [THREE, (1.0,), (0.1, 0.9)], ids=len)
def test_the_definition(scale_weights: tuple[float, ...], padding: str, backend: str) -> None:
    options: dict[str, Any] = {"window_size": 7, "padding": padding}
    x, y = pair()
    exact = x.double().requires_grad_()
    expected = definition(exact, y.double(), scale_weights, **options)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), exact)
    loss = MSSSIMLoss(scale_weights=scale_weights, reduction="image", backend=backend, **options)
    x.requires_grad_()
    found = loss(x, y)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=0)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    scale = float(expected_gradient.abs().max())
    torch.testing.assert_close(gradient.double(), expected_gradient, atol=1e-4 * scale, rtol=0)


def test_the_sum_over_scales(backend: str) -> None:
    """The losses of the scales, each as AWSSIMLoss gives it."""
    x, y = pair()
    weights = (0.2, 0.3, 0.5)
    single = AWSSIMLoss(weights, backend=backend)
    expected = 0.25 * single(x, y) + 0.75 * single(F.avg_pool2d(x, 2), F.avg_pool2d(y, 2))
    found = MSAWSSIMLoss(weights, scale_weights=(1, 3), backend=backend)(x, y)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_one_scale_is_the_loss_of_one_scale(backend: str) -> None:
    x, y = pair()
    for multi, single in ((MSSSIMLoss, SSIMLoss), (MSAWSSIMLoss, AWSSIMLoss)):
        found = multi(scale_weights=(1.0,), backend=backend)(x, y)
        torch.testing.assert_close(found, single(backend=backend)(x, y), atol=1e-6, rtol=1e-5)


def test_pytorch_msssim() -> None:
    library = pytest.importorskip("pytorch_msssim")
    x, y = (image.double() for image in pair(192, 208))
    values, gradients = [], []
    for loss in (lambda a, b: 1 - library.ms_ssim(a, b, data_range=1.0), MSSSIMLoss()):
        prediction = x.clone().requires_grad_()
        value = loss(prediction, y)
        values.append(float(value.detach()))
        gradients.append(torch.autograd.grad(value, prediction)[0])
    # Its window is float32.
    assert values[1] == pytest.approx(values[0], abs=1e-6)
    error = (gradients[1] - gradients[0]).abs().max() / gradients[0].abs().max()
    assert float(error) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_finite_where_products_are_negative_or_images_flat(kind: Any, backend: str) -> None:
    """pytorch-msssim gives NaN for some of these gradients."""
    x, _ = pair(64, 64)
    flat = torch.full_like(x, 0.5)
    for one, other in ((x, 1 - x), (x, flat), (flat, x), (flat, flat), (x, x), (0 * x, 1 + 0 * x)):
        prediction = one.clone().requires_grad_()
        value = kind(scale_weights=THREE, backend=backend)(prediction, other)
        (gradient,) = torch.autograd.grad(value, prediction)
        assert -1e-6 <= float(value.detach()) <= 2
        assert gradient.isfinite().all()


def test_an_inverted_image_is_led_back() -> None:
    """Where every product is negative, the loss still falls towards the target."""
    target = pair(64, 64)[0].double()
    prediction = (0.5 + 0.2 * (0.5 - target)).requires_grad_()
    loss = MSSSIMLoss(scale_weights=THREE)
    before = loss(prediction, target)
    (gradient,) = torch.autograd.grad(before, prediction)
    step = prediction.detach() - 0.01 * gradient / gradient.abs().max()
    assert float(loss(step, target)) < float(before.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_masked_pixels_have_no_influence(kind: Any, backend: str) -> None:
    x, y = pair(64, 64)
    mask = torch.ones(2, 1, 64, 64)
    mask[..., :27] = 0
    hidden = torch.where(mask > 0, x, torch.nan).requires_grad_()
    loss = kind(scale_weights=THREE, padding="same", backend=backend)
    value = loss(hidden, y, mask)
    torch.testing.assert_close(value, loss(x, y, mask), atol=0, rtol=0)
    (gradient,) = torch.autograd.grad(value, hidden)
    assert gradient.isfinite().all()
    assert not gradient[..., :27].any()
    whole = loss(x, y, torch.ones_like(mask))
    torch.testing.assert_close(whole, loss(x, y), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_images_and_sums(kind: Any) -> None:
    x, y = pair()
    options = {"scale_weights": THREE}
    images = kind(reduction="image", **options)(x, y)
    alone = torch.stack([kind(**options)(x[i : i + 1], y[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(images, alone, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(kind(**options)(x, y), images.mean(), atol=1e-6, rtol=1e-5)
    total = kind(reduction="sum", **options)(x, y)
    torch.testing.assert_close(total, 3 * images.sum(), atol=1e-5, rtol=1e-5)


def test_images_too_small_are_told_what_helps() -> None:
    x, y = pair(44, 60)
    with pytest.raises(ValueError, match=r"at least 176 for 5 scales, .*fewer scale_weights"):
        MSSSIMLoss()(x, y)
    assert MSSSIMLoss(scale_weights=WANG[:3])(x, y).isfinite()
    with pytest.raises(ValueError, match="at least 44 for 3 scales"):
        MSSSIMLoss(scale_weights=WANG[:3])(x[..., :43], y[..., :43])


@pytest.mark.parametrize(
    ("scale_weights", "error"),
    [((), TypeError), ("abc", TypeError), (0.5, TypeError), ((0.5, 0), ValueError)],
)
def test_scale_weights_that_are_none(scale_weights: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="scale_weights"):
        MSSSIMLoss(scale_weights=scale_weights)


def test_a_map_is_refused() -> None:
    with pytest.raises(ValueError, match="reduction: expected one of 'mean', 'sum', 'image'"):
        MSSSIMLoss(reduction="none")


def test_the_text_names_the_scales() -> None:
    assert "scale_weights=(0.2, 0.3, 0.5)" in repr(MSSSIMLoss(scale_weights=THREE))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_images_are_halved_in_single_precision(kind: Any, dtype: torch.dtype) -> None:
    x, y = (image.to(dtype) for image in pair())
    loss = kind(scale_weights=THREE)
    torch.testing.assert_close(loss(x, y), loss(x.float(), y.float()), atol=1e-6, rtol=1e-5)
    prediction = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(prediction, y), prediction)
    assert gradient.dtype == dtype
    assert gradient.any()


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_the_mask_hides_counts_as_identical(kind: Any) -> None:
    x, y = pair()
    mask = torch.ones(2, 1, *x.shape[2:])
    mask[1] = 0
    loss = kind(scale_weights=THREE, padding="same")
    torch.testing.assert_close(loss(x, y, mask), loss(x[:1], y[:1]) / 2, atol=1e-6, rtol=1e-5)
