"""Artificial defects of kinds that training never sees, on held-out normal images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from skimage.morphology import closing, disk

from ..pictures.stored import is_grey

Picture = NDArray[np.float32]
Area = NDArray[np.float32]
Mask = NDArray[np.bool_]
Place = tuple[int, int]

# A change below 6 of 255 grey levels is not to be seen, and not to be found.
NOTICEABLE = 0.025
SMALLEST_MASK = 6
SMALLEST_SHARE = 0.25
"""Of a defect's area, to have changed noticeably; less is drawn again."""
SIZES = (0.05, 0.4)
"""Least and largest extent of a defect as a share of the image's side, log-uniform."""
VISIBILITY = (0.06, 0.5)
"""Least and largest change of a pixel, in units of the range [0, 1], log-uniform."""
ATTEMPTS = 20


def paint_validation_defect(
    image: Picture, kind: str, random: np.random.Generator, foreground: Mask | None = None
) -> tuple[Picture, Mask]:
    """One defect on a copy of a normal image.

    Args:
        image: C x S x S, float in [0, 1].
        kind: one of `KINDS`.
        random: the only source of randomness.
        foreground: S x S bool; the defect is centred on it and confined to it. Where it is empty,
            as on a blank picture, the defect is painted anywhere.

    Returns:
        The defective image and its mask, S x S bool, never empty: where pixels changed
        noticeably, small gaps closed. What changes nothing, such as a shift of a flat area, is
        drawn again; a blot takes its place if the image has nothing to change, and one that
        leaves the foreground if that has no room.
    """
    if kind not in PAINTERS:
        raise ValueError(f"expected a kind of {KINDS}, got {kind!r}")
    everywhere = np.ones(image.shape[1:], dtype=bool)
    product = foreground if foreground is not None and foreground.any() else everywhere
    for paint, where in (
        (PAINTERS[kind], product),
        (paint_blot, product),
        (paint_blot, everywhere),
    ):
        places = np.argwhere(where)
        for _ in range(ATTEMPTS):
            row, column = places[random.integers(len(places))]
            painted, area = paint(image, (int(row), int(column)), random)
            area = area & where
            painted = np.where(area, np.clip(painted, 0, 1), image).astype(np.float32)
            mask = _mask(image, painted, area)
            if mask.sum() >= max(min(SMALLEST_MASK, len(places)), SMALLEST_SHARE * area.sum()):
                return painted, mask
    raise ValueError(f"no artificial defect of kind {kind!r} shows on this image; is it NaN?")


def paint_blot(image: Picture, place: Place, random: np.random.Generator) -> tuple[Picture, Mask]:
    """A cloudy area, tinted; the surface shows through."""
    alpha = _cloud(image.shape[-1], place, random)
    return image + alpha * _shift(image, place, random), alpha > 0


