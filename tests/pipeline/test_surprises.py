"""What is said of a test set whose masks hold something else than they seem to, or are missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from two_stage.pictures.category import find_category

SIDE = 64
BLOT = np.zeros((SIDE, SIDE), dtype=bool)
BLOT[20:40, 10:50] = True
LINE = np.zeros((1024, 1024), dtype=bool)
LINE[np.arange(1000), np.arange(1000) * 3 // 5] = True


def as_bytes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return mask * np.uint8(255)


def in_pieces() -> NDArray[np.uint8]:
    """A thin line that some program shrank by leaving pixels out."""
    return as_bytes(LINE[::4, ::4])


MASKS: dict[str, tuple[Callable[[], NDArray[np.uint8]], str]] = {
    "labels": (
        lambda: BLOT * np.uint8(2) + (BLOT & (np.arange(SIDE) < 30)), "hold labels, each of which",
    ),
    "grey": (
        lambda: np.asarray(Image.fromarray(as_bytes(BLOT)).rotate(9, Image.Resampling.BICUBIC)),
        "hold other values than black and white",
    ),
    "black": (lambda: as_bytes(BLOT & ~BLOT), "are all black"),
    "inverted": (lambda: as_bytes(~BLOT), "mark more than half .* inverted"),
    "pieces": (in_pieces, "fall into many regions of a few pixels"),
    "usual": (lambda: as_bytes(BLOT), ""),
}  # fmt: skip


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def notes(root: Path) -> list[str]:
    return [str(note) for note in find_category(root, "nut").notes]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Bright normal pictures to train on and to test on."""
    for name in ("normal/0.png", "normal_test/0.png"):
        save(tmp_path / "nut" / name, as_bytes(~BLOT))
    return tmp_path


@pytest.mark.parametrize("name", MASKS)
def test_an_unusual_mask_is_named_once(root: Path, name: str) -> None:
    make, words = MASKS[name]
    for number, pixels in enumerate((make(), as_bytes(BLOT))):
        save(root / f"nut/defective/{number}.png", np.full(pixels.shape, 200, np.uint8))
        save(root / f"nut/masks/{number}.png", pixels)
    said = notes(root)
    if not words:
        assert said == []
        return
    (note,) = said
    assert note.startswith("1 of 2 masks ")
    assert note.endswith(": masks/0.png")
    assert re.search(words, note)


def test_missing_masks_and_missing_pictures_say_which_figures_are_missing(root: Path) -> None:
    assert notes(root)[0].startswith("no defective test pictures: the share of good ones flagged")
    for number in range(3):
        save(root / f"nut/defective/{number}.png", as_bytes(~BLOT))
    assert notes(root) == ['no defective picture has a mask: the figures of pixels are "-"']
    save(root / "nut/masks/1.png", as_bytes(BLOT))
    (note,) = notes(root)
    assert note.startswith("2 of 3 defective pictures have no mask and count only as pictures")
    assert note.endswith(": defective/0.png, defective/2.png")
    (root / "nut/normal_test/0.png").unlink()
    (root / "nut/normal_test").rmdir()
    assert notes(root)[0] == 'no normal test pictures: the AUROC of pictures is "-"'


def test_normal_pictures_alone_need_no_word(root: Path) -> None:
    (root / "nut/normal_test/0.png").unlink()
    (root / "nut/normal_test").rmdir()
    assert notes(root) == []
