"""The product against pytorch-msssim and scikit-image, the components against microssim."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import pytorch_msssim
import skimage.metrics
import torch
from cases import camera, noise
from torch import Tensor

from aw_ssim import ssim, ssim_components


def pair(data_range: float = 1.0) -> tuple[Tensor, Tensor]:
    x = camera(96, 80).double()
    y = (x + 0.05 * noise(0, x).double()).clamp(0, 1)
    return data_range * x, data_range * y


@pytest.mark.parametrize("window_size", [7, 11])
@pytest.mark.parametrize("sigma", [0.7, 1.3, 1.5, 2.1])
def test_pytorch_msssim(sigma: float, window_size: int) -> None:
    x, y = (image.expand(2, 3, -1, -1).clone().requires_grad_() for image in pair())
    value = ssim(x, y, sigma=sigma, window_size=window_size)
    # its own window is rounded to float32, one given to it is not
    window = torch.from_numpy(oracle.gaussian(window_size, sigma)).expand(3, 1, 1, -1)
    expected = pytorch_msssim.ssim(x, y, data_range=1.0, win=window)
    torch.testing.assert_close(value, expected, atol=1e-8, rtol=0)
    gradients = torch.autograd.grad(value, (x, y))
    for actual, reference in zip(gradients, torch.autograd.grad(expected, (x, y)), strict=True):
        torch.testing.assert_close(actual, reference, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_scikit_image_map(data_range: float) -> None:
    x, y = pair(data_range)
    _, expected = skimage.metrics.structural_similarity(
        x[0, 0].numpy(),
        y[0, 0].numpy(),
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    actual = ssim(x, y, data_range=data_range, reduction="none")[0, 0]
    np.testing.assert_allclose(actual, expected[5:-5, 5:-5], atol=1e-8, rtol=0)


def test_scikit_image_mean_in_float32(backend: str) -> None:
    x, y = pair()
    expected = skimage.metrics.structural_similarity(
        x[0, 0].numpy(),
        y[0, 0].numpy(),
        data_range=1.0,
        gaussian_weights=True,
        use_sample_covariance=False,
    )
    assert float(ssim(x.float(), y.float(), backend=backend)) == pytest.approx(expected, abs=1e-6)


def test_microssim_components(complete_backend: str) -> None:
    # it needs numpy below 2, which not every Python has
    microssim = pytest.importorskip("microssim.ssim")
    x, y = pair()
    elements = microssim.compute_ssim_elements(
        x[0, 0].numpy(),
        y[0, 0].numpy(),
        data_range=1.0,
        gaussian_weights=True,
        use_sample_covariance=False,
    )
    expected = microssim.compute_scaled_ssim(elements, return_individual_components=True)
    actual = ssim_components(x, y, backend=complete_backend)
    for name in ("luminance", "contrast", "structure"):
        # the eps of the smooth product moves the two by eps / C3 times the ratio of deviations
        np.testing.assert_allclose(
            getattr(actual, name)[0, 0], getattr(expected, name), atol=1e-7, rtol=0
        )
