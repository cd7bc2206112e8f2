"""Reading pictures: formats, depths, transparency, orientation, masks, and damaged files."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from two_stage.pictures import files as picture_files
from two_stage.pictures.files import (
    Facts,
    check_picture,
    check_pictures,
    in_threads,
    load_image,
    load_images,
    pictures_in,
)
from two_stage.pictures.masks import load_mask
from two_stage.run.errors import UserError

RAMP = np.linspace(0, 1, 32 * 32).reshape(32, 32)
BYTES = (RAMP * 255).round().astype(np.uint8)
WORDS = (RAMP * 65535).round().astype(np.uint16)
GREY = Image.fromarray(BYTES)
OPAQUE = Image.new("L", GREY.size, 255)


def identity_palette() -> Image.Image:
    """A palette whose colour number i is the grey 255 - i."""
    image = Image.fromarray(255 - BYTES).convert("P")
    image.putpalette([255 - level for level in range(256) for _ in "rgb"])
    return image


# Name: file suffix, picture, and how far from the ramp its values may be.
FORMATS: dict[str, tuple[str, Image.Image, float]] = {
    "8 bit grey png": ("png", GREY, 0.5 / 255),
    "16 bit grey png": ("png", Image.fromarray(WORDS), 0.5 / 65535),
    "16 bit grey tiff": ("tiff", Image.fromarray(WORDS), 0.5 / 65535),
    "32 bit integer tiff": ("tif", Image.fromarray(WORDS.astype(np.int32)), 0.5 / 65535),
    "16 bit pgm": ("pgm", Image.fromarray(WORDS), 0.5 / 65535),
    "colour png": ("png", GREY.convert("RGB"), 0.5 / 255),
    "colour with alpha": ("png", Image.merge("RGBA", (GREY, GREY, GREY, OPAQUE)), 0.5 / 255),
    "grey with alpha": ("png", Image.merge("LA", (GREY, OPAQUE)), 0.5 / 255),
    "palette png": ("png", identity_palette(), 0.5 / 255),
    "palette gif": ("gif", identity_palette(), 0.5 / 255),
    "bmp": ("bmp", GREY, 0.5 / 255),
    "lossless webp": ("webp", GREY.convert("RGB"), 0.5 / 255),
    "cmyk tiff": ("tiff", GREY.convert("RGB").convert("CMYK"), 1.5 / 255),
    "jpeg": ("jpg", GREY, 8 / 255),
}


def save(path: Path, image: Image.Image | NDArray[np.generic], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if path.suffix == ".webp":
        options["lossless"] = True
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_floats(tmp_path: Path, name: str, channels: int) -> None:
    suffix, picture, tolerance = FORMATS[name]
    path = save(tmp_path / f"a.{suffix}", picture)
    image = load_image(path, 32, channels)
    assert image.dtype == torch.float32
    expected = torch.from_numpy(RAMP).float().expand(channels, -1, -1)
    torch.testing.assert_close(image, expected, atol=tolerance + 1e-6, rtol=0)
    assert check_picture(path).size == (32, 32)


def test_one_bit_pictures_are_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RAMP > 0.5))
    assert torch.equal(load_image(path, 32, 1)[0], torch.from_numpy(RAMP > 0.5).float())


def test_colours_keep_their_channels_and_are_weighted_to_grey(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (5, 4), (255, 51, 0)))
    colour = load_image(path, 8, 3)
    assert colour.shape == (3, 8, 8)
    assert torch.equal(colour.amax((1, 2)), torch.tensor([1.0, 0.2, 0.0]))
    # ITU-R BT.601.
    assert load_image(path, 8, 1).mean() == pytest.approx(0.299 + 0.2 * 0.587, abs=0.5 / 255)


def test_lab_colours_become_rgb(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tiff", Image.new("LAB", (8, 8), (255, 128, 128)))
    assert load_image(path, 8, 3).min() > 0.99


def test_twelve_bits_in_sixteen_stay_as_dark_as_stored(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.full((8, 8), 4095, dtype=np.uint16))
    assert load_image(path, 8, 1).max() == pytest.approx(4095 / 65535)


@pytest.mark.parametrize("kind", ["alpha", "palette bytes", "palette index", "colour key"])
def test_transparent_parts_are_black(tmp_path: Path, kind: str) -> None:
    picture = Image.new("RGB", (8, 8), (200, 100, 50))
    picture.paste((10, 250, 10), (0, 0, 4, 8))
    options: dict[str, object] = {}
    if kind == "alpha":
        alpha = Image.new("L", (8, 8), 255)
        alpha.paste(0, (0, 0, 4, 8))
        picture.putalpha(alpha)
    elif kind == "colour key":
        options["transparency"] = (10, 250, 10)
    else:
        picture = picture.quantize(2)
        hidden = int(np.asarray(picture)[0, 0])
        as_bytes = bytes(0 if index == hidden else 255 for index in range(2))
        options["transparency"] = as_bytes if kind == "palette bytes" else hidden
    image = load_image(save(tmp_path / "a.png", picture, **options), 8, 3)
    assert not image[..., :4].any()
    assert (image[:, 0, 7] * 255).round().tolist() == [200, 100, 50]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resizing_averages_instead_of_skipping_pixels(tmp_path: Path, dtype: type) -> None:
    stripes = np.zeros((64, 64), dtype=dtype)
    stripes[:, ::4] = np.iinfo(dtype).max
    image = load_image(save(tmp_path / "a.png", stripes), 16, 1)
    assert float((image[..., 2:-2] - 0.25).abs().max()) < 0.02


# Orientation: how the stored pixels were made from the upright ones.
TURNS: dict[int, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
    1: lambda upright: upright,
    3: lambda upright: np.rot90(upright, 2),
    6: lambda upright: np.rot90(upright),
    8: lambda upright: np.rot90(upright, 3),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_holds_for_image_and_mask(
    tmp_path: Path, orientation: int, dtype: type
) -> None:
    upright = np.zeros((20, 30), dtype=dtype)
    upright[:10, :10] = np.iinfo(dtype).max
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNS[orientation](upright))
    path = save(tmp_path / "a.png", stored, exif=exif)
    assert check_picture(path).size == (30, 20)
    assert load_mask(path, 6).nonzero().tolist() == [[r, c] for r in range(3) for c in range(2)]
    assert (load_image(path, 6, 1)[0] > 0.5).nonzero().tolist() == load_mask(
        path, 6
    ).nonzero().tolist()


def test_pictures_are_kept_as_bytes_in_their_order(tmp_path: Path) -> None:
    levels = range(0, 240, 20)
    paths = [
        save(tmp_path / f"{level}.png", np.full((5, 7), level, dtype=np.uint8)) for level in levels
    ]
    images = load_images(paths, 8, 3)
    assert images.dtype == torch.uint8
    assert images.shape == (12, 3, 8, 8)
    assert images.amin((1, 2, 3)).tolist() == images.amax((1, 2, 3)).tolist() == list(levels)


def test_a_bar_shows_on_a_terminal_when_there_are_many(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(picture_files, "MANY", 5)
    assert in_threads(str, range(4), "few") == list("0123")
    assert capsys.readouterr().err == ""
    assert in_threads(str, range(5), "reading") == list("01234")
    assert "reading" in capsys.readouterr().err


def test_only_visible_pictures_are_listed(tmp_path: Path) -> None:
    names = ("b.PNG", "a.jpg", ".c.png", "._a.jpg", "Thumbs.db", ".DS_Store", "readme.txt", "d.h5")
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.bmp").symlink_to(tmp_path / "nowhere.bmp")
    assert [path.name for path in pictures_in(tmp_path)] == ["a.jpg", "b.PNG", "link.bmp"]


def truncated(path: Path) -> None:
    save(path, np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-200])


def patched_ihdr(path: Path) -> None:
    """A PNG file whose header claims another size than its checksum allows."""
    save(path, BYTES)
    content = bytearray(path.read_bytes())
    content[19] ^= 1
    path.write_bytes(bytes(content))


DAMAGED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "empty": ("a.png", Path.touch, r"a\.png is empty \(0 bytes\)"),
    "text": ("a.png", lambda path: path.write_text("hello"), r"a\.png is not a picture"),
    "truncated png": ("a.png", truncated, r"a\.png is damaged"),
    "truncated jpeg": ("a.jpg", truncated, r"a\.jpg is damaged.*truncated"),
    "corrupt header": ("a.png", patched_ihdr, r"a\.png is "),
    "missing": ("a.png", lambda path: None, r"a\.png is missing"),
    "floats": (
        "a.tiff",
        lambda path: save(path, RAMP.astype(np.float32)),
        r"a\.tiff holds floats of unknown range; save it as 8 or 16 bits",
    ),
    "more than 16 bits": (
        "a.tiff",
        lambda path: save(path, np.array([[0, 70000]], dtype=np.int32)),
        r"a\.tiff holds integers from 0 to 70000, expected at most 16 bits",
    ),
    "negative": (
        "a.tiff",
        lambda path: save(path, np.array([[-1, 9]], dtype=np.int32)),
        r"a\.tiff holds integers from -1 to 9,",
    ),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_file_is_one_line_with_its_name(tmp_path: Path, fault: str) -> None:
    name, make, message = DAMAGED[fault]
    make(tmp_path / name)
    for read in (
        check_picture,
        lambda path: load_image(path, 8, 3),
        lambda path: load_mask(path, 8),
        lambda path: load_images([path], 8, 3),
    ):
        with pytest.raises(UserError, match=message) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [1.5, 3])
def test_a_decompression_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Pillow only warns up to twice its limit; both are the same error here."""
    path = save(tmp_path / "a.png", BYTES)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(32 * 32 / share))
    with pytest.raises(UserError, match=r"a\.png has 0.001024 megapixels, more than 0\.000"):
        check_picture(path)


def test_checking_goes_on_after_a_damaged_file(tmp_path: Path) -> None:
    good = save(tmp_path / "a.png", np.zeros((4, 6), dtype=np.uint8))
    first, error, last = check_pictures([good, tmp_path / "b.png", good])
    assert isinstance(first, Facts)
    assert first.size == (6, 4)
    assert first == last
    assert isinstance(error, UserError)
    assert "b.png is missing" in str(error)


def test_a_host_of_many_cores_does_not_take_a_thread_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every thread keeps freed memory of its own: on large hosts it was gigabytes."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    threads: set[int] = set()

    def note(number: int) -> int:
        threads.add(threading.get_ident())
        time.sleep(0.002)
        return number

    assert in_threads(note, range(300), "noting") == list(range(300))
    assert 1 < len(threads) <= 8
