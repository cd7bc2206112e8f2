"""The demo's pictures: train and test never share a pixel, and each mask is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from two_stage.pictures.category import find_category
from two_stage.pictures.demo import CROP, PAINTERS, TEST_COLUMNS, TEXTURES, write_demo_dataset
from two_stage.run.errors import UserError
from two_stage.run.settings import Settings
from two_stage.training.data import load_run_data


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image)


def place_of(crop: NDArray[np.uint8], texture: NDArray[np.uint8]) -> tuple[int, int]:
    """The upper left corner of a crop in the texture, found by its pixels."""
    windows = sliding_window_view(texture, (1, CROP))[:, :, 0]
    tops, lefts = np.nonzero((windows == crop[0]).all(-1))
    for top, left in zip(tops, lefts, strict=True):
        if np.array_equal(texture[top : top + CROP, left : left + CROP], crop):
            return int(top), int(left)
    raise AssertionError("the crop is not a part of the texture")


@pytest.mark.parametrize("category", sorted(TEXTURES))
def test_train_and_test_come_from_disjoint_columns(tmp_path: Path, category: str) -> None:
    write_demo_dataset(tmp_path, category, normals=8, test_normals=6, per_defect=1)
    texture = TEXTURES[category]()
    used = {}
    for part in ("train", "test"):
        used[part] = set()
        for path in (tmp_path / category / part / "good").iterdir():
            _, left = place_of(read(path), texture)
            used[part] |= set(range(left, left + CROP))
    assert not used["train"] & used["test"]


@pytest.mark.parametrize("category", sorted(TEXTURES))
def test_held_out_crops_look_like_the_test_s_and_share_no_pixel_with_any(
    tmp_path: Path, category: str
) -> None:
    held_out = [1, 4]
    counts = {"normals": 8, "test_normals": 6, "per_defect": 1}
    write_demo_dataset(tmp_path / "apart", category, held_out=held_out, **counts)
    texture = TEXTURES[category]()
    used = {part: np.zeros(texture.shape, dtype=bool) for part in ("train", "held out", "test")}
    for part in ("train", "test"):
        for path in (tmp_path / "apart" / category / part / "good").iterdir():
            top, left = place_of(read(path), texture)
            is_held_out = part == "train" and int(path.stem) in held_out
            used["held out" if is_held_out else part][top : top + CROP, left : left + CROP] = True
    for one, other in (("train", "held out"), ("held out", "test"), ("train", "test")):
        assert not (used[one] & used[other]).any()
    # In the same columns.
    assert np.array_equal(used["held out"].any(0), used["test"].any(0))
    # What is held out changes no training crop.
    write_demo_dataset(tmp_path / "plain", category, **counts)
    for number in {*range(8)} - {*held_out}:
        name = Path(category, "train", "good", f"{number:03d}.png")
        assert (tmp_path / "apart" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_the_demo_of_a_run_holds_out_those_crops(tmp_path: Path) -> None:
    settings = Settings.of(seed=3, channels=1, validation_share=0.05)
    data = load_run_data(settings, tmp_path)
    texture = torch.from_numpy(TEXTURES["brick"]())
    middle = texture[:, slice(*TEST_COLUMNS)]
    strips = middle.unfold(0, CROP, 1)
    for image in data.held_out:
        # Rows of the strip lie along its last axis.
        assert (strips == image[0].T).flatten(1).all(1).any()
    for image in data.train[:4]:
        assert not (strips == image[0].T).flatten(1).all(1).any()


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
