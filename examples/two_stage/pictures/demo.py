"""A small data set in the MVTec AD layout: real textures of scikit-image, painted defects.

The defects are drawn, never cut and pasted, so that they are not the ones training invents.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from skimage.draw import disk, line, polygon2mask
from skimage.morphology import dilation
from skimage.morphology import disk as disk_footprint

from ..run.errors import UserError
from ..run.folder import write_atomically

Picture = NDArray[np.float64]
Mask = NDArray[np.bool_]

TEXTURES: dict[str, Callable[[], NDArray[np.uint8]]] = {
    "brick": skimage.data.brick,
    "grass": skimage.data.grass,
    "gravel": skimage.data.gravel,
}
CROP = 160
NORMALS = 64

# Columns of the 512 x 512 textures. Test crops come only from the middle strip: no pixel is in
# both sets, and the strips on its two sides show training what a crop may look like.
TEST_COLUMNS = (176, 336)
TRAIN_COLUMNS = ((0, 176), (336, 512))
# Rows. A threshold from crops that look like the training's would be too low for the middle strip,
# so held-out crops come from an end of it, where no test crop is.
ALL_ROWS = (0, 512)
TEST_ROWS, HELD_OUT_ROWS = (0, 288), (288, 512)


def write_demo_dataset(
    folder: Path,
    category: str,
    *,
    seed: int = 0,
    held_out: Collection[int] = (),
    normals: int = NORMALS,
    test_normals: int = 12,
    per_defect: int = 6,
) -> None:
    """Write `folder/category` in the MVTec AD layout; the same seed writes the same pixels.

    `held_out` are the numbers of the normal pictures that training will not see. They come from
    where the test pictures do, and share no pixel with those.
    """
    if category not in TEXTURES:
        raise UserError(f"expected a demo category of {', '.join(TEXTURES)}, got {category!r}")
    texture = TEXTURES[category]() / 255.0
    random, apart = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    root = folder / category
    test_rows = TEST_ROWS if held_out else ALL_ROWS
    for number in range(normals):
        columns = TRAIN_COLUMNS[number % len(TRAIN_COLUMNS)]
        # Drawn in any case: which crops are held out changes no other.
        crop = _random_crop(texture, ALL_ROWS, columns, random)
        if number in held_out:
            crop = _random_crop(texture, HELD_OUT_ROWS, TEST_COLUMNS, apart)
        _save(root / "train" / "good" / f"{number:03d}.png", _quantise(crop))
    for number in range(test_normals):
        crop = _random_crop(texture, test_rows, TEST_COLUMNS, random)
        _save(root / "test" / "good" / f"{number:03d}.png", _quantise(crop))
    for name, paint in PAINTERS.items():
        for number in range(per_defect):
            crop = _random_crop(texture, test_rows, TEST_COLUMNS, random)
            painted, mask = paint(crop, random)
            _save(root / "test" / name / f"{number:03d}.png", _quantise(painted))
            mask_pixels = mask.astype(np.uint8) * np.uint8(255)
            _save(root / "ground_truth" / name / f"{number:03d}_mask.png", mask_pixels)


def paint_scratch(picture: Picture, random: np.random.Generator) -> tuple[Picture, Mask]:
    """A thin bent line, darker or brighter than what it crosses."""
    mask = np.zeros(picture.shape, dtype=bool)
    point = random.uniform(0.2, 0.8, 2) * picture.shape
    angle = random.uniform(0, 2 * np.pi)
    for _ in range(random.integers(3, 6)):
        angle += random.normal(0, 0.35)
        step = random.uniform(12, 24) * np.array([np.sin(angle), np.cos(angle)])
        following = np.clip(point + step, 2, np.array(picture.shape) - 3)
        mask[line(*point.astype(int), *following.astype(int))] = True
        point = following
    mask = dilation(mask, disk_footprint(1))
    sign = random.choice([-1.0, 1.0])
    return _blend(picture, picture + sign * random.uniform(0.25, 0.4), mask), mask


def paint_stain(picture: Picture, random: np.random.Generator) -> tuple[Picture, Mask]:
    """A blot with a ragged outline through which the texture still shows."""
    mask = _blob(picture.shape, random.uniform(12, 24), random)
    factor = random.choice([random.uniform(0.45, 0.65), random.uniform(1.4, 1.6)])
    return _blend(picture, picture * factor, mask), mask


def paint_hole(picture: Picture, random: np.random.Generator) -> tuple[Picture, Mask]:
    """Dark pits, their edge on one side lit."""
    painted = picture.copy()
    mask = np.zeros(picture.shape, dtype=bool)
    for _ in range(random.integers(1, 4)):
        centre, radius = random.uniform(0.15, 0.85, 2) * picture.shape, random.uniform(4, 9)
        rim = disk(centre, radius, shape=picture.shape)
        inner = disk(centre + 0.25 * radius, 0.8 * radius, shape=picture.shape)
        painted[rim] = 0.75
        painted[inner] = 0.12
        mask[rim] = mask[inner] = True
    return painted, mask


def paint_smear(picture: Picture, random: np.random.Generator) -> tuple[Picture, Mask]:
    """A strip in which the texture is wiped away along one axis, and a film is left behind."""
    wiped = gaussian_filter1d(gaussian_filter(picture, 2), 12, axis=int(random.integers(2)))
    wiped += random.choice([-1.0, 1.0]) * random.uniform(0.05, 0.1)
    mask = _strip(picture.shape, random)
    return _blend(picture, wiped, mask), mask


PAINTERS: dict[str, Callable[[Picture, np.random.Generator], tuple[Picture, Mask]]] = {
    "scratch": paint_scratch,
    "stain": paint_stain,
    "hole": paint_hole,
    "smear": paint_smear,
}


def _random_crop(
    texture: Picture,
    rows: tuple[int, int],
    columns: tuple[int, int],
    random: np.random.Generator,
) -> Picture:
    top = random.integers(rows[0], rows[1] - CROP + 1)
    left = random.integers(columns[0], columns[1] - CROP + 1)
    return texture[top : top + CROP, left : left + CROP]


def _blob(shape: tuple[int, ...], radius: float, random: np.random.Generator) -> Mask:
    """A disk whose radius wavers along its outline."""
    centre = random.uniform(0.25, 0.75, 2) * shape
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    waver = sum(
        random.uniform(0, 0.3) / k * np.cos(k * angles + random.uniform(0, 2 * np.pi))
        for k in range(1, 6)
    )
    radii = radius * (1 + waver)
    outline = centre + np.stack((radii * np.sin(angles), radii * np.cos(angles)), axis=1)
    return polygon2mask(shape, outline)


def _strip(shape: tuple[int, ...], random: np.random.Generator) -> Mask:
    """A rectangle at any angle."""
    height, width = random.uniform(16, 26), random.uniform(40, 70)
    corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * (height / 2, width / 2)
    angle = random.uniform(0, np.pi)
    cosine, sine = np.cos(angle), np.sin(angle)
    rotated = corners @ np.array([(cosine, -sine), (sine, cosine)])
    return polygon2mask(shape, rotated + random.uniform(0.3, 0.7, 2) * shape)


def _blend(picture: Picture, defect: Picture, mask: Mask) -> Picture:
    """The defect inside the mask, a little softened towards its edge; untouched outside."""
    opacity = np.where(mask, 0.3 + 0.7 * gaussian_filter(mask.astype(float), 1.0), 0.0)
    return np.clip(picture + opacity * (defect - picture), 0, 1)


def _quantise(picture: Picture) -> NDArray[np.uint8]:
    return np.round(picture * 255).astype(np.uint8)


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    # A trained run is read again and again, perhaps from a folder that nobody may write to.
    if not path.is_file() or path.read_bytes() != file.getvalue():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, file.getvalue())
