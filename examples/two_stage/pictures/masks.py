"""Masks from files: which of their pixels are defective, and at what size."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage
from torch import Tensor

from ..run.errors import UserError
from .files import opened, pictures_in, to_plain_mode

Mask = NDArray[np.bool_]
Levels = NDArray[np.int32]
Kind = Literal["black and white", "labels", "grey"]

# Numbers of labels lie below, and no white lies there.
LABELS_BELOW = 32
# A mask with more values than this is no map of labels, unless all lie below the line above.
MOST_LABELS = 32
# What reaches less of a mask's range is the ringing of a JPEG file, not a defect.
NOISE = 0.25
LOSSY = frozenset({"JPEG", "MPO"})
# A region of so few pixels is no more than dust.
TINY = 4
TOUCHING = np.ones((3, 3), dtype=bool)


@dataclasses.dataclass(frozen=True)
class MaskFile:
    """A mask at its own size, H x W bool, and how its values were understood."""

    defective: Mask
    kind: Kind


@dataclasses.dataclass(frozen=True)
class MaskFacts:
    """What a mask file says, without its pixels."""

    size: tuple[int, int]
    """Width and height."""
    kind: Kind
    share: float
    """Of its pixels that are defective."""
    regions: int
    tiny: int
    """Regions of at most `TINY` pixels."""


def load_mask(path: Path | None, size: int) -> Tensor:
    """Read a mask, or a folder of them, as a boolean tensor `size x size`; see `read_mask`.

    No path means no defect. What is shrunk keeps every defect: see `shrink`.
    """
    if path is None:
        return torch.zeros(size, size, dtype=torch.bool)
    return torch.from_numpy(shrink(read_mask(path).defective, size))


def read_mask(path: Path) -> MaskFile:
    """Read a mask at its own size; of a folder, all masks in it united.

    - Of two values the brighter one is the defect, whatever they are.
    - Of labels (0, 1, 2, ..., or a few greys or colours in plain areas) all but the darkest are.
    - Otherwise the mask was saved as JPEG, blurred or resized after it was drawn. Then a pixel is
      defective above half of the range: from the mask's darkest value to the brightest one of the
      region, so that a thin line, which blurring makes faint, does not vanish beside a large blot.

    Pixels of colours count by their brightest channel. Transparent parts are black; if nothing
    else differs between pixels, colours' hue, palette indices and transparency count.

    Raises:
        UserError: as `load_image`; or the masks of a folder differ in size.
    """
    paths = pictures_in(path) if path.is_dir() else []
    if not paths:
        return _read_file(path)
    files = [_read_file(one) for one in paths]
    sizes = {file.defective.shape for file in files}
    if len(sizes) != 1:
        raise UserError(f"expected masks of one size in {path}, got {sorted(sizes)}")
    unusual = [file.kind for file in files if file.kind != "black and white"]
    united: Mask = np.any([file.defective for file in files], axis=0)
    return MaskFile(united, unusual[0] if unusual else "black and white")


def check_mask(path: Path) -> MaskFacts:
    """Read a mask, or a folder of them, once before training; raises as `read_mask`."""
    mask = read_mask(path)
    height, width = mask.defective.shape
    labels, regions = ndimage.label(mask.defective, TOUCHING)
    pixels = np.bincount(labels.ravel())[1:]
    share = float(mask.defective.mean())
    return MaskFacts((width, height), mask.kind, share, regions, int((pixels <= TINY).sum()))


def shrink(mask: Mask, size: int) -> Mask:
    """A mask H x W at size x size: a cell is defective if any of its pixels is.

    So no defect vanishes, and what touches still touches; a defect may grow by part of a cell.
    """
    for axis, length in enumerate(mask.shape):
        if length <= size:
            centres = ((np.arange(size) + 0.5) * length / size).astype(int)
            mask = mask.take(centres, axis)
        else:
            # Of each cell the first pixel whose centre lies in it.
            starts = np.ceil(np.arange(size) * length / size - 0.5).astype(int)
            mask = np.logical_or.reduceat(mask, starts, axis)
    return mask


def _read_file(path: Path) -> MaskFile:
    with opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        views = list(_views(upright, to_plain_mode(upright, path)))
        levels = next((view for view in views if view.min() < view.max()), views[0])
        return _understand(levels, lossy=image.format in LOSSY)


def _views(image: Image.Image, plain: Image.Image) -> Iterator[Levels]:
    """What may tell the pixels of a mask apart, the likeliest first."""
    pixels = np.asarray(plain, dtype=np.int32)
    yield pixels if pixels.ndim == 2 else pixels.max(axis=2)
    if pixels.ndim == 3:
        # Rec. 601's brightness, in whole numbers: red on blue.
        yield pixels @ np.array([299, 587, 114], dtype=np.int32)
    if image.mode == "P":
        yield np.asarray(image, dtype=np.int32)
    if image.mode.endswith("A"):
        yield np.asarray(image.getchannel("A"), dtype=np.int32)


def _understand(levels: Levels, *, lossy: bool) -> MaskFile:
    counts = np.bincount(levels.ravel())
    values = np.flatnonzero(counts)
    darkest, brightest = int(values[0]), int(values[-1])
    if lossy and brightest < LABELS_BELOW:
        return MaskFile(np.zeros(levels.shape, dtype=bool), "black and white")
    if len(values) == 1:
        return MaskFile(levels > 0, "black and white")
    if len(values) == 2:
        return MaskFile(levels > darkest, "black and white")
    few = len(values) <= MOST_LABELS
    if brightest < LABELS_BELOW or (few and not lossy and _in_plain_areas(levels, counts)):
        return MaskFile(levels > darkest, "labels")
    regions, count = ndimage.label(levels > darkest + NOISE * (brightest - darkest), TOUCHING)
    numbers = np.arange(count + 1)
    peaks = ndimage.maximum(levels, regions, numbers)
    # A few pixels that stay below half of the whole range are such ringing too.
    faint = 2 * peaks <= darkest + brightest
    specks = faint & (np.bincount(regions.ravel()) <= TINY)
    above_half = 2 * levels > darkest + peaks[regions]
    return MaskFile((regions > 0) & above_half & ~specks[regions], "grey")


def _in_plain_areas(levels: Levels, counts: NDArray[np.int64]) -> bool:
    """Whether most pixels of each value lie in 3 x 3 pixels of that value."""
    plain = ndimage.maximum_filter(levels, 3) == ndimage.minimum_filter(levels, 3)
    # The filters reflect the image at its border.
    inside = ndimage.binary_dilation(plain, TOUCHING)
    in_areas = np.bincount(levels[inside], minlength=len(counts))
    return bool((2 * in_areas >= counts).all())
