"""The files of a category: both layouts, pairing, and an error with the file for each fault."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from two_stage.pictures.category import CategoryFiles, find_category
from two_stage.pictures.masks import load_mask
from two_stage.run.errors import UserError

Edit = Callable[[Path], object]

HEIGHT, WIDTH = 16, 24


def save(path: Path, height: int = HEIGHT, width: int = WIDTH, orientation: int = 1) -> Path:
    """A noisy picture, also good as a mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (height, width), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """'tile' in the MVTec layout, 'bolt' in the plain one, 'nut' with normal pictures alone."""
    for name in (
        "tile/train/good/000.png",
        "tile/train/good/001.png",
        "tile/test/good/000.png",
        "tile/test/crack/000.png",
        "tile/test/crack/001.jpg",
        "tile/test/oil/000.png",
        "tile/ground_truth/crack/000_mask.png",
        "tile/ground_truth/crack/001_mask.png",
        "tile/ground_truth/oil/000_mask.png",
        "bolt/normal/b.png",
        "bolt/normal/a.JPG",
        "bolt/normal_test/z.png",
        "bolt/defective/0.png",
        "bolt/defective/1.png",
        "bolt/defective/bent/0.png",
        "bolt/masks/0.bmp",
        "bolt/masks/1_mask.png",
        "bolt/masks/bent/0_mask.png",
        "nut/normal/a.png",
    ):
        save(tmp_path / name)
    return tmp_path


def pairs(files: CategoryFiles, folder: Path) -> dict[str, tuple[str, str | None]]:
    """Name of each sample: its image and its mask, below the category's folder."""
    return {
        sample.name: (
            sample.image_path.relative_to(folder).as_posix(),
            sample.mask_path and sample.mask_path.relative_to(folder).as_posix(),
        )
        for sample in files.test
    }


def test_the_mvtec_layout(root: Path) -> None:
    files = find_category(root, "tile")
    assert [path.name for path in files.train] == ["000.png", "001.png"]
    assert pairs(files, root / "tile") == {
        "good_000": ("test/good/000.png", None),
        "crack_000": ("test/crack/000.png", "ground_truth/crack/000_mask.png"),
        "crack_001": ("test/crack/001.jpg", "ground_truth/crack/001_mask.png"),
        "oil_000": ("test/oil/000.png", "ground_truth/oil/000_mask.png"),
    }


def test_the_plain_layout(root: Path) -> None:
    files = find_category(root, "bolt")
    assert [path.name for path in files.train] == ["a.JPG", "b.png"]
    assert pairs(files, root / "bolt") == {
        "good_z": ("normal_test/z.png", None),
        "bent_0": ("defective/bent/0.png", "masks/bent/0_mask.png"),
        "defective_0": ("defective/0.png", "masks/0.bmp"),
        "defective_1": ("defective/1.png", "masks/1_mask.png"),
    }


def test_normal_pictures_alone_have_no_test_set(root: Path) -> None:
    assert find_category(root, "nut") == CategoryFiles((root / "nut/normal/a.png",), ())


def test_sizes_may_differ_between_pictures_and_masks_may_be_empty(root: Path) -> None:
    save(root / "tile/train/good/002.png", 7, 5)
    save(root / "tile/test/crack/000.png", 9, 40)
    Image.new("L", (40, 9)).save(root / "tile/ground_truth/crack/000_mask.png")
    sample = find_category(root, "tile").test[1]
    assert sample.defect == "crack"
    assert not load_mask(sample.mask_path, 16).any()


def test_an_image_turned_by_exif_is_compared_as_seen(root: Path) -> None:
    save(root / "tile/test/crack/001.jpg", HEIGHT, WIDTH, orientation=6)
    with pytest.raises(UserError, match=r"001_mask\.png is 24 x 16 pixels, .*001\.jpg is 16 x 24"):
        find_category(root, "tile")
    save(root / "tile/ground_truth/crack/001_mask.png", WIDTH, HEIGHT)
    assert len(find_category(root, "tile").test) == 4


def test_files_that_are_no_pictures_are_ignored(root: Path) -> None:
    before = find_category(root, "bolt")
    for folder in ("normal", "defective", "masks", "masks/bent"):
        for name in ("Thumbs.db", ".DS_Store", "._0.png", "readme.txt"):
            (root / "bolt" / folder / name).write_text("not a picture")
    for folder in ("defective", "masks"):
        hidden = root / "bolt" / folder / ".thumbnails"
        hidden.mkdir()
        (hidden / "0.png").touch()
    assert find_category(root, "bolt") == before


def delete(name: str) -> Edit:
    """A file, or a folder with all below it."""

    def edit(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return edit


def empty(name: str) -> Edit:
    return lambda root: [path.unlink() for path in (root / name).iterdir()]


def truncate(name: str) -> Edit:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:200])


def add(name: str, height: int = HEIGHT, width: int = WIDTH) -> Edit:
    return lambda root: save(root / name, height, width)


def rename(name: str, other: str) -> Edit:
    return lambda root: (root / name).rename(root / other)


def both(*edits: Edit) -> Edit:
    return lambda root: [edit(root) for edit in edits]