def paint_line(image: Picture, place: Place, random: np.random.Generator) -> tuple[Picture, Mask]:
    """A thin curve that wanders, fades in and out, darker or brighter."""
    side = image.shape[-1]
    steps = max(8, round(side * _log_uniform((0.08, 0.6), random)))
    turns = gaussian_filter(random.normal(size=steps), steps / 10, mode="reflect")
    turns *= random.uniform(0.5, 2.5) / (steps * turns.std() + 1e-9)
    angles = random.uniform(0, 2 * np.pi) + np.cumsum(turns)
    path = np.cumsum(np.stack((np.sin(angles), np.cos(angles))), axis=1)
    path += np.array(place)[:, None] - path[:, steps // 2, None]
    rows, columns = np.rint(path).astype(int)
    on_image = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    away = np.ones((side, side), dtype=bool)
    away[rows[on_image], columns[on_image]] = False
    distance = distance_transform_edt(away)
    half_width = random.uniform(0.5, 1.0 + side / 200)
    strength = 0.6 + 0.4 * np.cos(np.linspace(-1.5, 1.5, steps) * random.uniform(0.3, 2))
    along = np.zeros((side, side))
    along[rows[on_image], columns[on_image]] = strength[on_image]
    # Each pixel takes the strength of the nearest point of the path.
    nearest = distance_transform_edt(away, return_distances=False, return_indices=True)
    alpha = np.clip(half_width + 0.5 - distance, 0, 1) * along[tuple(nearest)]
    return image + alpha * _shift(image, place, random), alpha > 0


def paint_warp(image: Picture, place: Place, random: np.random.Generator) -> tuple[Picture, Mask]:
    """The surface turned or pushed aside within a disk."""
    side = image.shape[-1]
    radius = max(4.0, side * _log_uniform(SIZES, random) / 2)
    y, x = np.mgrid[:side, :side] - np.array(place)[:, None, None]
    inner = np.clip(1 - (y**2 + x**2) / radius**2, 0, 1) ** 2
    if random.random() < 0.5:
        angle = random.choice([-1, 1]) * random.uniform(0.4, 2.0) * inner
        from_y, from_x = (
            y * np.cos(angle) - x * np.sin(angle),
            y * np.sin(angle) + x * np.cos(angle),
        )
    else:
        direction = random.uniform(0, 2 * np.pi)
        reach = radius * random.uniform(0.2, 0.6) * inner
        from_y, from_x = y + reach * np.sin(direction), x + reach * np.cos(direction)
    grid = (from_y + place[0], from_x + place[1])
    warped = [map_coordinates(channel, grid, order=1, mode="reflect") for channel in image]
    return np.stack(warped), inner > 0


def paint_erase(image: Picture, place: Place, random: np.random.Generator) -> tuple[Picture, Mask]:
    """An area whose texture is smoothed away, its mean colour kept."""
    side = image.shape[-1]
    alpha = _cloud(side, place, random)
    std = side * _log_uniform((0.015, 0.06), random)
    smooth = gaussian_filter(image, (0, std, std))
    return image + np.sqrt(alpha) * (smooth - image), alpha > 0


def paint_speckle(
    image: Picture, place: Place, random: np.random.Generator
) -> tuple[Picture, Mask]:
    """A cluster of grains, each with a shade of its own."""
    side = image.shape[-1]
    spread = side * _log_uniform(SIZES, random) / 4
    alpha, painted = np.zeros((side, side)), image.astype(np.float64)
    shift = _shift(image, place, random)
    for _ in range(random.integers(3, 25)):
        row, column = np.array(place) + random.normal(0, spread, 2)
        radii = random.uniform(0.7, 1 + side / 100, 2)
        y, x = np.mgrid[:side, :side]
        grain = np.clip(1.5 - np.hypot((y - row) / radii[0], (x - column) / radii[1]), 0, 1)
        painted += grain * random.uniform(0.5, 1) * shift
        alpha = np.maximum(alpha, grain)
    return painted, alpha > 0


PAINTERS: dict[str, Callable[[Picture, Place, np.random.Generator], tuple[Picture, Mask]]] = {
    "blot": paint_blot,
    "line": paint_line,
    "warp": paint_warp,
    "erase": paint_erase,
    "speckle": paint_speckle,
}
KINDS = tuple(PAINTERS)


def _mask(image: Picture, painted: Picture, area: Mask) -> Mask:
    changed = np.abs(painted - image).max(axis=0) > NOTICEABLE
    # A moved or smoothed texture leaves some pixels as they were by chance; they belong to it.
    gap = max(1, round(image.shape[-1] / 80))
    closed = closing(np.pad(changed, gap), disk(gap))[gap:-gap, gap:-gap]
    return closed & area


def _cloud(side: int, place: Place, random: np.random.Generator) -> Area:
    """Opacity of a ragged area: a random field cut off at its level along an ellipse."""
    extent = side * np.array([_log_uniform(SIZES, random) for _ in range(2)])
    y, x = (np.mgrid[:side, :side] - np.array(place)[:, None, None]) / (
        np.maximum(extent, 4.0)[:, None, None] / 2
    )
    field = gaussian_filter(random.normal(size=(side, side)), max(1.0, extent.min() / 6))
    field = 0.35 * field / field.std()
    # Positive at the place itself, however deep a valley of the field it lies in.
    level = 1 - y**2 - x**2 + field - min(field[place], 0)
    return np.clip(level / random.uniform(0.15, 0.6), 0, 1).astype(np.float32)


def _shift(image: Picture, place: Place, random: np.random.Generator) -> NDArray[np.float64]:
    """A change, C x 1 x 1, towards the side that has room; of brightness on a grey picture."""
    room = 1 - 2 * image[:, place[0], place[1]].mean()
    sign = np.sign(room) if abs(room) > 0.6 else random.choice([-1.0, 1.0])
    direction = 1 + random.uniform(0, 0.8) * random.normal(size=(len(image), 1, 1))
    if is_grey(image, white=1):
        direction = np.ones((len(image), 1, 1))
    return sign * _log_uniform(VISIBILITY, random) * direction / np.abs(direction).max()


def _log_uniform(limits: tuple[float, float], random: np.random.Generator) -> float:
    return float(np.exp(random.uniform(*np.log(limits))))
