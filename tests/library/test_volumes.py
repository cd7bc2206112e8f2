"""Volumes N x C x D x H x W: what images have, with a window in all three dimensions."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
import torch
from cases import noise
from tolerances import TOLERANCES, assert_gradient_close, assert_value_close
from torch import Tensor
from volume_cases import SHAPE, SMALL, masks, volumes

from aw_ssim import (
    AWSSIMLoss,
    SSIMLoss,
    aw_ssim,
    ssim,
    ssim_components,
)
from aw_ssim.backends.analytic import run as analytic

WEIGHTS = (0.2, 0.3, 0.5)
OPTIONS: dict[str, dict[str, Any]] = {
    "window 1": {"window_size": 1},
    "valid": {},
    "same": {"padding": "same"},
    "zeros": {"padding": "zeros"},
    "uniform, sample": {"window": "uniform", "covariance": "sample", "window_size": 3},
    "sample, zeros": {"covariance": "sample", "padding": "zeros", "window_size": 3},
    "range and constants": {"data_range": 2.5, "k1": 0.05, "k2": 0.1},
    # Wider than the volume is deep.
    "same, window 11": {"padding": "same", "window_size": 11, "sigma": 1.5},
}
PADDINGS = ["valid", "same", "zeros"]


@pytest.fixture
def backend(complete_backend: str) -> str:
    """Those that take volumes."""
    return complete_backend


def assert_gradients(actual: Any, expected: Any, upstream: float = 1.0) -> None:
    for left, right in zip(actual, expected, strict=True):
        assert_gradient_close(left, right, torch.float32, upstream)


def assert_like_the_oracle(x: Tensor, y: Tensor, options: dict[str, Any], backend: str) -> None:
    """Terms, both similarity maps, and the gradients of these under any upstream gradient."""
    reference = oracle.windows(x, y, **options)
    components = ssim_components(x, y, **options, backend=backend)
    for actual, expected in zip(components, reference[:3], strict=True):
        assert_value_close(actual, expected * reference.centre, torch.float32)
    upstream = noise(8, reference.centre)
    for function, weights in ((aw_ssim, {"weights": WEIGHTS}), (ssim, {})):
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        similarity = function(x, y, **weights, **options, reduction="none", backend=backend)
        expected = reference.similarity(weights.get("weights"))
        assert_value_close(similarity, expected, torch.float32)
        actual = torch.autograd.grad(similarity, (x, y), upstream.float())
        exact = oracle.gradients(x, y, upstream, weights.get("weights"), **options)
        assert_gradients(actual, exact)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options(options: dict[str, Any], backend: str) -> None:
    assert_like_the_oracle(*volumes(), SMALL | options, backend)


def test_the_default_window(backend: str) -> None:
    assert_like_the_oracle(*volumes((1, 1, 12, 11, 13)), {}, backend)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mask", ["body", "soft"])
def test_masks(mask: str, padding: str, backend: str) -> None:
    options = SMALL | {"mask": masks()[mask], "padding": padding}
    assert_like_the_oracle(*volumes(), options, backend)


@pytest.mark.parametrize("covariance", ["population", "sample"])
def test_hard_volumes(covariance: str, backend: str) -> None:
    """Flat, black, identical and inverted, nearly flat and bright: finite, and right."""
    x, _ = volumes((1, 1, 6, 7, 8))
    flat, bright = torch.full_like(x, 0.7), 0.9 + 1e-3 * noise(4, x)
    board = (torch.arange(x.numel()).reshape(x.shape) % 2).float()
    for one, other in (
        *((flat, x), (x, flat), (flat, 0.5 * flat), (0 * x, x), (0 * x, 0 * x), (x, x.clone())),
        *((board, 1 - board), (bright, 0.9 + 1e-3 * noise(5, x))),
    ):
        assert_like_the_oracle(one, other, SMALL | {"covariance": covariance}, backend)


@pytest.mark.parametrize("mask", masks())
@pytest.mark.parametrize("padding", PADDINGS)
def test_reductions(padding: str, mask: str, backend: str) -> None:
    x, y = (image.requires_grad_() for image in volumes())
    options = SMALL | {"mask": masks()[mask], "padding": padding}
    reference = oracle.windows(x.detach(), y.detach(), **options)
    loss, count = reference.centre - reference.similarity(WEIGHTS), reference.centre
    each = (1, 2, 3, 4)
    expected = {
        "mean": loss.sum() / count.sum(),
        "sum": loss.sum(),
        "image": loss.sum(each) / count.sum(each),
        "none": loss,
    }
    del options["mask"]
    for reduction, value in expected.items():
        found = AWSSIMLoss(WEIGHTS, reduction=reduction, backend=backend, **options)(
            x, y, masks()[mask]
        )
        torch.testing.assert_close(found.double(), value, atol=1e-5, rtol=1e-5)
    mean = aw_ssim(x, y, WEIGHTS, mask=masks()[mask], backend=backend, **options)
    upstream = -3.7 / count.sum()
    exact = oracle.gradients(x, y, upstream, WEIGHTS, mask=masks()[mask], **options)
    assert_gradients(torch.autograd.grad(-3.7 * mean, (x, y)), exact, float(upstream.abs()))


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize("mask", masks())
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_chunks_join_without_a_seam(
    padding: str, mask: str, reduction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One volume at a time, and of it one slice of windows."""
    x, y = (image.requires_grad_() for image in volumes())
    options = SMALL | {"mask": masks()[mask], "padding": padding, "reduction": reduction}
    outcomes = []
    for pixels in (1 << 18, 1):
        monkeypatch.setattr(analytic, "CHUNK_PIXELS", pixels)
        value = aw_ssim(x, y, WEIGHTS, **options, backend="analytic")
        outcomes.append([value, *torch.autograd.grad(value, (x, y), torch.ones_like(value))])
    for whole, cut in zip(*outcomes, strict=True):
        scale = float(whole.detach().abs().max())
        torch.testing.assert_close(cut, whole, atol=1e-4 * scale, rtol=0)


