"""Numbers that others have published of SSIM, on inputs made anew from their description."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor

from aw_ssim import ssim


def camera_and_noise() -> tuple[Tensor, Tensor]:
    """scikit-image's cameraman, of 2020 on, and the noisy one of its tests, of 8 bits both."""
    camera = skimage.data.camera()
    noise = 20.0 * np.random.RandomState(5).randn(*camera.shape)
    noisy = np.clip(camera + noise, 0, 255).astype(np.uint8)
    first, second = (torch.from_numpy(image.astype(float))[None, None] for image in (camera, noisy))
    return first, second


def test_scikit_image_from_0_17_on() -> None:
    """Its own record of its defaults: 7 x 7 equal taps, the sample covariance."""
    options: dict[str, Any] = {"window": "uniform", "window_size": 7, "covariance": "sample"}
    value = ssim(*camera_and_noise(), data_range=255, **options)
    assert float(value) == pytest.approx(0.3674518327910367, abs=1e-12)


def test_ipol() -> None:
    """What the article's program `imdiff` (Image Processing On Line, g_lmii) gives."""
    value = ssim(*camera_and_noise(), data_range=255)
    assert float(value) == pytest.approx(0.357959091663361, abs=1e-5)


@pytest.mark.parametrize(("window", "expected"), [("gaussian", 0.045415), ("uniform", 0.050103)])
def test_monai(window: str, expected: float) -> None:
    """Of the tests of its SSIMMetric: absolute normal noise over its largest value."""
    generator = torch.Generator().manual_seed(0)
    pair = [torch.randn(2, 3, 16, 16, generator=generator).abs() for _ in range(2)]
    x, y = (image / image.max() for image in pair)
    assert float(ssim(x, y, window=window)) == pytest.approx(expected, abs=1.5e-6)