# What breaks a category, and the message; in it `.` also stands for a path's separator.
TILE_FAULTS: dict[str, tuple[Edit, str]] = {
    "empty training folder": (empty("tile/train/good"), r"got none in .*tile.train.good$"),
    "no training folder": (delete("tile/train"), r"there is no .*tile.train.good$"),
    "empty normal test folder": (empty("tile/test/good"), r"got none in .*tile.test.good$"),
    "empty kind of defect": (empty("tile/test/oil"), r"got none in .*tile.test.oil$"),
    "nothing to test on": (
        both(
            delete("tile/test/crack"),
            delete("tile/test/oil"),
            delete("tile/ground_truth"),
            delete("tile/test/good"),
        ),
        r"expected defective pictures in .*tile.test, got none$",
    ),
    "mask renamed": (
        rename("tile/ground_truth/crack/001_mask.png", "tile/ground_truth/crack/01_mask.png"),
        r"crack.001\.jpg has no mask in .*ground_truth\n.*crack.01_mask\.png belongs to no defect",
    ),
    "two masks for one image": (
        add("tile/ground_truth/crack/001.bmp"),
        r"001\.jpg has more than one mask in .*crack: 001\.bmp and 001_mask\.png$",
    ),
    "mask without image": (
        add("tile/ground_truth/oil/007_mask.png"),
        r"oil.007_mask\.png belongs to no defect image as its mask; rename or remove it$",
    ),
    "mask of no kind": (
        add("tile/ground_truth/rust/000_mask.png"),
        r"ground_truth.rust belongs to no defect image as its mask",
    ),
    "masks without defect images": (
        delete("tile/test"),
        r"ground_truth.crack belongs to no defect image .*\n.*ground_truth.oil belongs to no",
    ),
    "mask of another size": (
        add("tile/ground_truth/oil/000_mask.png", WIDTH, HEIGHT),
        r"the mask .*oil.000_mask\.png is 16 x 24 pixels, its image .*oil.000\.png is 24 x 16; they"
        r" must be equal$",
    ),
    "two images of one name": (
        add("tile/test/crack/001.png"),
        r"crack.001\.jpg and .*crack.001\.png are both 'crack_001' here; rename one$",
    ),
    "two normal images of one name": (
        add("tile/test/good/000.bmp"),
        r"good.000\.bmp and .*good.000\.png are both 'good_000' here; rename one$",
    ),
    "damaged normal picture": (truncate("tile/train/good/001.png"), r"train.good.001\.png is dam"),
    "damaged normal test picture": (truncate("tile/test/good/000.png"), r"test.good.000\.png is d"),
    "damaged defect image": (truncate("tile/test/crack/001.jpg"), r"crack.001\.jpg is damaged"),
    "damaged mask": (truncate("tile/ground_truth/oil/000_mask.png"), r"000_mask\.png is damaged"),
    "link to nowhere": (
        lambda root: (root / "tile/train/good/002.png").symlink_to(root / "nowhere.png"),
        r"train.good.002\.png is missing$",
    ),
    "both layouts": (
        add("tile/normal/a.png"),
        r"tile mixes layouts: expected train/good, test and ground_truth \(MVTec AD\), Data/Images "
        r"and Data/Masks \(VisA\), or normal, defective and masks, only one of them$",
    ),
    "several": (
        both(
            add("tile/ground_truth/oil/007_mask.png"),
            truncate("tile/train/good/001.png"),
            add("tile/ground_truth/crack/000_mask.png", 5, 5),
            truncate("tile/ground_truth/crack/001_mask.png"),
        ),
        r"oil.007_mask\.png belongs .*\n.*good.001\.png is damaged.*\n.*crack.000_mask\.png is 5 "
        r"x 5 pixels.*\n.*crack.001_mask\.png is damaged[^\n]*$",
    ),
}
BOLT_FAULTS: dict[str, tuple[Edit, str]] = {
    "no training folder": (delete("bolt/normal"), r"there is no .*bolt.normal$"),
    "empty normal test folder": (empty("bolt/normal_test"), r"got none in .*bolt.normal_test$"),
    "nothing defective": (
        both(delete("bolt/defective"), delete("bolt/masks"), delete("bolt/normal_test"),
             lambda root: (root / "bolt/defective").mkdir()),
        r"expected defective pictures in .*bolt.defective, got none$",
    ),
    "a mask for a picture of a kind": (
        rename("bolt/masks/bent/0_mask.png", "bolt/masks/2_mask.png"),
        r"defective.bent.0\.png has no mask in .*masks\n.*masks.2_mask\.png belongs to no [^\n]*$",
    ),
    "mask without image": (
        rename("bolt/defective/1.png", "bolt/defective/2.png"),
        r"defective.2\.png has no mask in .*masks\n.*masks.1_mask\.png belongs to no [^\n]*$",
    ),
    "kind named like normal pictures": (
        rename("bolt/defective/bent", "bolt/defective/good"),
        r"defective.good is named like normal pictures; move them to .*bolt.normal_test$",
    ),
    "kind named like the pictures of no kind": (
        both(rename("bolt/defective/bent", "bolt/defective/defective"),
             rename("bolt/masks/bent", "bolt/masks/defective")),
        r"defective.defective.0\.png and .*bolt.defective.0\.png are both 'defective_0' here",
    ),
}  # fmt: skip
CASES = [("tile", name) for name in TILE_FAULTS] + [("bolt", name) for name in BOLT_FAULTS]


@pytest.mark.parametrize(("category", "fault"), CASES)
def test_a_fault_is_one_line_with_the_name(root: Path, category: str, fault: str) -> None:
    find_category(root, category)
    edit, message = (TILE_FAULTS if category == "tile" else BOLT_FAULTS)[fault]
    edit(root)
    with pytest.raises(UserError, match=message) as caught:
        find_category(root, category)
    assert str(caught.value).splitlines() == caught.value.faults
