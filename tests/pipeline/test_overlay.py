"""Outlines: which regions have one, and whether it can be seen on any surface."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from two_stage.report.overlay import DARK, FOUND, TRUE, found_regions, overlay

# What WCAG 2 asks of graphics against what lies beside them.
ENOUGH_CONTRAST = 3
SURFACES = {
    "black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128), "wood": (160, 110, 60),
    "leather": (101, 55, 30), "yellow": (240, 200, 20), "orange": (255, 165, 0),
    "sky": (120, 200, 255), "brick": (150, 70, 50), "grass": (70, 120, 40),
}  # fmt: skip


def luminance(colour: tuple[int, ...]) -> float:
    """Relative, of sRGB, as WCAG 2 defines it."""
    channels = np.array(colour) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("bright", [FOUND, TRUE])
def test_one_of_the_two_tones_stands_out_on_every_colour(bright: tuple[int, int, int]) -> None:
    grid = itertools.product(range(0, 256, 15), repeat=3)
    for colour in (*SURFACES.values(), *grid):
        assert max(contrast(bright, colour), contrast(DARK, colour)) > ENOUGH_CONTRAST, colour


def result(score_map: np.ndarray, colour: tuple[int, ...] = (128, 128, 128)) -> SimpleNamespace:
    picture = torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(3, *score_map.shape)
    no_mask = torch.zeros(score_map.shape, dtype=torch.bool)
    return SimpleNamespace(image=picture, mask=no_mask, maps={"chosen": score_map})


@pytest.mark.parametrize("surface", SURFACES)
def test_the_true_outline_is_seen_inside_a_found_region_too(surface: str) -> None:
    score_map = np.zeros((200, 200), dtype=np.float32)
    score_map[20:180, 20:180] = 2
    case = result(score_map, SURFACES[surface])
    case.mask[80:120, 80:120] = True
    pixels = [tuple(int(value) for value in pixel) for pixel in overlay(case, 1.0)[70:82, 100]]
    assert TRUE in pixels
    assert any(contrast(pixel, SURFACES[surface]) > ENOUGH_CONTRAST for pixel in pixels)


@pytest.mark.parametrize("surface", SURFACES)
def test_a_line_is_seen_where_it_is_drawn(surface: str) -> None:
    score_map = np.zeros((400, 400), dtype=np.float32)
    score_map[100:200, 150:300] = 2
    colour = SURFACES[surface]
    drawn = overlay(result(score_map, colour), 1.0)
    # Across the upper edge, from outside to inside.
    column = [tuple(int(value) for value in pixel) for pixel in drawn[90:110, 200]]
    seen = [pixel for pixel in column if contrast(pixel, colour) > ENOUGH_CONTRAST]
    assert len(seen) >= 2
    assert column[0] == column[-1] == colour
    assert tuple(drawn[150, 200]) == colour


def test_a_good_picture_has_no_found_regions_and_keeps_its_true_ones() -> None:
    score_map = np.zeros((64, 64), dtype=np.float32)
    score_map[10:20, 10:20] = 2
    case = result(score_map)
    case.mask[30:40, 30:40] = True
    good = overlay(case, 1.0, called_defective=False)
    assert not (good == FOUND).all(2).any()
    assert (good == TRUE).all(2).any()
    assert (overlay(case, 1.0) == FOUND).all(2).any()


def test_regions_that_would_not_call_the_picture_defective_are_left_out() -> None:
    score_map = np.zeros((200, 200), dtype=np.float32)
    score_map[100:130, 100:130] = 1.5
    score_map[50:60, 50:60], score_map[55, 55] = 1.2, 2.5
    score_map[150, 20] = 3
    # One value above the picture's threshold has its whole region outlined.
    found = found_regions(score_map, 1.0, 2.0)
    assert found[50:60, 50:60].all()
    assert found[150, 20]
    assert found.sum() == 100 + 1
    assert found_regions(score_map, 1.0).sum() == 900 + 100 + 1


def test_the_highest_region_is_kept_where_resizing_took_it_below_the_threshold() -> None:
    score_map = np.zeros((60, 60), dtype=np.float32)
    score_map[10:20, 10:20], score_map[40:50, 40:50] = 1.99, 1.5
    found = found_regions(score_map, 1.0, 2.0)
    assert found[10:20, 10:20].all()
    assert found.sum() == 100


def test_regions_that_touch_at_a_corner_are_one() -> None:
    score_map = np.zeros((200, 200), dtype=np.float32)
    for step in range(30):
        score_map[20 + step, 20 + step] = 1.5
    score_map[49, 49] = 3
    assert found_regions(score_map, 1.0, 2.0).sum() == 30


def test_where_no_pixel_is_above_the_threshold_nothing_is_outlined() -> None:
    score_map = np.zeros((100, 100), dtype=np.float32)
    score_map[40, 60] = 0.5
    assert not found_regions(score_map, 0.5).any()
    assert (overlay(result(score_map), 1.0) == 128).all()


def test_a_single_pixel_is_a_bright_dot_in_a_dark_ring() -> None:
    score_map = np.zeros((100, 100), dtype=np.float32)
    score_map[40, 60] = 0.5
    drawn = overlay(result(score_map), 0.1)
    assert np.argwhere((drawn == FOUND).all(2)).tolist() == [[40, 60]]
    assert (drawn[39, 60] == DARK).all()
