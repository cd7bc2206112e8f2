"""Artificial defects on normal images: ADGA, J. Imaging 2024, 10(5):111, section 3.2 and eq. 1."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
import torch.nn.functional as F
from skimage.draw import polygon2mask
from skimage.filters import gaussian, threshold_otsu
from torch import Tensor

# Below this the feathered edge is invisible; cutting it there gives the mask a definite outline.
FEATHER_FLOOR = 0.05


@dataclasses.dataclass(frozen=True)
class DefectRanges:
    """What a defect is drawn from, uniformly; the paper gives the vertices, the rest is ours."""

    vertices: tuple[int, int] = (3, 7)
    count: tuple[int, int] = (1, 4)
    side: tuple[float, float] = (0.03, 0.40)
    """Height and width, each a share of the image's side."""
    opacity: tuple[float, float] = (0.5, 1.0)
    blur: tuple[float, float] = (0.5, 2.0)
    """Std of the Gaussian on the pasted patch and on its edge, in pixels."""
    brightness: float = 0.25
    """Largest shift of the pasted patch, in units of the range [0, 1]."""
    contrast: float = 0.5
    """Largest relative change of the pasted patch's contrast."""
    colour: float = 0.1
    """Largest shift of a single channel, in units of the range [0, 1]."""


def add_defects(
    target: Tensor,
    sources: Tensor,
    generator: torch.Generator,
    *,
    target_index: int | None = None,
    image_side: int | None = None,
    foreground: Tensor | None = None,
    ranges: DefectRanges = DefectRanges(),
) -> tuple[Tensor, Tensor]:
    """Paste polygons cut from `sources` onto `target`.

    Args:
        target: the normal image or patch, C x H x W, float in [0, 1]; it is not changed.
        sources: normal images to cut from, N x C x H' x W', float in [0, 1] or uint8.
        generator: the only source of randomness; the same state gives the same bits.
        target_index: which of `sources` the target is from; the others are cut then.
        image_side: what a defect's side is a share of; by default the target's shorter side.
        foreground: H x W bool; defects are centred on it and confined to it.
        ranges: sizes, numbers and strengths.

    Returns:
        The defective image and its mask (H x W bool); outside of the mask they are equal bit
        for bit. The mask is empty if the foreground is.
    """
    defective = target.clone()
    mask = torch.zeros(target.shape[-2:], dtype=torch.bool)
    side = image_side or min(target.shape[-2:])
    for _ in range(_integer(ranges.count, generator)):
        centre = _random_centre(mask, foreground, generator)
        if centre is None:
            break
        source = sources[_other_index(len(sources), target_index, generator)]
        patch, alpha = _cut_patch(source, side, ranges, generator)
        _paste(defective, mask, patch, alpha, centre, foreground)
    return defective, mask


def random_polygon(vertices: int, generator: torch.Generator) -> Tensor:
    """A simple polygon in the unit square, vertices x 2 (row, column).

    Vertices go round a centre in the order of their angles. A gap between two of them stays below
    half a turn (168 degrees for a triangle), without which the outline could cross itself.
    """
    jitter = 0.4 * (torch.rand(vertices, generator=generator) - 0.5)
    turn = torch.rand((), generator=generator)
    angles = 2 * math.pi * ((torch.arange(vertices) + jitter) / vertices + turn)
    radii = 0.4 + 0.6 * torch.rand(vertices, generator=generator)
    corners = radii[:, None] * torch.stack((angles.sin(), angles.cos()), dim=1)
    low, high = corners.amin(0), corners.amax(0)
    return (corners - low) / (high - low)


def estimate_foreground(image: Tensor) -> Tensor:
    """Where an image C x H x W differs from its own border: the object on a plain background."""
    border = torch.cat((image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]), dim=1)
    distance = (image - border.median(dim=1).values[:, None, None]).abs().mean(0).numpy()
    smooth = gaussian(distance, sigma=2)
    return torch.from_numpy(smooth > threshold_otsu(smooth))


