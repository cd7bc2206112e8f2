"""Each residual against cases done by hand."""

from __future__ import annotations

import pytest
import torch
from samples import random_image
from two_stage.scoring.residuals import _gradient_magnitude, residual_maps, window_similarity
from two_stage.scoring.scorer import smooth
from two_stage.scoring.tiled_similarity import tiled_similarity

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


@pytest.mark.parametrize("shape", [(2, 3, 40, 40), (1, 1, 37, 51), (1, 3, 72, 11)])
@pytest.mark.parametrize(("hard", "error"), [(False, 2e-6), (True, 6e-5)])
def test_similarity_by_tiles_is_that_of_the_library(
    shape: tuple[int, ...], hard: bool, error: float
) -> None:
    """Flat places are hard for float32: about 0 in place of a pivot, the error is 1e-4."""
    x, y, little = (
        torch.rand(shape, generator=torch.Generator().manual_seed(seed)) for seed in range(3)
    )
    if hard:
        for image in (x, y):
            image[..., :18, :] = 1.0
            image[..., 25:, : shape[-1] // 2] = 0.1
        y[..., :20, 5:] += 1e-4 * little[..., :20, 5:]
    tiled = tiled_similarity(x, y, (0.2, 0.3, 0.5))
    expected = window_similarity(x.double(), y.double(), (0.2, 0.3, 0.5)).float()
    torch.testing.assert_close(tiled, expected, atol=error, rtol=0)


def test_the_gradient_s_length_is_its_norm() -> None:
    image = random_image(1, 33, 47)[None]
    kernels = torch.tensor([[1.0, 0, -1]] * 3) / 3
    kernels = torch.stack((kernels, kernels.T))[:, None]
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="replicate")
    expected = torch.nn.functional.conv2d(padded, kernels).norm(dim=1, keepdim=True)
    torch.testing.assert_close(_gradient_magnitude(image), expected, atol=1e-7, rtol=1e-6)


def test_an_unknown_residual_is_an_error() -> None:
    with pytest.raises(ValueError, match="got 'l2'"):
        residual_maps(torch.zeros(1, 32, 32), torch.zeros(1, 32, 32), EQUAL, parts=("l2",))
