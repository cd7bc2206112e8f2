"""The baselines that need no training, by hand."""

from __future__ import annotations

import numpy as np
import torch
from two_stage.scoring.baselines import input_only_maps, mean_image


def test_the_mean_image_is_exact_over_several_chunks() -> None:
    images = torch.randint(0, 256, (37, 3, 5, 4), dtype=torch.uint8)
    expected = (images.double().mean(0) / 255).float().numpy()
    np.testing.assert_array_equal(mean_image(images), expected)


def test_input_only_baselines_by_hand() -> None:
    images = torch.stack([torch.full((1, 9, 9), value, dtype=torch.uint8) for value in (51, 153)])
    mean = mean_image(images)
    np.testing.assert_allclose(mean, 0.4, atol=1e-6)
    step = torch.zeros(1, 9, 9)
    step[..., 5:] = 1.0
    maps = input_only_maps(step, mean, sigma=0.0)
    np.testing.assert_allclose(maps["distance_to_mean"][:, :5], 0.4, atol=1e-6)
    np.testing.assert_allclose(maps["distance_to_mean"][:, 5:], 0.6, atol=1e-6)
    assert set(maps["gradient"].argmax(1)) <= {4, 5}
    assert maps["gradient"][:, :3].max() == 0
