"""Components, similarity maps and gradients against the float64 oracle, on both backends."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import oracle
import pytest
import torch
from cases import PAIRS, camera, noise
from tolerances import assert_gradient_close, assert_value_close
from torch import Tensor

from aw_ssim import aw_ssim, ssim, ssim_components
from aw_ssim.backends.analytic import run as analytic

SIGMAS = (0.5, 1.0, 1.5, 2.5, 4.0)
NAMES = ("luminance", "contrast", "structure")
WEIGHTS = (0.2, 0.3, 0.5)
OPTIONS: dict[str, dict[str, Any]] = {
    "window 1": {"window_size": 1},
    "window 3": {"window_size": 3, "sigma": 0.8},
    "window 7": {"window_size": 7, "sigma": 1.2},
    "window 21": {"window_size": 21, "sigma": 3.5},
    "window 33": {"window_size": 33, "sigma": 5.0},
    "same": {"padding": "same"},
    "same, window 33": {"padding": "same", "window_size": 33, "sigma": 6.0},
    "data range": {"data_range": 2.5},
    "constants": {"k1": 0.05, "k2": 0.1},
    "no constants": {"k1": 0.0, "k2": 0.0},
    "zeros": {"padding": "zeros", "window_size": 7},
    "uniform": {"window": "uniform", "window_size": 7},
    "sample": {"covariance": "sample", "window_size": 3},
    "uniform, sample, zeros": {
        "window": "uniform",
        "covariance": "sample",
        "padding": "zeros",
        "window_size": 5,
    },
}
SHAPES = ((1, 1, 11, 11), (2, 3, 12, 11), (3, 1, 11, 37), (1, 4, 23, 18), (35, 1, 13, 12))

expected_components = functools.cache(
    lambda name, sigma: oracle.loops(*PAIRS[name], sigma=sigma),
)


def images(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """A textured pair in [0, 1] that differs by noise."""
    x = 0.5 + 0.2 * noise(seed, torch.empty(shape))
    return x.clamp(0, 1), (x + 0.1 * noise(seed + 1, x)).clamp(0, 1)


def pixel_gradients(
    function: Callable[..., Tensor], x: Tensor, y: Tensor, upstream: Tensor, **options: Any
) -> tuple[Tensor, Tensor]:
    """Gradients of `sum(upstream * map)` to both images."""
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    similarity = function(x, y, reduction="none", **options)
    gradient_x, gradient_y = torch.autograd.grad(similarity, (x, y), upstream)
    return gradient_x, gradient_y


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", PAIRS)
def test_components(name: str, sigma: float, backend: str) -> None:
    components = ssim_components(*PAIRS[name], sigma=sigma, backend=backend)
    assert components._fields == NAMES
    for component in NAMES:
        actual = getattr(components, component)
        assert actual.dtype == torch.float32
        expected = torch.from_numpy(getattr(expected_components(name, sigma), component))
        assert_value_close(actual, expected, torch.float32)


@pytest.mark.parametrize("name", PAIRS)
def test_double_precision(name: str, complete_backend: str) -> None:
    backend = complete_backend
    x, y = (image.double() for image in PAIRS[name])
    for actual, expected in zip(
        ssim_components(x, y, backend=backend), expected_components(name, 1.5)[:3], strict=True
    ):
        assert actual.dtype == torch.float64
        assert_value_close(actual, torch.from_numpy(expected), torch.float64)
    upstream = noise(7, torch.empty(1, 1, 30, 38)).double()
    actual = pixel_gradients(aw_ssim, x, y, upstream, weights=WEIGHTS, backend=backend)
    expected = oracle.gradients(x, y, upstream, WEIGHTS)
    for left, right in zip(actual, expected, strict=True):
        assert_gradient_close(left, right, torch.float64)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), WEIGHTS], ids=str)
def test_gradients(
    weights: tuple[float, float, float], name: str, sigma: float, backend: str
) -> None:
    x, y = PAIRS[name]
    upstream = noise(7, torch.empty(1, 1, 30, 38))
    actual = pixel_gradients(aw_ssim, x, y, upstream, weights=weights, sigma=sigma, backend=backend)
    expected = oracle.gradients(x, y, upstream, weights, sigma=sigma)
    for left, right in zip(actual, expected, strict=True):
        assert_gradient_close(left, right, torch.float32)


@pytest.mark.parametrize("name", PAIRS)
def test_product_is_standard_ssim(name: str, backend: str) -> None:
    x, y = PAIRS[name]
    expected = torch.from_numpy(expected_components(name, 1.5).similarity(None))
    assert_value_close(ssim(x, y, reduction="none", backend=backend), expected, torch.float32)
    upstream = noise(7, torch.empty(1, 1, 30, 38))
    actual = pixel_gradients(ssim, x, y, upstream, backend=backend)
    for left, right in zip(actual, oracle.gradients(x, y, upstream, None), strict=True):
        assert_gradient_close(left, right, torch.float32)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options(options: dict[str, Any], backend: str) -> None:
    x, y = PAIRS["noisy"]
    reference = oracle.loops(x, y, **options)
    for actual, expected in zip(
        ssim_components(x, y, **options, backend=backend), reference[:3], strict=True
    ):
        assert_value_close(actual, torch.from_numpy(expected), torch.float32)
    upstream = noise(8, torch.from_numpy(reference.centre))
    gradients = pixel_gradients(
        aw_ssim, x, y, upstream, weights=WEIGHTS, **options, backend=backend
    )
    for actual, expected in zip(
        gradients, oracle.gradients(x, y, upstream, WEIGHTS, **options), strict=True
    ):
        assert_gradient_close(actual, expected, torch.float32)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape: tuple[int, ...], padding: str, backend: str) -> None:
    x, y = images(shape)
    expected = oracle.windows(x, y, padding=padding).similarity(WEIGHTS)
    actual = aw_ssim(x, y, WEIGHTS, padding=padding, reduction="none", backend=backend)
    assert_value_close(actual, expected, torch.float32)
    upstream = noise(8, expected)
    gradients = pixel_gradients(
        aw_ssim, x, y, upstream, weights=WEIGHTS, padding=padding, backend=backend
    )
    for left, right in zip(
        gradients, oracle.gradients(x, y, upstream, WEIGHTS, padding=padding), strict=True
    ):
        assert_gradient_close(left, right, torch.float32)


@pytest.mark.parametrize("shape", [(1, 1, 301, 517), (9, 4, 64, 64)], ids=str)
def test_large_images_and_batches(shape: tuple[int, ...]) -> None:
    """The closed form in float32 against the plain path in float64."""
    x, y = images(shape)
    upstream = noise(8, torch.empty(*shape[:2], shape[2] - 10, shape[3] - 10))
    exact = pixel_gradients(aw_ssim, x.double(), y.double(), upstream.double(), backend="torch")
    actual = pixel_gradients(aw_ssim, x, y, upstream, backend="analytic")
    for left, right in zip(actual, exact, strict=True):
        assert_gradient_close(left, right, torch.float32)
    value = aw_ssim(x, y, backend="analytic", reduction="none")
    expected = aw_ssim(x.double(), y.double(), backend="torch", reduction="none")
    assert_value_close(value, expected, torch.float32)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_chunks_join_without_a_seam(
    reduction: str, padding: str, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small chunks: one plane at a time, in strips of a few rows."""
    monkeypatch.setattr(analytic, "CHUNK_PIXELS", 64)
    x, y = images((2, 2, 67, 14))
    options: dict[str, Any] = {"padding": padding, "window_size": 5}
    if masked:
        options["mask"] = (noise(4, x) > -1).float()
    reference = oracle.windows(x, y, **options).similarity(WEIGHTS)
    x, y = x.requires_grad_(), y.requires_grad_()
    actual = aw_ssim(x, y, WEIGHTS, **options, reduction=reduction, backend="analytic")
    if reduction == "sum":
        assert float(actual.detach()) == pytest.approx(float(reference.sum()), rel=1e-6)
    else:
        assert_value_close(actual, reference, torch.float32)
    gradients = torch.autograd.grad(actual, (x, y), torch.ones_like(actual))
    for left, right in zip(gradients, oracle.gradients(x, y, 1.0, WEIGHTS, **options), strict=True):
        assert_gradient_close(left, right, torch.float32)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("function", [aw_ssim, ssim])
