"""Masks: which pixels are defective whatever a tool did to the file, and that none gets lost."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage
from two_stage.pictures.masks import check_mask, load_mask, read_mask, shrink
from two_stage.run.errors import UserError

Pixels = NDArray[np.uint8]
TOUCHING = np.ones((3, 3))


def save(path: Path, pixels: NDArray[np.generic] | Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def regions(mask: NDArray[np.bool_]) -> int:
    return int(ndimage.label(mask, TOUCHING)[1])


def line(side: int, width: int = 2) -> NDArray[np.bool_]:
    """A slanted line across the picture."""
    rows, columns = np.mgrid[:side, :side]
    return np.abs(rows - side // 8 - 0.6 * columns) < width * np.hypot(1, 0.6) / 2


def test_masks_are_binary_and_no_path_is_no_defect(tmp_path: Path) -> None:
    pixels = np.zeros((40, 40), dtype=np.uint8)
    pixels[:, 17:] = 255
    mask = load_mask(save(tmp_path / "m.png", pixels), 10)
    assert mask.tolist() == [[False] * 4 + [True] * 6] * 10
    assert not load_mask(None, 10).any()


def test_a_thin_line_stays_one_region_and_a_dot_never_vanishes(tmp_path: Path) -> None:
    path = save(tmp_path / "line.png", line(1024))
    # The 56 pieces that nearest-neighbour shrinking leaves of it are what this is about.
    assert regions(line(1024)) == regions(load_mask(path, 256).numpy()) == 1
    random = np.random.default_rng(0)
    for top, left in random.integers(0, 2044, (100, 2)):
        dot = np.zeros((2048, 2048), dtype=bool)
        dot[top : top + 4, left : left + 4] = True
        assert 1 <= shrink(dot, 256).sum() <= 4


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.01, 0.1, 0.5]),
)  # fmt: skip
def test_shrinking_keeps_every_defect_and_what_touches(
    height: int, width: int, size: int, seed: int, share: float
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    small = shrink(mask, size)
    assert small.shape == (size, size)
    rows, columns = (((np.arange(n) + 0.5) * size / n).astype(int) for n in mask.shape)
    if height >= size and width >= size:
        # A cell is defective if and only if a pixel whose centre lies in it is.
        expected = np.zeros_like(small)
        np.logical_or.at(expected, tuple(np.ix_(rows, columns)), mask)
        assert np.array_equal(small, expected)
        assert regions(small) <= regions(mask)
    if height <= size and width <= size:
        assert regions(small) == regions(mask)
        assert np.array_equal(small[np.ix_(rows, columns)], mask)


TRUE = np.zeros((96, 128), dtype=bool)
TRUE[10:50, 12:60] = True
TRUE[70:90, 100:102] = TRUE[60:64, 20:100] = True


def as_bytes(mask: NDArray[np.bool_], white: int = 255) -> Pixels:
    return (mask * np.uint8(white)).astype(np.uint8)


def through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def blurred(sigma: float) -> Pixels:
    return np.asarray(Image.fromarray(as_bytes(TRUE)).filter(ImageFilter.GaussianBlur(sigma)))


def resized(method: Image.Resampling) -> Pixels:
    large = np.kron(TRUE, np.ones((3, 3), dtype=bool))
    return np.asarray(Image.fromarray(as_bytes(large)).resize(TRUE.shape[::-1], method))


def on_alpha(colour: int) -> Image.Image:
    """What a painting program leaves: strokes on nothing."""
    grey = Image.new("L", TRUE.shape[::-1], colour)
    return Image.merge("RGBA", [grey, grey, grey, Image.fromarray(as_bytes(TRUE))])


def coloured(background: tuple[int, ...], defect: tuple[int, ...]) -> Pixels:
    return np.where(TRUE[..., None], np.uint8(defect), np.uint8(background))


def palette(colours: list[int]) -> Image.Image:
    image = Image.fromarray(TRUE.astype(np.uint8)).convert("P")
    image.putpalette(colours)
    return image


WHOLE: dict[str, NDArray[np.generic] | Image.Image] = {
    "black and white": as_bytes(TRUE),
    "one bit": TRUE,
    "label 1": TRUE.astype(np.uint8),
    "dark grey on black": as_bytes(TRUE, 40),
    "16 bits": TRUE.astype(np.uint16) * np.uint16(65535),
    "16 bits, label 300": TRUE.astype(np.uint16) * np.uint16(300),
    "off-black and off-white": as_bytes(TRUE, 240) + np.uint8(5),
    "saved as JPEG, then as PNG": through_jpeg(as_bytes(TRUE), 95),
    "saved as JPEG twice": through_jpeg(through_jpeg(as_bytes(TRUE), 90), 75),
    "resized": resized(Image.Resampling.BOX),
    "red on black": coloured((0, 0, 0), (255, 0, 0)),
    "red on blue": coloured((0, 0, 255), (255, 0, 0)),
    "label 1 in blue": coloured((0, 0, 0), (0, 0, 1)),
    "white on nothing": on_alpha(255),
    "black on nothing": on_alpha(0),
    "palette": palette([0, 0, 0, 120, 30, 0]),
    "palette without colours": palette([0, 0, 0, 0, 0, 0]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_defect_is_found_whatever_the_file_is(tmp_path: Path, name: str) -> None:
    mask = read_mask(save(tmp_path / "m.png", WHOLE[name]))
    assert np.array_equal(mask.defective, TRUE)
    kind = "grey" if "JPEG" in name else "black and white"
    assert mask.kind == kind


@pytest.mark.parametrize("quality", [60, 95])
def test_a_jpeg_file_is_a_mask_too(tmp_path: Path, quality: int) -> None:
    path = save(tmp_path / "m.JPG", as_bytes(TRUE), quality=quality)
    assert (np.asarray(Image.open(path)) > 0).sum() > 1.02 * TRUE.sum()
    assert np.array_equal(read_mask(path).defective, TRUE)
    black = save(
        tmp_path / "black.jpg", np.random.default_rng(0).integers(0, 3, (64, 64), np.uint8)
    )
    assert not read_mask(black).defective.any()


@pytest.mark.parametrize(
    "pixels",
    [blurred(1), blurred(2), *map(resized, (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS))],
)
def test_soft_edges_are_cut_at_half_and_faint_lines_stay(tmp_path: Path, pixels: Pixels) -> None:
    mask = read_mask(save(tmp_path / "m.png", pixels))
    assert mask.kind == "grey"
    assert regions(mask.defective) == regions(TRUE) == 3
    # Every true pixel lies in the mask or beside it, and the other way round.
    for one, other in ((mask.defective, TRUE), (TRUE, mask.defective)):
        assert not (one & ~ndimage.binary_dilation(other, TOUCHING, iterations=2)).any()
    assert mask.defective.sum() == pytest.approx(TRUE.sum(), rel=0.15)


AREAS = np.kron(np.array([[0, 1, 2, 3]]), np.ones((12, 8), dtype=int))


@pytest.mark.parametrize(
    "values", [(0, 1, 2, 3), (0, 1, 2, 255), (0, 60, 120, 240), (0, 253, 254, 255), (1, 2, 3, 4)]
)
def test_every_label_is_a_defect(tmp_path: Path, values: tuple[int, ...]) -> None:
    pixels = np.array(values, dtype=np.uint8)[AREAS]
    mask = read_mask(save(tmp_path / "m.png", pixels))
    assert np.array_equal(mask.defective, AREAS > 0)
    assert mask.kind == "labels"
    in_blue = np.stack([np.zeros_like(pixels), np.zeros_like(pixels), pixels], axis=-1)
    assert np.array_equal(read_mask(save(tmp_path / "b.png", in_blue)).defective, AREAS > 0)
    deep = pixels.astype(np.uint16) * 257 if max(values) > 9 else pixels.astype(np.uint16)
    assert np.array_equal(read_mask(save(tmp_path / "d.png", deep)).defective, AREAS > 0)


def test_thin_labels_are_defects(tmp_path: Path) -> None:
    pixels = np.zeros((20, 20), dtype=np.uint8)
    pixels[3] = 1
    pixels[9] = 2
    assert np.array_equal(read_mask(save(tmp_path / "m.png", pixels)).defective, pixels > 0)


def test_the_masks_of_a_folder_are_united(tmp_path: Path) -> None:
    half = TRUE & (np.arange(128) < 64)
    save(tmp_path / "000" / "000.png", as_bytes(half, 254))
    save(tmp_path / "000" / "001.png", as_bytes(TRUE & ~half))
    assert np.array_equal(read_mask(tmp_path / "000").defective, TRUE)
    assert np.array_equal(load_mask(tmp_path / "000", 32).numpy(), shrink(TRUE, 32))
    save(tmp_path / "000" / "002.png", np.zeros((5, 5), dtype=np.uint8))
    with pytest.raises(UserError, match=r"one size in .*000, got \[\(5, 5\), \(96, 128\)\]"):
        read_mask(tmp_path / "000")


def test_what_is_said_of_a_mask(tmp_path: Path) -> None:
    facts = check_mask(save(tmp_path / "m.png", as_bytes(TRUE)))
    assert facts.size == (128, 96)
    assert facts.share == pytest.approx(TRUE.mean())
    assert (facts.regions, facts.tiny) == (3, 0)
    dots = np.zeros((96, 128), dtype=bool)
    dots[::8, ::8] = True
    facts = check_mask(save(tmp_path / "dots.png", dots))
    assert (facts.regions, facts.tiny) == (12 * 16, 12 * 16)
