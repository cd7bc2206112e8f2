"""Each residual against cases done by hand."""

from __future__ import annotations

import pytest
import torch
from samples import random_image
from two_stage.scoring.residuals import residual_maps
from two_stage.scoring.scorer import smooth

EQUAL = (1 / 3, 1 / 3, 1 / 3)


def test_the_plain_residual_is_the_mean_over_channels() -> None:
    image, reconstruction = torch.zeros(3, 32, 32), torch.zeros(3, 32, 32)
    reconstruction[0] = 0.3
    maps = residual_maps(image, reconstruction, EQUAL, parts=("l1",))
    assert list(maps) == ["l1"]
    torch.testing.assert_close(maps["l1"], torch.full((32, 32), 0.1))


def test_residuals_are_nothing_where_both_agree_and_largest_at_a_defect() -> None:
    image = random_image(3, 65, 70)
    maps = residual_maps(image, image, EQUAL)
    assert set(maps) == {"l1", "aw_ssim", "gradient"}
    for score_map in maps.values():
        torch.testing.assert_close(score_map, torch.zeros(65, 70), atol=1e-6, rtol=0)
    defective = image.clone()
    defective[:, 30:38, 40:48] = 0.5
    for name, score_map in residual_maps(defective, image, EQUAL).items():
        assert score_map.shape == (65, 70), name
        row, column = divmod(int(smooth(score_map, 2.0).argmax()), 70)
        assert 28 <= row < 40, name
        assert 38 <= column < 50, name


def test_gradient_similarity_of_a_ramp_by_hand() -> None:
    # Prewitt across a ramp of slope m gives 2 m; halving the resolution doubles the slope.
    ramp = torch.arange(64.0).expand(1, 64, 64) / 64
    result = residual_maps(ramp, 0.5 * ramp, EQUAL, parts=("gradient",))["gradient"]
    expected = 0.0
    for scale in range(4):
        a, b = 2 * 2**scale / 64, 2**scale / 64
        expected += 1 - (2 * a * b + 170 / 255**2) / (a * a + b * b + 170 / 255**2)
    assert float(result[32, 32]) == pytest.approx(expected / 4, rel=1e-4)


def test_both_backends_give_the_same_residual() -> None:
    x, y = random_image(3, 40, 40), random_image(3, 40, 40, seed=1)
    auto, plain = (
        residual_maps(x, y, EQUAL, parts=("aw_ssim",), backend=b)["aw_ssim"]
        for b in ("auto", "torch")
    )
    torch.testing.assert_close(auto, plain, atol=1e-5, rtol=1e-5)


def test_an_unknown_residual_is_an_error() -> None:
    with pytest.raises(ValueError, match="got 'l2'"):
        residual_maps(torch.zeros(1, 32, 32), torch.zeros(1, 32, 32), EQUAL, parts=("l2",))