def test_reductions_and_scalar_upstream(
    function: Callable[..., Tensor], reduction: str, backend: str
) -> None:
    x, y = images((2, 3, 17, 20))
    weights = None if function is ssim else (1 / 3, 1 / 3, 1 / 3)
    similarity = oracle.windows(x, y).similarity(weights)
    x, y = x.requires_grad_(), y.requires_grad_()
    value = function(x, y, reduction=reduction, backend=backend)
    assert value.shape == ()
    expected = similarity.sum() if reduction == "sum" else similarity.mean()
    assert float(value.detach()) == pytest.approx(float(expected), rel=1e-6)
    upstream = -3.7 if reduction == "sum" else -3.7 / similarity.numel()
    (-3.7 * value).backward()
    for image, reference in zip((x, y), oracle.gradients(x, y, upstream, weights), strict=True):
        assert_gradient_close(image.grad, reference, torch.float32, abs(upstream))


def test_gradient_of_components(backend: str) -> None:
    x, y = (image.clone().requires_grad_() for image in PAIRS["clipped"])
    upstreams = [noise(seed, torch.empty(1, 1, 30, 38)) for seed in (1, 2, 3)]
    components = ssim_components(x, y, backend=backend)
    gradients = torch.autograd.grad(list(components), (x, y), upstreams)
    exact_x, exact_y = (image.detach().double().requires_grad_() for image in (x, y))
    maps = oracle.windows(exact_x, exact_y)[:3]
    expected = torch.autograd.grad(maps, (exact_x, exact_y), [u.double() for u in upstreams])
    for left, right in zip(gradients, expected, strict=True):
        assert_gradient_close(left, right, torch.float32)


