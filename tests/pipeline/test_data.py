"""The data of a run: what is split, and that no file is opened which is not needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from two_stage.pictures.files import load_images, pictures_in
from two_stage.pictures.foreground import estimate_foreground
from two_stage.run.errors import UserError
from two_stage.run.groups import Data
from two_stage.run.settings import Settings
from two_stage.training.data import load_run_data, normal_pictures, split_held_out


def save(folder: Path, count: int, seed: int = 0) -> None:
    """Pictures of a bright disk on black, the disk's place and grain differ."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        y, x = np.mgrid[:48, :48] - random.integers(18, 30, 2)[:, None, None]
        pixels = np.where(x**2 + y**2 < 150, random.integers(150, 250, (48, 48)), 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:03d}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """'cup' in the MVTec layout, 'lid' in the plain one."""
    save(tmp_path / "cup/train/good", 10)
    save(tmp_path / "cup/test/bent", 2, seed=1)
    save(tmp_path / "cup/ground_truth/bent", 2, seed=1)
    save(tmp_path / "lid/normal", 3, seed=2)
    save(tmp_path / "lid/defective", 2, seed=3)
    save(tmp_path / "lid/masks", 2, seed=3)
    return tmp_path


def settings_for(root: Path, **changes: object) -> Settings:
    values = {"data_root": root, "category": "cup", "channels": 1}
    sizes = {"image_size": 64, "patch_size": 32, "test_stride": 16, "validation_share": 0.3}
    return Settings.of(**{**values, **sizes, **changes})  # type: ignore[arg-type]


def test_normals_are_split_once_and_foregrounds_with_them(root: Path) -> None:
    settings = settings_for(root, foreground_only=True)
    data = load_run_data(settings, root / "run")
    train, held_out = split_held_out(10, settings.data, seed=0)
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(10))
    assert len(held_out) == 3
    images = load_images(pictures_in(root / "cup/train/good"), 64, 1)
    for numbers, part, foregrounds in (
        (train, data.train, data.foregrounds),
        (held_out, data.held_out, data.held_out_foregrounds),
    ):
        assert torch.equal(part, images[numbers])
        expected = [estimate_foreground(image.float() / 255) for image in part]
        assert torch.equal(foregrounds, torch.stack(expected))
    assert [sample.name for sample in data.test] == ["bent_000", "bent_001"]
    other = split_held_out(10, settings.data, seed=1)[1]
    assert not torch.equal(held_out, other)


def test_too_few_normals_are_an_error() -> None:
    data = Data(category="cup")
    assert [len(part) for part in split_held_out(4, data, seed=0)] == [2, 2]
    with pytest.raises(UserError, match="at least 4 normal images in cup, got 3"):
        split_held_out(3, data, seed=0)


@pytest.mark.parametrize("name", ["cup/test/bent/001.png", "cup/ground_truth/bent/001.png"])
def test_a_damaged_test_picture_stops_a_run_only_if_it_uses_the_test_set(
    name: str, root: Path
) -> None:
    (root / name).write_bytes(b"no picture")
    with pytest.raises(UserError, match=name):
        load_run_data(settings_for(root), root / "run")
    data = load_run_data(settings_for(root), root / "run", with_test=False)
    assert data.test == ()
    assert (len(data.train), len(data.held_out)) == (7, 3)


def test_a_damaged_normal_picture_always_stops_a_run(root: Path) -> None:
    (root / "cup/train/good/004.png").write_bytes(b"no picture")
    for with_test in (True, False):
        with pytest.raises(UserError, match=r"004\.png is not a picture"):
            load_run_data(settings_for(root), root / "run", with_test=with_test)


def test_of_other_categories_the_normal_pictures_alone_are_opened(root: Path) -> None:
    for name in ("lid/defective/000.png", "lid/masks/000.png"):
        (root / name).write_bytes(b"no picture")
    settings = settings_for(root, defect_sources=("categories",))
    bank = load_run_data(settings, root / "run").bank
    assert torch.equal(bank.images, load_images(pictures_in(root / "lid/normal"), 64, 1))


def test_no_normal_pictures_are_an_error(root: Path) -> None:
    assert [path.name for path in normal_pictures(root, "lid")] == ["000.png", "001.png", "002.png"]
    for path in pictures_in(root / "lid/normal"):
        path.unlink()
    with pytest.raises(UserError, match=r"found none in .*lid/normal"):
        normal_pictures(root, "lid")
    (root / "lid/normal").rmdir()
    with pytest.raises(UserError, match=r"found none in .*lid/normal"):
        normal_pictures(root, "lid")
