"""Pictures and masks from files, by Pillow: any format, depth, colour and orientation it reads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from ..run.errors import UserError

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
# From this many pictures on, a progress bar is worth its line.
MANY = 100

# For the whole process: warnings.catch_warnings is not safe where several threads read pictures.
warnings.simplefilter("error", Image.DecompressionBombWarning)

Item = TypeVar("Item")
Result = TypeVar("Result")


def pictures_in(folder: Path) -> list[Path]:
    """The picture files directly in `folder`, sorted; hidden files and other kinds are ignored."""
    paths = (path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    # A link that leads nowhere is kept: reading it says that it is missing.
    return sorted(path for path in paths if not (path.name.startswith(".") or path.is_dir()))


def load_image(path: Path, size: int, channels: int) -> Tensor:
    """Read a picture as a float32 tensor `channels x size x size` in [0, 1].

    White is 255 for 8 bits and 65535 for every deeper grey, whatever the file's brightest value:
    a 12-bit camera's pictures, stored in 16 bits as they came, are dark. Pillow reads 16-bit
    colour as 8 bits. Grey is repeated for three channels, colour weighted for one; transparent
    parts are black; of several frames the first is read; EXIF orientation is applied.

    Raises:
        UserError: the file is missing, damaged, too large, or of unknown range.
    """
    return prepare(read_picture(path), size, channels)


def prepare(image: Image.Image, size: int, channels: int) -> Tensor:
    """What `load_image` makes of a picture that `read_picture` gave."""
    if image.mode != "F":
        image = image.convert("RGB" if channels == 3 else "L")
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    # Only 8-bit samples still have their range of integers; `read_picture` divides the others.
    scale = 1 if image.mode == "F" else 255
    pixels = np.array(image, dtype=np.float32).reshape(size, size, -1) / scale
    return torch.from_numpy(pixels).permute(2, 0, 1).expand(channels, -1, -1).contiguous()


def load_images(paths: Sequence[Path], size: int, channels: int) -> Tensor:
    """Read pictures into one uint8 tensor `N x channels x size x size`, a quarter of float32."""
    images = torch.empty(len(paths), channels, size, size, dtype=torch.uint8)

    def fill(index: int) -> None:
        images[index] = load_image(paths[index], size, channels).mul(255).round()

    in_threads(fill, range(len(paths)), "reading pictures")
    return images


def is_grey(pictures: NDArray[Any], white: float) -> bool:
    """Whether the channels of ... x C x H x W differ by less than a level of 255 on average."""
    return bool(np.ptp(pictures, axis=-3).mean() < white / 255)


def load_mask(path: Path | None, size: int) -> Tensor:
    """Read a mask as a boolean tensor `size x size`; no path means no defect.

    Every pixel that is not black is a defect, so that masks of labels 0, 1, 2 work like those of
    0 and 255; in a JPEG file, whose black is not exact, every pixel brighter than half of white.
    """
    if path is None:
        return torch.zeros(size, size, dtype=torch.bool)
    image = read_picture(path)
    black = 127 if image.format in {"JPEG", "MPO"} else 0
    defective = np.asarray(image) > black
    if defective.ndim == 3:
        defective = defective.any(axis=2)
    resized = Image.fromarray(defective).resize((size, size), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(resized))


def check_pictures(paths: Sequence[Path]) -> list[tuple[int, int] | UserError]:
    """For each path what `check_picture` returns or raises."""

    def check(path: Path) -> tuple[int, int] | UserError:
        try:
            return check_picture(path)
        except UserError as error:
            return error

    return in_threads(check, paths, "checking pictures")


def check_picture(path: Path) -> tuple[int, int]:
    """Decode a file once, so that a damaged one stops the run before training, not during it.

    Returns its width and height as seen, after its EXIF orientation. Raises as `load_image`.
    """
    return read_picture(path).size


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], title: str
) -> list[Result]:
    """`function` of every item, in their order; Pillow lets threads decode side by side."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(function, items)
        # None: no bar where the output is a file.
        disable = None if len(items) >= MANY else True
        return list(tqdm(results, title, len(items), disable=disable, leave=False))


def read_picture(path: Path) -> Image.Image:
    """The whole picture, upright, as mode "L" or "RGB" (0 to 255) or "F" (0 to 1).

    Links are followed: large data sets are often folders of links, and reading changes nothing.
    """
    # Reading a pipe could wait for ever, and a device may never end.
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file but a folder, pipe or device; remove it")
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as image:
            plain = _to_plain_mode(ImageOps.exif_transpose(image), path)
            # Converting forgets it.
            plain.format = image.format
            return plain
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except UnidentifiedImageError as error:
        fault = "not a picture that Pillow can read" if path.stat().st_size else "empty (0 bytes)"
        raise UserError(f"{path} is {fault}; replace or remove it") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path} is too large for Pillow, make it smaller: {error}") from error
    except Exception as error:
        # For damaged files Pillow's decoders raise errors of almost any class.
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is damaged or of an unknown kind, replace or remove it: {reason}"
        ) from error


def _to_plain_mode(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "F":
        raise UserError(f"{path} holds floats of unknown range; save it as 8 or 16 bits")
    if image.mode.startswith("I"):
        grey = np.asarray(image, dtype=np.float32)
        low, high = grey.min(), grey.max()
        if low < 0 or high > 65535:
            raise UserError(
                f"{path} holds integers from {low:.0f} to {high:.0f}, expected at most 16 bits "
                "(0 to 65535); save it as 8 or 16 bits"
            )
        return Image.fromarray(grey / 65535)
    if image.mode.endswith("A") or "transparency" in image.info:
        # What lies under transparent parts was never meant to be seen, and differs by program.
        opaque = image.convert("RGBA")
        image = Image.new("RGB", image.size)
        image.paste(opaque, mask=opaque.getchannel("A"))
    elif image.mode in {"1", "L"}:
        return image.convert("L")
    return image.convert("RGB")
