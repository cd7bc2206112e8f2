"""Defects for validation: repeatable, visible where the mask says, on the foreground."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from two_stage.validation_defects import KINDS, NOTICEABLE, Picture, paint_validation_defect


def texture(channels: int, seed: int = 0) -> Picture:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(channels, 96, 96)), (0, 1, 1))
    return np.clip(0.5 + 0.15 * field / field.std(), 0, 1).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_mask_is_where_pixels_changed(kind: str, channels: int) -> None:
    image = texture(channels)
    original = image.copy()
    for seed in range(12):
        painted, mask = paint_validation_defect(image, kind, np.random.default_rng(seed))
        assert np.array_equal(image, original)
        assert painted.dtype == np.float32
        assert painted.shape == image.shape
        assert mask.dtype == bool
        assert mask.any()
        assert painted.min() >= 0
        assert painted.max() <= 1
        change = np.abs(painted - image).max(axis=0)
        assert change[~mask].max() <= NOTICEABLE
        assert (change[mask] > NOTICEABLE).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_alone_decides(kind: str) -> None:
    def paint(seed: int) -> tuple[Picture, np.ndarray]:
        return paint_validation_defect(texture(3), kind, np.random.default_rng(seed))

    first, second, other = paint(3), paint(3), paint(4)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("kind", KINDS)
def test_defects_keep_to_the_foreground(kind: str) -> None:
    foreground = np.zeros((96, 96), dtype=bool)
    foreground[30:60, 20:50] = True
    image = texture(3)
    for seed in range(12):
        random = np.random.default_rng(seed)
        painted, mask = paint_validation_defect(image, kind, random, foreground)
        assert mask.any()
        assert np.array_equal(painted[:, ~foreground], image[:, ~foreground])
        assert not (mask & ~foreground).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_flat_image_is_given_a_defect_all_the_same(kind: str, value: float) -> None:
    image = np.full((3, 48, 48), value, dtype=np.float32)
    _, mask = paint_validation_defect(image, kind, np.random.default_rng(0))
    assert mask.any()


def test_sizes_and_visibility_range_widely() -> None:
    image = texture(3)
    random = np.random.default_rng(0)
    shares, changes = [], []
    for _ in range(60):
        painted, mask = paint_validation_defect(image, "blot", random)
        shares.append(mask.mean())
        changes.append(np.abs(painted - image).max())
    assert max(shares) > 10 * min(shares)
    assert min(changes) < 0.1
    assert max(changes) > 0.3


def test_erase_takes_texture_away_and_keeps_the_colour() -> None:
    image = texture(1)
    for seed in range(10):
        painted, mask = paint_validation_defect(image, "erase", np.random.default_rng(seed))
        if mask.sum() > 60:
            assert painted[0][mask].std() < 0.8 * image[0][mask].std()
            assert abs(painted[0][mask].mean() - image[0][mask].mean()) < 0.06


def test_what_cannot_be_painted_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected a kind of .*'warp'.*got 'dent'"):
        paint_validation_defect(texture(1), "dent", np.random.default_rng(0))
    nowhere = np.zeros((96, 96), dtype=bool)
    with pytest.raises(ValueError, match="foreground is empty"):
        paint_validation_defect(texture(1), "blot", np.random.default_rng(0), nowhere)
