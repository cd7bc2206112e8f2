"""Pictures and masks from files, by Pillow: any format, depth, colour and orientation it reads."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..run.errors import UserError
from ..run.progress import progress

# Pillow opens these, but they are documents, films and containers of measurements.
NOT_PICTURES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
PICTURE_SUFFIXES = frozenset(
    suffix
    for suffix, name in Image.registered_extensions().items()
    if name in Image.OPEN and name not in NOT_PICTURES
)
# What a file holds counts, not its name: an EPS file, whatever it is called, would be handed to
# Ghostscript, which executes it. `registered_extensions` above has loaded all of Pillow's formats.
PICTURE_FORMATS = tuple(name for name in Image.OPEN if name not in NOT_PICTURES)
DEEPEST_WHITE = 65535
# From this many pictures on, a progress bar is worth its line.
MANY = 100
# Each keeps a picture and freed memory of its own, and the disk feeds no more.
MOST_THREADS = 8

# For the whole process: warnings.catch_warnings is not safe where several threads read pictures.
warnings.simplefilter("error", Image.DecompressionBombWarning)

Item = TypeVar("Item")
Result = TypeVar("Result")


def pictures_in(folder: Path) -> list[Path]:
    """The picture files directly in `folder`, sorted; hidden files and other kinds are ignored."""
    paths = (path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    # A link that leads nowhere is kept: reading it says that it is missing.
    return sorted(path for path in paths if not (path.name.startswith(".") or path.is_dir()))


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a file holds, found by decoding all of it."""

    size: tuple[int, int]
    """Width and height as seen, after the EXIF orientation."""
    deep: bool
    """Grey of more than 8 bits."""
    brightest: int
    """In the file's own units."""
    cut: bool
    """Colour of more than 8 bits, of which Pillow keeps the upper 8."""
    blank: bool
    """One colour throughout."""


def load_image(path: Path, size: int, channels: int, white: int | None = None) -> Tensor:
    """Read a picture as a float32 tensor `channels x size x size` in [0, 1].

    White is 255 for 8 bits and `white` for deeper grey, by default 65535; what is brighter counts
    as white. Pillow reads 16-bit colour as 8 bits. Grey is repeated for three channels, colour
    weighted for one; transparent parts are black; of several frames the first is read; EXIF
    orientation is applied.

    Raises:
        UserError: the file is missing, damaged, too large, or of unknown range.
    """
    return prepare(read_picture(path, white), size, channels)


def prepare(image: Image.Image, size: int, channels: int) -> Tensor:
    """What `load_image` makes of a picture that `read_picture` gave."""
    if image.mode != "F":
        image = image.convert("RGB" if channels == 3 else "L")
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    # Only 8-bit samples still have their range of integers; `read_picture` divides the others.
    scale = 1 if image.mode == "F" else 255
    pixels = np.array(image, dtype=np.float32).reshape(size, size, -1) / scale
    return torch.from_numpy(pixels).permute(2, 0, 1).expand(channels, -1, -1).contiguous()


def load_images(
    paths: Sequence[Path], size: int, channels: int, white: int | None = None
) -> Tensor:
    """Read pictures into one tensor `N x channels x size x size`; `white` as in `load_image`.

    It is uint8, a quarter of float32, unless a file is deeper: then float32 in [0, 1], so that
    training sees the values that prediction sees. See `two_stage.pictures.stored`.
    """
    deep = any(facts.deep for facts in in_threads(check_picture, paths, "checking pictures"))
    dtype = torch.float32 if deep else torch.uint8
    images = torch.empty(len(paths), channels, size, size, dtype=dtype)

    def fill(index: int) -> None:
        image = load_image(paths[index], size, channels, white)
        images[index] = image if deep else image.mul(255).round()

    in_threads(fill, range(len(paths)), "reading pictures")
    return images


def check_pictures(paths: Sequence[Path]) -> list[Facts | UserError]:
    """For each path what `check_picture` returns or raises."""

    def check(path: Path) -> Facts | UserError:
        try:
            return check_picture(path)
        except UserError as error:
            return error

    return in_threads(check, paths, "checking pictures")


