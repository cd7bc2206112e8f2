"""AUPRO of one map by four ways to bring a large mask and a small map together.

`PYTHONPATH=.:examples python tests/tools/shrunk_masks.py DIR CATEGORY` compares two of them on the
pictures of a category, with the scores that need no training.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.transform import resize
from two_stage.pictures.category import find_category
from two_stage.pictures.files import load_image, load_images
from two_stage.pictures.masks import read_mask, shrink
from two_stage.scoring.baselines import input_only_maps, mean_image
from two_stage.scoring.metrics import aupro, pixel_ap, pixel_auroc
from two_stage.scoring.pixel_counts import PixelCounts, Regions

Mask = NDArray[np.bool_]
SIDE, SMALL, PICTURES = 1024, 256, 12


def lines(random: np.random.Generator) -> Mask:
    """Two scratches, 2 pixels wide."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    for _ in range(2):
        angle, row, column = random.uniform((0, 200, 200), (np.pi, 824, 824))
        across = (rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)
        along = (rows - row) * np.sin(angle) + (columns - column) * np.cos(angle)
        mask |= (np.abs(across) < 1) & (np.abs(along) < 120)
    return mask


def dots(random: np.random.Generator) -> Mask:
    """Six pits of 3 x 3 pixels."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    for row, column in random.integers(0, SIDE - 3, (6, 2)):
        mask[row : row + 3, column : column + 3] = True
    return mask


def blots(random: np.random.Generator) -> Mask:
    """Three disks with a radius of 20 to 60 pixels."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    for _ in range(3):
        row, column, radius = random.uniform((100, 100, 20), (924, 924, 60))
        mask |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    return mask


DEFECTS = {"scratches": lines, "pits": dots, "blots": blots}


def nearest(mask: Mask, size: int) -> Mask:
    """The pixel in the middle of each cell, as the pipeline did before."""
    return np.array(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))


def detector_map(mask: Mask, random: np.random.Generator) -> NDArray[np.float32]:
    """What a network of 256 pixels can find: each cell's share of defect, blurred, with noise."""
    share = mask.reshape(SMALL, SIDE // SMALL, SMALL, SIDE // SMALL).mean((1, 3))
    seen = ndimage.gaussian_filter(share, 1.5)
    noise = ndimage.gaussian_filter(random.normal(size=share.shape), 1.5)
    return (seen / seen.max() + 0.3 * noise / noise.std()).astype(np.float32)


@functools.cache
def compare(kind: str) -> dict[str, PixelCounts]:
    """All pictures with one kind of defect, counted by each way."""
    random = np.random.default_rng(0)
    counts = {way: PixelCounts() for way in ("middle pixel", "any pixel", "own", "enlarged map")}
    for _ in range(PICTURES):
        mask = DEFECTS[kind](random)
        found = detector_map(mask, random)
        counts["middle pixel"].add(found, nearest(mask, SMALL))
        counts["any pixel"].add(found, shrink(mask, SMALL))
        counts["own"].add(found, Regions.of(mask, found.shape))
        large = resize(found, (SIDE, SIDE), order=1).astype(np.float32)
        counts["enlarged map"].add(large, mask)
    return counts


def row(kind: str) -> str:
    """The line of the table in examples/README.md."""
    counts = compare(kind).values()
    cells = [f"{100 * (aupro(count) or 0):.1f} ({count.regions})" for count in counts]
    return f"| {kind} | {' | '.join(cells)} |"


def on_real_pictures(data_root: Path, category: str) -> None:
    """Print how far the two scores without training move, from the middle pixel to the own one."""
    files = find_category(data_root, category)
    mean = mean_image(load_images(files.train, SMALL, 3))
    counts: dict[tuple[str, str], PixelCounts] = {}
    for sample in files.test:
        mask = np.zeros((SMALL, SMALL), dtype=bool)
        if sample.mask_path is not None:
            mask = read_mask(sample.mask_path).defective
        maps = input_only_maps(load_image(sample.image_path, SMALL, 3), mean, sigma=4)
        for name, found in maps.items():
            for way, seen in (
                ("middle", nearest(mask, SMALL)),
                ("own", Regions.of(mask, found.shape)),
            ):
                counts.setdefault((name, way), PixelCounts()).add(found, seen)
    for (name, way), count in counts.items():
        values = (pixel_auroc(count), pixel_ap(count), aupro(count))
        print(name, way, *(f"{100 * value:.2f}" for value in values if value is not None))


if __name__ == "__main__":
    on_real_pictures(Path(sys.argv[1]), sys.argv[2])
