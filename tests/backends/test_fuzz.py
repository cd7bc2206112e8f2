"""Hostile calls: a few hundred of `fuzz_backends`, and what ten thousand of them have found."""

from __future__ import annotations

import fuzz_backends
import pytest
import torch
from cases import PAIRS
from refusals import refuses

from aw_ssim import AWSSIMLoss, aw_ssim


def test_backends_agree_on_random_calls() -> None:
    result = fuzz_backends.run(calls=400, seed=0)
    assert result.complaints == []
    assert min(result.kinds[kind] for kind in ("refused", "finite", "not finite")) > 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sigma", [1e-30, 1e-60, 5e-324])
def test_a_sigma_that_float32_cannot_hold(sigma: float, dtype: torch.dtype, backend: str) -> None:
    """A window of its centre tap alone: contrast and structure are lost nowhere."""
    x, y = (image.to(dtype) for image in PAIRS["noisy"])
    if refuses(backend, lambda: aw_ssim(x, y, backend=backend), double=dtype == torch.float64):
        return
    actual = aw_ssim(x, y, sigma=sigma, backend=backend)
    expected = aw_ssim(x, y, sigma=1e-3, backend=backend)
    torch.testing.assert_close(actual, expected, atol=0, rtol=0)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_mask_of_pixels_far_from_narrow_windows(reduction: str, backend: str) -> None:
    """At sigma 0.3 the outermost taps are 1e-61; a window of them alone counts for nothing."""
    x, y = (image.clone().requires_grad_() for image in PAIRS["noisy"])
    mask = torch.zeros_like(x)
    mask[..., 20, 20] = 1
    similarity = aw_ssim(x, y, sigma=0.3, mask=mask, reduction=reduction, backend=backend)
    assert similarity.isfinite().all()
    for gradient in torch.autograd.grad(similarity.sum(), (x, y)):
        assert gradient.isfinite().all()
        assert gradient.count_nonzero() == 1


@pytest.mark.parametrize("data_range", [1e-300, 1e-40, 1e31, 1e300])
def test_a_data_range_that_float32_cannot_hold(data_range: float) -> None:
    with pytest.raises(ValueError, match="data_range: expected a number from 1e-30 to 1e30"):
        AWSSIMLoss(data_range=data_range)
    with pytest.raises(ValueError, match="data_range: expected a number from 1e-30 to 1e30"):
        aw_ssim(*PAIRS["noisy"], data_range=data_range)