def check_picture(path: Path) -> Facts:
    """Decode a file once, so that a damaged one stops the run before training, not during it.

    Raises as `load_image`.
    """
    try:
        state = path.stat()
    except OSError:
        # Reading it says why it cannot be read.
        return _facts(path, -1, -1)
    return _facts(path, state.st_mtime_ns, state.st_size)


@functools.cache
def _facts(path: Path, changed: int, length: int) -> Facts:
    """Kept for the process: all categories are checked before the first is trained."""
    with opened(path) as image:
        cut = _loses_bits(image)
        plain = to_plain_mode(ImageOps.exif_transpose(image), path)
        pixels = np.asarray(plain)
        blank = bool((pixels == pixels[:1, :1]).all())
        brightest = int(np.max(pixels, initial=0))
        return Facts(plain.size, plain.mode == "I", brightest, cut, blank)


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], title: str
) -> list[Result]:
    """`function` of every item, in their order; Pillow lets threads decode side by side."""
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        results = pool.map(function, items)
        return list(progress(results, title, len(items), quiet=len(items) < MANY, leave=False))


def _loses_bits(image: Image.Image) -> bool:
    """Whether a PNG, TIFF or PPM file, not decoded yet, has colours of more than 8 bits."""
    if image.mode not in {"RGB", "RGBA", "LA"}:
        return False
    # Pillow's words for what it decodes: "RGB;16B", or of a PPM file "RGB" and the value of white.
    words = str([tile[-1] for tile in getattr(image, "tile", [])])
    whites = re.findall(r"\d+", words) if image.format == "PPM" else []
    return ";16" in words or any(int(white) > 255 for white in whites)


def read_picture(path: Path, white: int | None = None) -> Image.Image:
    """The whole picture, upright, as mode "L" or "RGB" (0 to 255) or "F" (0 to 1, of `white`).

    Links are followed: large data sets are often folders of links, and reading changes nothing.
    """
    with opened(path) as image:
        plain = to_plain_mode(ImageOps.exif_transpose(image), path)
        if plain.mode != "I":
            return plain
        grey = np.asarray(plain, dtype=np.float32) / (white or DEEPEST_WHITE)
        return Image.fromarray(grey.clip(max=1))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The file as Pillow opens it; whatever fails inside is a UserError with the file's name."""
    # Reading a pipe could wait for ever, and a device may never end.
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file but a folder, pipe or device; remove it")
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as image:
            yield image
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except UnidentifiedImageError as error:
        fault = "not a picture that Pillow can read" if path.stat().st_size else "empty (0 bytes)"
        raise UserError(f"{path} is {fault}; replace or remove it") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's words, in every release: Image size (N pixels) exceeds limit of M pixels.
        pixels = int(re.findall(r"\d+", str(error))[0]) / 1e6
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UserError(
            f"{path} has {pixels:.6g} megapixels, more than {limit:.6g}; make it smaller or, if "
            f"you trust it, pass --max-megapixels {math.ceil(10 * pixels) / 10:g}"
        ) from error
    except Exception as error:
        # For damaged files Pillow's decoders raise errors of almost any class.
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is damaged or of an unknown kind, replace or remove it: {reason}"
        ) from error


def allow_megapixels(most: float) -> None:
    """Refuse pictures of more pixels from now on, in the whole process."""
    # Pillow's limit is where it warns; it raises its own error at twice that.
    Image.MAX_IMAGE_PIXELS = round(most * 1e6)


def to_plain_mode(image: Image.Image, path: Path) -> Image.Image:
    """As mode "L" or "RGB", or "I" with the file's own values up to 65535."""
    if image.mode == "F":
        raise UserError(f"{path} holds floats of unknown range; save it as 8 or 16 bits")
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int32)
        low, high = grey.min(), grey.max()
        if low < 0 or high > DEEPEST_WHITE:
            raise UserError(
                f"{path} holds integers from {low} to {high}, expected at most 16 bits "
                "(0 to 65535); save it as 8 or 16 bits"
            )
        return Image.fromarray(grey)
    if image.mode.endswith("A") or "transparency" in image.info:
        # What lies under transparent parts was never meant to be seen, and differs by program.
        opaque = image.convert("RGBA")
        image = Image.new("RGB", image.size)
        image.paste(opaque, mask=opaque.getchannel("A"))
    elif image.mode in {"1", "L"}:
        return image.convert("L")
    return image.convert("RGB")
