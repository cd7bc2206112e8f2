"""The presets, and weights as the functions and modules take them."""

from __future__ import annotations

import pytest
import torch
from cases import PAIRS

from aw_ssim import AWSSIMLoss, aw_ssim, category_weights, ssim_components

STRUCTURE = (0.25, 0.25, 0.5)
LUMINANCE = (0.5, 0.25, 0.25)
PRESETS = {
    **dict.fromkeys(("carpet", "leather", "wood"), STRUCTURE),
    **dict.fromkeys(("tile", "hazelnut", "pill"), LUMINANCE),
}


@pytest.mark.parametrize(("category", "expected"), PRESETS.items())
def test_presets(category: str, expected: tuple[float, float, float], backend: str) -> None:
    assert category_weights(category) == expected
    named = aw_ssim(*PAIRS["noisy"], category, backend=backend)
    assert torch.equal(named, aw_ssim(*PAIRS["noisy"], expected, backend=backend))
    loss = AWSSIMLoss(category, backend=backend)(*PAIRS["noisy"])
    torch.testing.assert_close(loss, 1 - named, atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [0.1, 3, 1000.0])
def test_only_the_ratio_of_weights_matters(scale: float, backend: str) -> None:
    plain = aw_ssim(*PAIRS["noisy"], (1, 2, 5), backend=backend)
    scaled = aw_ssim(*PAIRS["noisy"], (scale, 2 * scale, 5 * scale), backend=backend)
    torch.testing.assert_close(plain, scaled, atol=1e-6, rtol=0)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_single_weight_selects_its_component(index: int, backend: str) -> None:
    weights = tuple(float(i == index) for i in range(3))
    alone = aw_ssim(*PAIRS["clipped"], weights, reduction="none", backend=backend)
    component = ssim_components(*PAIRS["clipped"], backend=backend)[index]
    torch.testing.assert_close(alone, component, atol=1e-6, rtol=0)


def test_weights_default_to_equal_shares(backend: str) -> None:
    default = aw_ssim(*PAIRS["noisy"], backend=backend)
    mean = torch.stack(ssim_components(*PAIRS["noisy"], backend=backend)).mean()
    torch.testing.assert_close(default, mean, atol=1e-6, rtol=0)


def test_a_list_of_weights_is_as_good_as_a_tuple() -> None:
    pair = PAIRS["noisy"]
    assert torch.equal(aw_ssim(*pair, [1, 2, 5]), aw_ssim(*pair, (1, 2, 5)))
