"""Defects for validation: repeatable, visible where the mask says, on the foreground."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import texture
from two_stage.defects.painted import (
    KINDS,
    NOTICEABLE,
    PAINTERS,
    SIZES,
    VISIBILITY,
    Picture,
    _mask,
    paint_validation_defect,
)


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
    image = texture(3) + np.array([[[-0.3]], [[0]], [[0.3]]])
    for seed in range(10):
        painted, area = PAINTERS["erase"](image, (48, 48), np.random.default_rng(seed))
        if area.sum() > 60:
            before, after = image[:, area], painted[:, area]
            assert after.std(1).max() < 0.8 * before.std(1).min()
            assert np.abs(after.mean(1) - before.mean(1)).max() < 0.06


@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_lies_about_its_place_and_changes_nothing_else(kind: str) -> None:
    image, place, centres = texture(3), (60, 34), []
    for seed in range(15):
        painted, area = PAINTERS[kind](image, place, np.random.default_rng(seed))
        assert np.abs(painted - image).max(axis=0)[~area].max() < 1e-5
        assert 0 < area.mean() < 0.4
        # Grains are strewn about their place, all else covers it.
        assert area[place] or kind == "speckle"
        centres.append(np.argwhere(area).mean(axis=0))
    assert np.abs(np.mean(centres, axis=0) - place).max() < 6


@pytest.mark.parametrize("kind", ["blot", "line", "speckle"])
def test_a_change_is_as_strong_as_it_may_be_in_the_direction_that_has_room(kind: str) -> None:
    low, high = VISIBILITY
    strongest = []
    for seed in range(60):
        signs = set()
        for value in (0.0, 1.0):
            flat = np.full((3, 48, 48), value, dtype=np.float32)
            painted, _ = PAINTERS[kind](flat, (20, 24), np.random.default_rng(seed))
            change = (painted - flat).ravel()
            signs.add(np.sign(change.sum()))
        strongest.append(np.abs(change).max())
        assert len(signs) == 2
    if kind != "speckle":
        # Grains may lie on each other, or between pixels.
        assert low - 1e-6 <= min(strongest) <= max(strongest) <= high + 1e-6
        assert low < np.median(strongest) < (low + high) / 2


def test_sizes_are_log_uniform_shares_of_the_side() -> None:
    shares = []
    for seed in range(60):
        _, area = PAINTERS["blot"](texture(1), (48, 48), np.random.default_rng(seed))
        shares.append(area.mean())
    # Of an ellipse with both axes the geometric mean of the limits.
    assert 0.6 < np.median(shares) / (np.pi / 4 * SIZES[0] * SIZES[1]) < 1.7


def test_gaps_of_a_mask_are_closed_within_the_area() -> None:
    image = np.full((1, 96, 96), 0.5, dtype=np.float32)
    painted, area = image.copy(), np.ones((96, 96), dtype=bool)
    painted[0, :20, 30:40] += 0.1
    painted[0, 5, 33] = painted[0, 12, 36] = 0.5
    area[12, 36] = False
    expected = np.zeros((96, 96), dtype=bool)
    expected[:20, 30:40] = True
    expected[12, 36] = False
    assert np.array_equal(_mask(image, painted, area), expected)


def test_what_hardly_shows_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # Changed pixels, and the size of the area they are to show in.
    draws = iter([(5, 5), (20, 100), (30, 100), (100, 100)])

    def paint(image: Picture, place: object, random: object) -> tuple[Picture, np.ndarray]:
        changed, covered = next(draws)
        painted, area = image.copy(), np.zeros(image.shape[1:], dtype=bool)
        painted[0].flat[:changed] += 0.2
        area.flat[:covered] = True
        return painted, area

    monkeypatch.setitem(PAINTERS, "line", paint)
    image = np.full((1, 96, 160), 0.5, dtype=np.float32)
    _, mask = paint_validation_defect(image, "line", np.random.default_rng(0))
    assert mask.sum() == 30


@pytest.mark.parametrize("kind", KINDS)
def test_the_smallest_foreground_is_hit(kind: str) -> None:
    foreground = np.zeros((96, 96), dtype=bool)
    foreground[80:82, 5:7] = True
    _, mask = paint_validation_defect(texture(3), kind, np.random.default_rng(0), foreground)
    assert mask.any()


def test_what_cannot_be_painted_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected a kind of .*'warp'.*got 'dent'"):
        paint_validation_defect(texture(1), "dent", np.random.default_rng(0))
    nothing = np.full((1, 32, 32), np.nan, dtype=np.float32)
    with pytest.raises(ValueError, match="is it NaN"):
        paint_validation_defect(nothing, "blot", np.random.default_rng(0))


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_blank_picture_a_defect_lies_anywhere(kind: str) -> None:
    """No object is found on it; it must not end a run after hours of training."""
    nowhere = np.zeros((96, 96), dtype=bool)
    for image in (np.zeros((3, 96, 96), np.float32), texture(3)):
        painted, mask = paint_validation_defect(image, kind, np.random.default_rng(3), nowhere)
        free, same = paint_validation_defect(image, kind, np.random.default_rng(3))
        assert mask.any()
        assert np.array_equal(painted, free)
        assert np.array_equal(mask, same)


COLOURS = [(r, g, b) for r in (0, 1) for g in (0, 0.5, 1) for b in (0, 1)]


@given(
    kind=st.sampled_from(KINDS),
    colour=st.sampled_from(COLOURS),
    stripes=st.sampled_from([0, 1, 5]),
    side=st.sampled_from([32, 47, 64]),
    share=st.sampled_from([0, 0.001, 0.02, 0.5, 1]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_picture_and_foreground_can_be_painted(
    kind: str,
    colour: tuple[float, float, float],
    stripes: int,
    side: int,
    share: float,
    seed: int,
) -> None:
    """Saturated colours, stripes and specks of a foreground too: nothing ends a run here."""
    random = np.random.default_rng(seed)
    image = np.ones((3, side, side), np.float32) * np.array(colour, np.float32)[:, None, None]
    if stripes:
        image[:, :, np.arange(side) // stripes % 2 == 0] = 1 - image[:, :, :1]
    painted, mask = paint_validation_defect(
        image, kind, random, random.random((side, side)) < share
    )
    assert mask.any()
    assert np.abs(painted - image).max(axis=0)[mask].max() > NOTICEABLE
