"""Cameras of 10 to 14 bits, and pictures that are dark: no level of grey is lost in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from tiny_run import TINY
from two_stage.commands.command_line import checked_categories, read_settings
from two_stage.pictures.category import find_category
from two_stage.pictures.files import load_image, load_images
from two_stage.pictures.levels import recognised_white
from two_stage.pictures.stored import as_floats, stored_as, white_of
from two_stage.training.data import load_run_data
from two_stage.training.patches import clean_patches

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


def save(folder: Path, white: int, dtype: type = np.uint16, count: int = 4, top: int = 1) -> Path:
    """Ramps up to `white`; each picture is turned a little further."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.roll((RAMP * white).round().astype(dtype), 7 * number, axis=0)
        Image.fromarray(pixels).save(folder / f"{np.dtype(dtype).itemsize}_{number}.png")
    return folder


@pytest.mark.parametrize(
    ("brightest", "white"),
    [(200, 255), (256, 1023), (1023, 1023), (3900, 4095), (16000, 16383), (16384, 65535)],
)
def test_white_is_that_of_the_fewest_bits(brightest: int, white: int) -> None:
    assert recognised_white(brightest) == white


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (10, 1023), (12, 4095), (16, 65535)])
def test_every_depth_keeps_its_levels_and_gives_the_same_image(
    tmp_path: Path, bits: int, white: int
) -> None:
    folder = save(tmp_path / "cup" / "normal", white, np.uint8 if bits == 8 else np.uint16)
    arguments = ["--data-root", str(tmp_path), "--channels", "1", *TINY]
    (settings,) = checked_categories(read_settings(arguments))
    assert settings.data.white == (None if bits == 8 else white)
    data = load_run_data(settings, tmp_path / "run")
    images = torch.cat((data.train, data.held_out))
    assert len(images.unique()) >= min(2**bits, 64 * 64) - 1
    assert float(as_floats(images).max()) == 1
    # What training sees is what prediction sees.
    paths = sorted(folder.iterdir())
    seen = torch.stack([load_image(path, 64, 1, settings.data.white) for path in paths])
    assert torch.equal(as_floats(load_images(paths, 64, 1, settings.data.white)), seen)
    expected = torch.from_numpy(RAMP).float()
    torch.testing.assert_close(seen[0, 0], expected, atol=0.5 / white + 1e-6, rtol=0)
    (patches,) = clean_patches(data.train, settings.training)
    assert patches.dtype == torch.float32
    assert patches.max() <= 1


def test_what_is_brighter_than_white_is_white(tmp_path: Path) -> None:
    (path, *_) = sorted(save(tmp_path, 8000).iterdir())
    image = load_image(path, 64, 1, 4095)
    assert image.max() == 1
    assert float((image == 1).float().mean()) == pytest.approx(1 - 4095 / 8000, abs=0.01)


def test_eight_bits_do_not_hang_on_white(tmp_path: Path) -> None:
    (path, *_) = sorted(save(tmp_path, 255, np.uint8).iterdir())
    assert torch.equal(load_image(path, 32, 3, 4095), load_image(path, 32, 3))


def notes(root: Path, white: int | None = None) -> list[str]:
    return [str(note) for note in find_category(root, "cup", white=white).notes]


def test_what_is_said_of_deep_pictures(tmp_path: Path) -> None:
    save(tmp_path / "cup" / "normal", 3900)
    (said, dark) = notes(tmp_path)
    assert "4 pictures of more than 8 bits" in said
    assert "white is 65535, and the brightest of the normal ones is 3900" in said
    assert "6 % of white" in dark
    assert "--white, such as 4095" in dark
    (said,) = notes(tmp_path, 4095)
    assert "white is 4095" in said
    (_, above) = notes(tmp_path, 1023)
    assert "4 pictures with pixels above white, 1023" in above


def test_mixed_depths_are_named_and_eight_bits_alone_are_not(tmp_path: Path) -> None:
    save(tmp_path / "cup" / "normal", 255, np.uint8)
    assert notes(tmp_path) == []
    save(tmp_path / "cup" / "normal_test", 4000, count=2)
    (_, mixed, _) = notes(tmp_path, 4095)
    assert "4 pictures of 8 bits beside 2 deeper ones" in mixed
    assert "normal/1_0.png" in mixed


def test_dark_pictures_of_8_bits_are_named(tmp_path: Path) -> None:
    save(tmp_path / "cup" / "normal", 40, np.uint8)
    (dark,) = notes(tmp_path)
    assert "the brightest pixel of all normal pictures is 16 % of white" in dark


def test_lost_bits_of_colour_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "cup" / "normal"
    folder.mkdir(parents=True)
    pixels = np.full((8, 8, 3), 40000, dtype=">u2")
    pixels[0] = 0
    # Pillow writes no 16-bit colour: a binary PPM with white 65535 is as plain as a file can be.
    (folder / "a.ppm").write_bytes(b"P6 8 8 65535\n" + pixels.tobytes())
    tifffile.imwrite(folder / "b.tif", pixels.astype(np.uint16), photometric="rgb")
    Image.fromarray((pixels >> 8).astype(np.uint8)).save(folder / "c.png")
    (note,) = find_category(tmp_path, "cup").notes
    assert note.files == ("normal/a.ppm", "normal/b.tif")
    assert "only the upper 8 bits" in str(note)


def test_the_line_for_white_is_followed(tmp_path: Path) -> None:
    save(tmp_path / "cup" / "normal", 3900)
    arguments = ["--data-root", str(tmp_path), "--white", "4000", *TINY]
    (settings,) = checked_categories(read_settings(arguments))
    assert settings.data.white == 4000
    assert "white is 4000" in notes(tmp_path, settings.data.white)[0]


def test_stored_images_change_their_kind_and_back() -> None:
    bytes_ = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    floats = stored_as(bytes_, torch.float32)
    assert (white_of(bytes_), white_of(floats)) == (255, 1)
    assert torch.equal(floats, bytes_.float() / 255)
    assert torch.equal(stored_as(floats, torch.uint8), bytes_)
    assert stored_as(bytes_, torch.uint8) is bytes_


def test_blank_normal_pictures_are_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "cup" / "normal", 255, np.uint8)
    for name, shade in (("cap", 0), ("lamp", 255)):
        Image.new("RGB", (64, 64), (shade, shade, shade)).save(folder / f"{name}.png")
    (note,) = find_category(tmp_path, "cup").notes
    assert note.files == ("normal/cap.png", "normal/lamp.png")
    assert "2 pictures of one colour throughout among the normal ones" in str(note)
    for name in ("cap", "lamp"):
        (folder / f"{name}.png").unlink()
    assert not find_category(tmp_path, "cup").notes