@pytest.mark.parametrize("padding", PADDINGS)
def test_masked_voxels_have_no_influence(padding: str, backend: str) -> None:
    mask = masks()["body"]
    assert mask is not None
    outcomes = []
    for rubbish in (0.5, torch.nan):
        x, y = (image.masked_fill(~mask, rubbish).requires_grad_() for image in volumes())
        value = aw_ssim(x, y, mask=mask, padding=padding, backend=backend, **SMALL)
        gradients = torch.autograd.grad(value, (x, y))
        assert all(g.isfinite().all() and not g[~mask.expand(SHAPE)].any() for g in gradients)
        outcomes.append([value, *gradients])
    for clean, dirty in zip(*outcomes, strict=True):
        assert torch.equal(clean, dirty)


def test_a_nan_poisons_the_windows_that_see_it_alone(backend: str) -> None:
    x, y = volumes((1, 1, 9, 9, 9))
    x[0, 0, 1, 4, 4] = torch.nan
    found = ssim(x, y, reduction="none", backend=backend, **SMALL).isnan()
    expected = torch.zeros_like(found)
    expected[:, :, :2] = True
    assert torch.equal(found, expected)


@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"covariance": "sample"}], ids=str)
def test_equal_slices_are_the_plane(options: dict[str, Any], backend: str) -> None:
    """Along an axis in which nothing changes, a window sees what a plane's window sees."""
    x, y = (image.double() for image in volumes((1, 2, 12, 13)))
    plane = ssim(x, y, reduction="none", backend=backend, **SMALL, **options)
    if "covariance" in options:
        # Of 125 taps, not of 25.
        k2 = 0.03 * ((25 / 24) / (125 / 124)) ** 0.5
        plane = ssim(x, y, reduction="none", k2=k2, **SMALL, **options)
    for axis in (2, 3, 4):
        deep = [image.unsqueeze(axis).repeat_interleave(7, axis) for image in (x, y)]
        value = ssim(*deep, reduction="none", backend=backend, **SMALL, **options)
        middle = value.select(axis, value.shape[axis] // 2)
        torch.testing.assert_close(middle, plane, atol=1e-12, rtol=0)


def test_axes_may_change_places(backend: str) -> None:
    x, y = volumes((1, 1, 7, 9, 11))
    expected = aw_ssim(x, y, reduction="none", backend=backend, **SMALL)
    for order in ((2, 4, 3), (4, 2, 3), (4, 3, 2)):
        moved = [image.permute(0, 1, *order) for image in (x, y)]
        found = aw_ssim(*moved, reduction="none", backend=backend, **SMALL)
        torch.testing.assert_close(found, expected.permute(0, 1, *order), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_dtypes_and_autocast(dtype: torch.dtype, backend: str) -> None:
    x, y = (image.to(dtype).requires_grad_() for image in volumes())
    exact = [image.detach().double() for image in (x, y)]

    def run() -> tuple[Tensor, ...]:
        value = ssim(x, y, padding="same", backend=backend, **SMALL)
        return value, *torch.autograd.grad(value, (x, y))

    value, *gradients = run()
    reference = oracle.windows(*exact, padding="same", **SMALL).similarity(None)
    assert_value_close(value, reference.mean(), dtype)
    upstream = 1 / reference.numel()
    expected = oracle.gradients(*exact, upstream, None, padding="same", **SMALL)
    for left, right in zip(gradients, expected, strict=True):
        assert_gradient_close(left, right, dtype, upstream)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(map(torch.equal, run(), (value, *gradients)))


def test_a_range_for_each_volume(backend: str) -> None:
    ranges = torch.tensor([1.0, 30.0])
    x, y = volumes()
    loss = SSIMLoss(reduction="image", backend=backend, **SMALL)
    scaled = (image * ranges.view(2, 1, 1, 1, 1) for image in (x, y))
    torch.testing.assert_close(loss(*scaled, data_range=ranges), loss(x, y), atol=1e-6, rtol=1e-5)
