"""Pictures that somebody else sent: bombs, cut files, wrong names, pipes, programmes, and links."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from two_stage.pictures.category import find_category
from two_stage.pictures.files import check_picture, load_image
from two_stage.pictures.masks import load_mask
from two_stage.run.errors import UserError

RANDOM = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG file of a hundred bytes; its checksums are right, its one row is short."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 99)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def cut(suffix: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        whole = path.with_name(f"whole.{suffix}")
        Image.fromarray(RANDOM).save(whole)
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    return make


def bytes_of(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


# File name, how it is made, and the message after the path.
HOSTILE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "bomb": (
        "a.png",
        bytes_of(png_that_claims(100_000, 100_000)),
        r"has 10000 megapixels, more than 89\.\d+; make it smaller or, if you trust it, pass",
    ),
    "fewer pixels than claimed": (
        "a.png", bytes_of(png_that_claims(3000, 3000)), "is damaged .*, replace or remove it: ",
    ),
    "cut png": ("a.png", cut("png"), "is damaged .*, replace or remove it: "),
    "cut jpeg": ("a.jpg", cut("jpg"), "is damaged .*, replace or remove it: "),
    "cut tiff": ("a.tif", cut("tif"), "is damaged .*, replace or remove it: "),
    "text named png": (
        "a.png", bytes_of(b"hello"), "is not a picture that Pillow can read; replace or remove it$",
    ),
    "PostScript, which is a programme, named png": (
        "a.png",
        lambda path: Image.fromarray(RANDOM).save(path, "EPS"),
        "is not a picture that Pillow can read; replace or remove",
    ),
    "empty": ("a.png", Path.touch, r"is empty \(0 bytes\); replace or remove it$"),
    "folder": ("a.png", Path.mkdir, "is not a file but a folder, pipe or device"),
    "link to itself": ("a.png", lambda path: path.symlink_to(path), "is damaged|is missing"),
    "link to nowhere": ("a.png", lambda path: path.symlink_to("nowhere.png"), "is missing$"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_one_line_with_its_name(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, make, message = HOSTILE[kind]
    path = tmp_path / name
    make(path)
    for read in (check_picture, lambda p: load_image(p, 8, 3), lambda p: load_mask(p, 8)):
        with pytest.raises(UserError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "hacked").exists()


def check_in_a_process(path: Path) -> str:
    """What a fresh interpreter says, which has none of pytest's filters of warnings."""
    code = "import sys; from two_stage.pictures.files import *; check_picture(Path(sys.argv[1]))"
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    expected = "a.png is not a file but a folder, pipe or device; remove it"
    assert expected in check_in_a_process(tmp_path / "a.png")


def test_a_bomb_that_pillow_only_warns_of_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_that_claims(11_000, 11_000))
    errors = check_in_a_process(tmp_path / "a.png")
    assert (
        "a.png has 121 megapixels, more than 89.4785; make it smaller or, "
        in errors.splitlines()[-1]
    )


def test_what_a_file_holds_counts_and_not_its_name(tmp_path: Path) -> None:
    """Labels of 1 are a defect in a PNG file called .jpg; ringing is none in a JPEG called .png."""
    labels = np.zeros((32, 32), dtype=np.uint8)
    labels[5:14, 9:20] = 1
    path = tmp_path / "png.jpg"
    Image.fromarray(labels).save(path, "PNG")
    assert np.array_equal(load_mask(path, 32).numpy(), labels > 0)

    path = tmp_path / "jpeg.png"
    Image.fromarray(labels * 255).save(path, "JPEG", quality=60)
    assert ((np.asarray(Image.open(path)) > 0) != (labels > 0)).any()
    assert np.array_equal(load_mask(path, 32).numpy(), labels > 0)


def test_links_are_followed_for_reading(tmp_path: Path) -> None:
    """Large data sets are often folders of links to files that lie elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(RANDOM).save(elsewhere / name)
    data = tmp_path / "data"
    (data / "pen").mkdir(parents=True)
    (data / "pen" / "normal").symlink_to(elsewhere, target_is_directory=True)
    (data / "pen" / "defective").mkdir()
    (data / "pen" / "defective" / "c.png").symlink_to(elsewhere / "a.png")
    (data / "pen" / "masks").mkdir()
    (data / "pen" / "masks" / "c.png").symlink_to(elsewhere / "b.png")
    files = find_category(data, "pen")
    assert [path.name for path in files.train] == ["a.png", "b.png"]
    assert [sample.name for sample in files.test] == ["defective_c"]
    assert load_image(files.train[0], 40, 1).shape == (1, 40, 40)