def _cut_patch(
    source: Tensor, image_side: int, ranges: DefectRanges, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Crop, resize and blur: a patch C x h x w and its feathered opacity h x w."""
    outline = random_polygon(_integer(ranges.vertices, generator), generator)
    height, width = (max(3, round(image_side * _real(ranges.side, generator))) for _ in "hw")
    blur = min(_real(ranges.blur, generator), min(height, width) / 6)
    margin = math.ceil(3 * blur)

    # The crop has a size of its own: resizing then changes the scale of the source's texture.
    limits = source.shape[-2:]
    crop = [min(n, max(3, round(n * _real(ranges.side, generator)))) for n in limits]
    top, left = (_integer((0, n - c), generator) for n, c in zip(limits, crop, strict=True))
    cut = source[:, top : top + crop[0], left : left + crop[1]]
    cut = cut.float() / 255 if source.dtype == torch.uint8 else cut
    size = (height + 2 * margin, width + 2 * margin)
    patch = F.interpolate(cut[None], size, mode="bilinear", antialias=True)[0]

    corners = outline.numpy() * (height - 1, width - 1) + margin
    polygon = polygon2mask(size, corners).astype(np.float32)
    feathered = torch.from_numpy(gaussian(polygon, sigma=blur, mode="constant", truncate=3.0))
    alpha = ((feathered - FEATHER_FLOOR) / (1 - FEATHER_FLOOR)).clamp(0, 1)
    # Eq. 1 blurs what is pasted; blurring its opacity as well is what softens the edge.
    patch = torch.from_numpy(gaussian(patch.numpy(), sigma=blur, channel_axis=0))
    return _jitter(patch, ranges, generator), alpha * _real(ranges.opacity, generator)


def _jitter(patch: Tensor, ranges: DefectRanges, generator: torch.Generator) -> Tensor:
    """Random brightness, contrast and, with more than one channel, colour."""
    contrast = 1 + ranges.contrast * _signed(1, generator)
    shift = ranges.brightness * _signed(1, generator)
    if len(patch) > 1:
        shift = shift + ranges.colour * _signed(len(patch), generator)
    mean = patch.mean(dim=(-2, -1), keepdim=True)
    return ((patch - mean) * contrast + mean + shift[:, None, None]).clamp(0, 1)


def _paste(
    image: Tensor,
    mask: Tensor,
    patch: Tensor,
    alpha: Tensor,
    centre: tuple[int, int],
    foreground: Tensor | None,
) -> None:
    """Blend `patch` into `image` in place; parts beyond the image's edge are lost."""
    starts = [c - n // 2 for c, n in zip(centre, alpha.shape, strict=True)]
    window = tuple(
        slice(max(0, s), min(limit, s + n))
        for s, n, limit in zip(starts, alpha.shape, mask.shape, strict=True)
    )
    inside = tuple(slice(w.start - s, w.stop - s) for w, s in zip(window, starts, strict=True))
    alpha = alpha[inside]
    if foreground is not None:
        alpha = alpha * foreground[window]
    rows, columns = window
    below = image[:, rows, columns]
    below += alpha * (patch[:, inside[0], inside[1]] - below)
    mask[window] |= alpha > 0


def _random_centre(
    mask: Tensor, foreground: Tensor | None, generator: torch.Generator
) -> tuple[int, int] | None:
    if foreground is None:
        row, column = (_integer((0, n - 1), generator) for n in mask.shape)
        return row, column
    places = foreground.nonzero()
    if len(places) == 0:
        return None
    row, column = places[_integer((0, len(places) - 1), generator)].tolist()
    return row, column


def _other_index(count: int, excluded: int | None, generator: torch.Generator) -> int:
    """Uniform below `count`, without `excluded` unless there is no other."""
    if excluded is None or count == 1:
        return _integer((0, count - 1), generator)
    index = _integer((0, count - 2), generator)
    return index + (index >= excluded)


def _integer(bounds: tuple[int, int], generator: torch.Generator) -> int:
    """Uniform, both bounds included."""
    return int(torch.randint(bounds[0], bounds[1] + 1, (), generator=generator))


def _real(bounds: tuple[float, float], generator: torch.Generator) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * float(torch.rand((), generator=generator))


def _signed(count: int, generator: torch.Generator) -> Tensor:
    """Uniform between -1 and 1."""
    return 2 * torch.rand(count, generator=generator) - 1
