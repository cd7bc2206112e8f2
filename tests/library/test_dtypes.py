"""Half, single and double precision images, mixed ones, and autocast."""

from __future__ import annotations

import itertools
from typing import Any

import oracle
import pytest
import torch
from cases import PAIRS, camera, noise
from refusals import refuses
from tolerances import TOLERANCES, assert_gradient_close, assert_value_close
from torch import Tensor

from aw_ssim import aw_ssim, ssim, ssim_components

DTYPES = tuple(TOLERANCES)
WEIGHTS = (0.2, 0.3, 0.5)


def arithmetic(*dtypes: torch.dtype) -> torch.dtype:
    return torch.float64 if torch.float64 in dtypes else torch.float32


@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, DTYPES)), ids=str)
def test_values_and_gradients(dtypes: tuple[torch.dtype, torch.dtype], backend: str) -> None:
    x, y = (
        image.to(dtype, copy=True).requires_grad_()
        for image, dtype in zip(PAIRS["noisy"], dtypes, strict=True)
    )
    options: dict[str, Any] = {"reduction": "none", "backend": backend}
    if refuses(backend, lambda: aw_ssim(x, y, **options), double=torch.float64 in dtypes):
        return
    similarity = aw_ssim(x, y, WEIGHTS, **options)
    computed_in = arithmetic(*dtypes)
    assert similarity.dtype == computed_in
    expected = torch.from_numpy(oracle.loops(x, y).similarity(WEIGHTS))
    assert_value_close(similarity, expected, computed_in)
    upstream = noise(3, expected)
    gradients = torch.autograd.grad(similarity, (x, y), upstream.to(computed_in))
    references = oracle.gradients(x, y, upstream, WEIGHTS)
    for gradient, reference, dtype in zip(gradients, references, dtypes, strict=True):
        # a float64 image beside a coarser one is still computed in float64
        assert_gradient_close(gradient, reference, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reduced_value_is_in_the_arithmetic_dtype(
    reduction: str, dtype: torch.dtype, backend: str
) -> None:
    x, y = (image.to(dtype) for image in PAIRS["noisy"])
    options: dict[str, Any] = {"reduction": reduction, "backend": backend}
    if refuses(backend, lambda: aw_ssim(x, y, **options), double=dtype == torch.float64):
        return
    value = aw_ssim(x, y, **options)
    assert value.dtype == arithmetic(dtype)
    similarity = oracle.loops(x, y).similarity((1, 1, 1))
    expected = similarity.mean() if reduction == "mean" else similarity.sum()
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_half_precision_keeps_its_digits(
    data_range: float, dtype: torch.dtype, backend: str
) -> None:
    """Bright images of low contrast, and squares beyond half precision's range."""
    texture = camera()
    bright = [0.9 + 0.01 * noise(seed, texture) for seed in (0, 1)]
    for pair in (bright, [texture, texture + 0.05 * noise(2, texture)]):
        x, y = ((data_range * image).to(dtype).requires_grad_() for image in pair)
        options: dict[str, Any] = {"data_range": data_range}
        value = ssim(x, y, **options, reduction="none", backend=backend)
        expected = torch.from_numpy(oracle.loops(x, y, **options).similarity(None))
        assert_value_close(value, expected, dtype)
        gradients = torch.autograd.grad(value, (x, y), torch.ones_like(value))
        references = oracle.gradients(x, y, 1.0, None, **options)
        for gradient, reference in zip(gradients, references, strict=True):
            assert_gradient_close(gradient, reference, dtype, 1 / data_range)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_autocast_changes_no_bit(reduction: str, dtype: torch.dtype, backend: str) -> None:
    def run() -> list[Tensor]:
        x, y = (image.to(dtype, copy=True).requires_grad_() for image in PAIRS["noisy"])
        value = aw_ssim(x, y, reduction=reduction, backend=backend)
        return [value, *torch.autograd.grad(value.sum(), (x, y))]

    plain = run()
    for autocast_dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=autocast_dtype):
            cast = run()
        for left, right in zip(plain, cast, strict=True):
            assert left.dtype == right.dtype
            assert torch.equal(left, right)


def test_autocast_changes_no_component(backend: str) -> None:
    plain = ssim_components(*PAIRS["noisy"], backend=backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = ssim_components(*PAIRS["noisy"], backend=backend)
    for left, right in zip(plain, cast, strict=True):
        assert torch.equal(left, right)


def test_default_dtype_changes_nothing(backend: str) -> None:
    expected = aw_ssim(*PAIRS["noisy"], reduction="none", backend=backend)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    actual = aw_ssim(*PAIRS["noisy"], reduction="none", backend=backend)
    torch.set_default_dtype(default)
    assert torch.equal(actual, expected)
