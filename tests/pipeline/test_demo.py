"""The demo's pictures: train and test never share a pixel, and each mask is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from two_stage.pictures.category import find_category
from two_stage.pictures.demo import CROP, PAINTERS, TEXTURES, write_demo_dataset
from two_stage.run.errors import UserError


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image)


def columns_of(crop: NDArray[np.uint8], texture: NDArray[np.uint8]) -> tuple[int, int]:
    """Where a crop lies in the texture, found by its pixels."""
    windows = sliding_window_view(texture, (1, CROP))[:, :, 0]
    tops, lefts = np.nonzero((windows == crop[0]).all(-1))
    for top, left in zip(tops, lefts, strict=True):
        if np.array_equal(texture[top : top + CROP, left : left + CROP], crop):
            return int(left), int(left) + CROP
    raise AssertionError("the crop is not a part of the texture")


@pytest.mark.parametrize("category", sorted(TEXTURES))
def test_train_and_test_come_from_disjoint_columns(tmp_path: Path, category: str) -> None:
    write_demo_dataset(tmp_path, category, normals=8, test_normals=6, per_defect=1)
    texture = TEXTURES[category]()
    used = {}
    for part in ("train", "test"):
        used[part] = set()
        for path in (tmp_path / category / part / "good").iterdir():
            used[part] |= set(range(*columns_of(read(path), texture)))
    assert not used["train"] & used["test"]


@pytest.mark.parametrize("painter", sorted(PAINTERS))
def test_masks_are_exactly_the_painted_pixels(painter: str) -> None:
    texture = TEXTURES["gravel"]() / 255.0
    for seed in range(10):
        picture = texture[seed * 30 : seed * 30 + CROP, 200 : 200 + CROP]
        before = picture.copy()
        painted, mask = PAINTERS[painter](picture, np.random.default_rng(seed))
        assert np.array_equal(picture, before)
        assert painted.min() >= 0
        assert painted.max() <= 1
        # In the 256 steps that are written to disk.
        changed = np.round(painted * 255) != np.round(picture * 255)
        assert not (changed & ~mask).any()
        assert changed[mask].mean() > 0.9
        assert 20 < mask.sum() < mask.size / 4


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_demo_dataset(
            tmp_path / name, "brick", seed=seed, normals=2, test_normals=1, per_defect=1
        )
        root = tmp_path / name
        contents.append({p.relative_to(root): p.read_bytes() for p in root.rglob("*.png")})
    assert contents[0] == contents[1]
    assert contents[0].keys() == contents[2].keys()
    assert contents[0] != contents[2]


def test_the_layout_is_the_one_that_the_data_set_reads(tmp_path: Path) -> None:
    write_demo_dataset(tmp_path, "grass", normals=3, test_normals=2, per_defect=2)
    files = find_category(tmp_path, "grass")
    assert len(files.train) == 3
    kinds = [sample.defect for sample in files.test]
    assert kinds == ["good"] * 2 + [kind for kind in sorted(PAINTERS) for _ in range(2)]


def test_an_unknown_category_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a demo category of brick, .*, got 'pill'"):
        write_demo_dataset(tmp_path, "pill")
