"""Properties that hold for any pair of images, over images that hypothesis draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from drawn_images import pairs, weights
from hypothesis import assume, given
from hypothesis import strategies as st
from tested_backends import BACKENDS, COMPLETE_BACKENDS
from torch import Tensor

from aw_ssim import AWSSIMLoss, SSIMLoss, aw_ssim, ssim, ssim_components

ROUNDING = 2e-6
WINDOW = 5


backends = st.sampled_from(BACKENDS)
options: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "backend": backends,
        "window_size": st.sampled_from([3, WINDOW]),
        "sigma": st.floats(0.3, 4),
        "padding": st.sampled_from(["valid", "same"]),
    }
)


@given(pairs(), weights, options)
def test_identity(
    pair: tuple[Tensor, Tensor], weights: tuple[float, float, float], options: dict[str, Any]
) -> None:
    x, _ = pair
    for similarity in (aw_ssim(x, x, weights, **options), ssim(x, x, **options)):
        assert float(similarity) == pytest.approx(1, abs=ROUNDING)


@given(pairs(), options)
def test_symmetry_to_the_bit(pair: tuple[Tensor, Tensor], options: dict[str, Any]) -> None:
    x, y = pair
    for forward, backward in zip(
        ssim_components(x, y, **options), ssim_components(y, x, **options), strict=True
    ):
        assert torch.equal(forward, backward)


@given(pairs(), options, st.sampled_from([0.0, 0.3, 1.0]))
def test_losses_are_never_below_zero(
    pair: tuple[Tensor, Tensor], options: dict[str, Any], factor: float
) -> None:
    """Not by rounding either, which structure alone of proportional images would show."""
    x, _ = pair
    structure = (0.0, 0.0, 1.0)
    for loss in (
        AWSSIMLoss(structure, reduction="none", **options),
        SSIMLoss(reduction="none", **options),
    ):
        assert float(loss(x, factor * x).min()) >= 0


@given(pairs(), weights, options)
def test_bounds(
    pair: tuple[Tensor, Tensor], weights: tuple[float, float, float], options: dict[str, Any]
) -> None:
    luminance, contrast, structure = ssim_components(*pair, **options)
    assert 0 < float(luminance.min()) <= float(luminance.max()) <= 1 + ROUNDING
    assert 0 < float(contrast.min()) <= float(contrast.max()) <= 1 + ROUNDING
    assert -1 - ROUNDING <= float(structure.min()) <= float(structure.max()) <= 1 + ROUNDING
    similarity = aw_ssim(*pair, weights, **options)
    assert -weights[2] / sum(weights) - ROUNDING <= float(similarity) <= 1 + ROUNDING


@given(pairs(), st.floats(1e-3, 1e5), options)
def test_data_range_invariance(
    pair: tuple[Tensor, Tensor], data_range: float, options: dict[str, Any]
) -> None:
    assume(options["backend"] in COMPLETE_BACKENDS)
    # in float64, since scaling rounds the images and a nearly flat window magnifies that
    scaled = [(data_range * image.double()).requires_grad_() for image in pair]
    unit = [image.double().requires_grad_() for image in pair]
    value = aw_ssim(*scaled, data_range=data_range, **options)
    expected = aw_ssim(*unit, **options)
    torch.testing.assert_close(value, expected, atol=1e-7, rtol=0)
    gradients = torch.autograd.grad(value, scaled)
    for actual, reference in zip(gradients, torch.autograd.grad(expected, unit), strict=True):
        torch.testing.assert_close(data_range * actual, reference, atol=1e-6, rtol=1e-4)


@given(pairs(), st.integers(1, 12), options)
def test_data_range_of_a_power_of_two_is_exact(
    pair: tuple[Tensor, Tensor], exponent: int, options: dict[str, Any]
) -> None:
    data_range = 2.0**exponent
    scaled = aw_ssim(*(data_range * image for image in pair), data_range=data_range, **options)
    assert torch.equal(scaled, aw_ssim(*pair, **options))


@given(pairs(), backends, st.sampled_from(["valid", "same"]), st.data())
def test_locality(
    pair: tuple[Tensor, Tensor], backend: str, padding: str, data: st.DataObject
) -> None:
    """A pixel reaches the windows that cover it and no others; a window reaches its pixels."""
    x, y = pair
    options: dict[str, Any] = {"window_size": WINDOW, "padding": padding, "backend": backend}
    row = data.draw(st.integers(0, x.shape[2] - 1))
    column = data.draw(st.integers(0, x.shape[3] - 1))
    moved = x.clone()
    moved[0, 0, row, column] += 0.5
    before = aw_ssim(x, y, reduction="none", **options)
    changed = before != aw_ssim(moved, y, reduction="none", **options)
    # a reflected pixel is never further from a window's centre than the pixel itself
    before_it, after_it = (WINDOW // 2, WINDOW // 2) if padding == "same" else (WINDOW - 1, 0)
    allowed = torch.zeros_like(changed)
    rows = slice(max(row - before_it, 0), row + after_it + 1)
    allowed[0, 0, rows, max(column - before_it, 0) : column + after_it + 1] = True
    assert not (changed & ~allowed).any()

    x = x.clone().requires_grad_()
    similarity = aw_ssim(x, y, reduction="none", **options)
    (gradient,) = torch.autograd.grad(similarity[-1, -1, 0, 0], x)
    extent = WINDOW if padding == "valid" else WINDOW // 2 + 1
    gradient[-1, -1, :extent, :extent] = 0
    assert not gradient.any()


@given(pairs(), options)
def test_images_of_a_batch_do_not_see_each_other(
    pair: tuple[Tensor, Tensor], options: dict[str, Any]
) -> None:
    x, y = (torch.cat([image, 1 - image, image.flip(-1)]) for image in pair)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    similarity = aw_ssim(x, y, reduction="none", **options)
    permuted = aw_ssim(x[order], y[order], reduction="none", **options)
    torch.testing.assert_close(permuted, similarity[order], atol=ROUNDING, rtol=0)
    alone = aw_ssim(x[:1], y[:1], reduction="none", **options)
    torch.testing.assert_close(alone, similarity[:1], atol=ROUNDING, rtol=0)


@given(st.floats(0, 1, width=32), st.floats(0, 1, width=32), options)
def test_constant_images(first: float, second: float, options: dict[str, Any]) -> None:
    x, y = torch.full((1, 2, 9, 8), first), torch.full((1, 2, 9, 8), second)
    luminance, contrast, structure = ssim_components(x, y, **options)
    expected = (2 * first * second + 1e-4) / (first**2 + second**2 + 1e-4)
    assert luminance.sub(expected).abs().max() < ROUNDING
    # a constant window has a variance of exactly 0
    assert torch.equal(contrast, torch.ones_like(contrast))
    assert torch.equal(structure, torch.ones_like(structure))


@given(pairs(), weights, options)
def test_gradients_are_finite(
    pair: tuple[Tensor, Tensor], weights: tuple[float, float, float], options: dict[str, Any]
) -> None:
    x, y = (image.clone().requires_grad_() for image in pair)
    for similarity in (
        aw_ssim(x, y, weights, reduction="sum", **options),
        ssim(x, y, reduction="sum", **options),
    ):
        for gradient in torch.autograd.grad(similarity, (x, y)):
            assert gradient.isfinite().all()


@given(pairs(), backends)
def test_nan_stays_in_its_windows(pair: tuple[Tensor, Tensor], backend: str) -> None:
    x, y = pair
    x = x.clone()
    x[0, 0, 0, 0] = torch.nan
    similarity = aw_ssim(x, y, window_size=WINDOW, reduction="none", backend=backend)
    poisoned = torch.zeros_like(similarity, dtype=torch.bool)
    poisoned[0, 0, 0, 0] = True
    assert torch.equal(similarity.isnan(), poisoned)
    for reduction in ("mean", "sum"):
        total = aw_ssim(x, y, window_size=WINDOW, reduction=reduction, backend=backend)
        assert total.isnan()


@given(pairs(), options)
def test_nan_leaves_the_gradient_of_other_images_alone(
    pair: tuple[Tensor, Tensor], options: dict[str, Any]
) -> None:
    x, y = (torch.cat([image, image.flip(-1)]) for image in pair)
    gradients = []
    for value in (0.5, torch.nan):
        x = x.detach().clone()
        x[0, 0, 2, 2] = value
        x.requires_grad_()
        total = aw_ssim(x, y, reduction="sum", **options)
        gradients.append(torch.autograd.grad(total, x)[0][1:])
    torch.testing.assert_close(*gradients, atol=0, rtol=1e-5)
