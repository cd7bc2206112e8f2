"""The example's data set: pairing, formats, and an error that names the file for each fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from two_stage.dataset import find_category, load_image, load_mask, load_normal_images

Edit = Callable[[Path], object]


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def mask_with_pixel(row: int, column: int) -> np.ndarray:
    mask = np.zeros((16, 24), dtype=np.uint8)
    mask[row, column] = 255
    return mask


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """One category 'tile' with two normal pictures and two kinds of defects."""
    picture = np.random.default_rng(0).integers(80, 100, (16, 24), dtype=np.uint8)
    root = tmp_path / "data"
    for name in ("000.png", "001.png"):
        save(root / "tile/train/good" / name, picture)
    save(root / "tile/test/good/000.png", picture)
    for number, defect in enumerate(("crack", "oil")):
        save(root / f"tile/test/{defect}/000.png", picture)
        save(root / f"tile/ground_truth/{defect}/000_mask.png", mask_with_pixel(number, 0))
    save(root / "tile/test/crack/001.jpg", picture)
    save(root / "tile/ground_truth/crack/001_mask.png", mask_with_pixel(9, 9))
    return root


def test_each_defect_image_gets_its_own_mask(data_root: Path) -> None:
    files = find_category(data_root, "tile")
    assert [path.name for path in files.train] == ["000.png", "001.png"]
    found = {sample.name: sample.mask_path for sample in files.test}
    truth = data_root / "tile/ground_truth"
    assert found == {
        "good_000": None,
        "crack_000": truth / "crack/000_mask.png",
        "crack_001": truth / "crack/001_mask.png",
        "oil_000": truth / "oil/000_mask.png",
    }


def test_a_mask_named_like_its_image_is_found_too(data_root: Path) -> None:
    truth = data_root / "tile/ground_truth/oil"
    (truth / "000_mask.png").rename(truth / "000.png")
    assert find_category(data_root, "tile").test[-1].mask_path == truth / "000.png"


def remove_all(pattern: str) -> Edit:
    return lambda root: [path.unlink() for path in root.glob(pattern)]


def truncate(name: str) -> Edit:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:200])


FAULTS: dict[str, tuple[Edit, type[Exception], str]] = {
    "empty training folder": (
        remove_all("tile/train/good/*"),
        FileNotFoundError,
        r"expected images, got none in the folder .*train.good",
    ),
    "no defects at all": (
        remove_all("tile/test/oil/*"),
        FileNotFoundError,
        r"expected images, got none in the folder .*test.oil",
    ),
    "mask missing": (
        lambda root: (root / "tile/ground_truth/crack/001_mask.png").unlink(),
        FileNotFoundError,
        r"crack.001\.jpg has no mask: expected .*crack.001_mask\.png",
    ),
    "mask of another size": (
        lambda root: save(root / "tile/ground_truth/oil/000_mask.png", np.zeros((24, 16), "u1")),
        ValueError,
        r"oil.000_mask\.png is 16 x 24 pixels, its image .*oil.000\.png is 24 x 16",
    ),
    "damaged picture": (
        truncate("tile/train/good/001.png"),
        ValueError,
        r"good.001\.png",
    ),
    "damaged test picture": (
        truncate("tile/test/crack/001.jpg"),
        ValueError,
        r"crack.001\.jpg",
    ),
    "not a picture": (
        lambda root: (root / "tile/test/good/000.png").write_text("hello"),
        ValueError,
        r"good.000\.png is not an image",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_before_training_and_named(data_root: Path, fault: str) -> None:
    find_category(data_root, "tile")
    break_it, error, message = FAULTS[fault]
    break_it(data_root)
    with pytest.raises(error, match=message):
        find_category(data_root, "tile")


def test_a_test_set_without_defects_is_an_error(data_root: Path) -> None:
    remove_all("tile/test/*/0*")(data_root)
    for defect in ("crack", "oil"):
        (data_root / "tile/test" / defect).rmdir()
    save(data_root / "tile/test/good/000.png", np.zeros((4, 4), "u1"))
    with pytest.raises(FileNotFoundError, match="found only 'good'"):
        find_category(data_root, "tile")


def test_a_missing_category_lists_those_there_and_the_nearest(data_root: Path) -> None:
    save(data_root / "wood/train/good/0.png", np.zeros((4, 4), "u1"))
    with pytest.raises(FileNotFoundError, match=r"has tile, wood; did you mean 'tile'\?"):
        find_category(data_root, "tiles")


def test_a_missing_data_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder; pass --data-root"):
        find_category(tmp_path / "nowhere", "tile")


RAMP = np.linspace(0, 1, 32 * 32).reshape(32, 32)
FORMATS = {
    "8 bit grey png": ("png", (RAMP * 255).round().astype(np.uint8)),
    "16 bit grey png": ("png", (RAMP * 65535).round().astype(np.uint16)),
    "16 bit grey tiff": ("tiff", (RAMP * 65535).round().astype(np.uint16)),
    "32 bit integer tiff": ("tiff", (RAMP * 65535).round().astype(np.int32)),
    "colour png": ("png", (RAMP[..., None].repeat(3, 2) * 255).round().astype(np.uint8)),
    "colour with alpha": (
        "png",
        np.dstack([(RAMP[..., None].repeat(3, 2) * 255).round(), np.full_like(RAMP, 255)]).astype(
            np.uint8
        ),
    ),
    "bmp": ("bmp", (RAMP * 255).round().astype(np.uint8)),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_floats(tmp_path: Path, name: str, channels: int) -> None:
    suffix, pixels = FORMATS[name]
    image = load_image(save(tmp_path / f"a.{suffix}", pixels), 32, channels)
    assert image.dtype == torch.float32
    expected = torch.from_numpy(RAMP).float().expand(channels, -1, -1)
    torch.testing.assert_close(image, expected, atol=0.5 / 255 + 1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resizing_averages_instead_of_skipping_pixels(tmp_path: Path, dtype: type) -> None:
    stripes = np.zeros((64, 64), dtype=dtype)
    stripes[:, ::4] = np.iinfo(dtype).max
    image = load_image(save(tmp_path / "a.png", stripes), 16, 1)
    assert float((image[..., 2:-2] - 0.25).abs().max()) < 0.02


def test_floats_of_unknown_range_are_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tiff", RAMP.astype(np.float32))
    with pytest.raises(ValueError, match=r"a\.tiff holds floats of unknown range"):
        load_image(path, 32, 1)


def test_masks_stay_binary_when_resized(tmp_path: Path) -> None:
    pixels = np.zeros((40, 40), dtype=np.uint8)
    pixels[:, 17:] = 255
    mask = load_mask(save(tmp_path / "m.png", pixels), 10)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[False] * 4 + [True] * 6] * 10
    assert not load_mask(None, 10).any()


def test_normal_images_are_kept_as_bytes(data_root: Path) -> None:
    images = load_normal_images(find_category(data_root, "tile").train, 8, 3)
    assert images.dtype == torch.uint8
    assert images.shape == (2, 3, 8, 8)
    assert images.float().mean() == pytest.approx(89.5, abs=1)
