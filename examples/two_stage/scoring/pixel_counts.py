"""Histograms of pixel scores: any number of images in the memory of one."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
# Pixels; where a mask is larger than its map, parts of them.
Counts = Floats

BINS = 2**16
_LARGEST = float(np.finfo(np.float16).max)


def _counts() -> Counts:
    return np.zeros(BINS)


@dataclasses.dataclass(frozen=True)
class Regions:
    """The defects of one image in the pixels of its map, at the resolution of its own mask.

    A pixel of the map may hold parts of several defects and of what is normal. So no defect grows,
    breaks or vanishes, however much smaller the map is.
    """

    normal: Floats
    """Of each pixel of the map the share that is not defective, H x W."""
    place: NDArray[np.intp]
    """Numbers of pixels of the map that hold a part of a defect, row by row; n of them."""
    region: NDArray[np.intp]
    """Number of that defect, from 0."""
    share: Floats
    """Of that pixel."""

    @classmethod
    def of(cls, mask: Mask, shape: tuple[int, ...]) -> Regions:
        """The mask's 8-connected components, as a map of `shape` sees them."""
        # Where the map is larger, its pixels are those of the mask, repeated.
        for axis, (length, size) in enumerate(zip(mask.shape, shape, strict=True)):
            if length < size:
                nearest = ((np.arange(size) + 0.5) * length / size).astype(np.intp)
                mask = mask.take(nearest, axis)
        rows, columns = (
            ((np.arange(length) + 0.5) * size / length).astype(np.intp)
            for length, size in zip(mask.shape, shape, strict=True)
        )
        pixels = np.outer(np.bincount(rows), np.bincount(columns))
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        row, column = np.nonzero(mask)
        place = rows[row] * shape[1] + columns[column]
        keys, parts = np.unique(place * (count + 1) + labels[row, column] - 1, return_counts=True)
        defective = np.bincount(place, minlength=pixels.size).reshape(shape)
        place = keys // (count + 1)
        return cls(
            normal=(pixels - defective) / pixels,
            place=place,
            region=keys % (count + 1),
            share=parts / pixels.ravel()[place],
        )


@dataclasses.dataclass
class PixelCounts:
    """Pixels of any number of images at each float16 value, lowest first; see `bin_of`."""

    normal: Counts = dataclasses.field(default_factory=_counts)
    defective: Counts = dataclasses.field(default_factory=_counts)
    # Each defective pixel weighs 1 / size of its connected region, so a region weighs 1.
    region: Floats = dataclasses.field(default_factory=lambda: np.zeros(BINS))
    regions: int = 0

    def add(self, score_map: Map, mask: Mask | Regions, *, where: Mask | None = None) -> None:
        """Count one image, or only its pixels `where` true.

        Regions are the mask's 8-connected components; of one that is partly left out the
        remaining pixels weigh 1 together.
        """
        found = mask if isinstance(mask, Regions) else Regions.of(mask, mask.shape)
        counted = np.ones(score_map.shape, dtype=bool) if where is None else where
        for name, array in (("mask", found.normal), ("where", counted)):
            if array.shape != score_map.shape:
                raise ValueError(
                    f"expected a {name} of the map's shape {score_map.shape}, got {array.shape}"
                )
        bins = bin_of(score_map)
        self.normal += np.bincount(bins[counted], found.normal[counted], minlength=BINS)
        kept = counted.ravel()[found.place]
        scores, region, share = (
            a[kept] for a in (bins.ravel()[found.place], found.region, found.share)
        )
        sizes = np.bincount(region, share)
        self.defective += np.bincount(scores, share, minlength=BINS)
        self.region += np.bincount(scores, share / sizes[region], minlength=BINS)
        self.regions += np.count_nonzero(sizes)

    def __add__(self, other: PixelCounts) -> PixelCounts:
        return PixelCounts(
            self.normal + other.normal,
            self.defective + other.defective,
            self.region + other.region,
            self.regions + other.regions,
        )

    def has_both(self) -> bool:
        return bool(self.normal.any()) and bool(self.defective.any())


def bin_of(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Place of each value, rounded to float16, among all float16 values in ascending order.

    Values beyond float16's range count as its largest and smallest.
    """
    if not np.isfinite(values).all():
        raise ValueError(
            "expected finite scores, got NaN or infinity; check that the model's training went well"
        )
    bits = np.clip(values, -_LARGEST, _LARGEST).astype(np.float16).view(np.uint16)
    # Read as integers, the bits of negative values ascend with the magnitude.
    bins = np.where(bits >= 0x8000, ~bits, bits | 0x8000)
    # -0 and 0 are equal and must share a bin.
    return np.where(bins == 0x7FFF, np.uint16(0x8000), bins)


def value_of(number: int) -> float:
    """The float16 value of a bin: the inverse of `bin_of`."""
    bits = number & 0x7FFF if number >= 0x8000 else ~number & 0xFFFF
    return float(np.array(bits, dtype=np.uint16).view(np.float16))