def strided(image: Tensor) -> Tensor:
    return image.repeat_interleave(2, dim=-1)[..., ::2]


def transposed(image: Tensor) -> Tensor:
    return image.transpose(-1, -2).contiguous().transpose(-1, -2)


def channels_last(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


def offset(image: Tensor) -> Tensor:
    return torch.nn.functional.pad(image, (3, 2, 1, 4))[..., 1:-4, 3:-2]


@pytest.mark.parametrize("layout", [strided, transposed, channels_last, offset])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_memory_layout(layout: Callable[[Tensor], Tensor], reduction: str, backend: str) -> None:
    x, y = images((2, 3, 19, 23))
    results = []
    for arrange in (Tensor.contiguous, layout):
        left, right = arrange(x).requires_grad_(), arrange(y).requires_grad_()
        value = aw_ssim(left, right, reduction=reduction, backend=backend)
        upstream = arrange(noise(5, value)) if value.dim() else torch.tensor(2.0)
        results.append((value.detach(), *torch.autograd.grad(value, (left, right), upstream)))
    for plain, arranged in zip(*results, strict=True):
        torch.testing.assert_close(plain, arranged, atol=1e-6, rtol=1e-5)


def test_expanded_images(backend: str) -> None:
    x, y = camera(20, 20), images((3, 2, 20, 20))[1]
    x.requires_grad_()
    value = aw_ssim(x.expand(3, 2, 20, 20), y, reduction="sum", backend=backend)
    (gradient,) = torch.autograd.grad(value, x)
    wide = x.detach().expand(3, 2, 20, 20)
    expected, _ = oracle.gradients(wide, y, 1.0, (1, 1, 1))
    assert_gradient_close(gradient, expected.sum((0, 1), keepdim=True), torch.float32)


def test_inputs_are_left_alone(backend: str) -> None:
    x, y = images((1, 2, 14, 15))
    copies = x.clone(), y.clone()
    value = aw_ssim(x.requires_grad_(), y.requires_grad_(), data_range=2.0, backend=backend)
    value.backward()
    assert torch.equal(x, copies[0])
    assert torch.equal(y, copies[1])
