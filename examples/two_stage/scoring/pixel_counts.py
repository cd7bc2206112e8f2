"""Histograms of pixel scores: any number of images in the memory of one."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

BINS = 2**16
_LARGEST = float(np.finfo(np.float16).max)


def _counts() -> Counts:
    return np.zeros(BINS, dtype=np.int64)


@dataclasses.dataclass
class PixelCounts:
    """Pixels of any number of images at each float16 value, lowest first; see `bin_of`."""

    normal: Counts = dataclasses.field(default_factory=_counts)
    defective: Counts = dataclasses.field(default_factory=_counts)
    # Each defective pixel weighs 1 / size of its connected region, so a region weighs 1.
    region: Floats = dataclasses.field(default_factory=lambda: np.zeros(BINS))
    regions: int = 0

    def add(self, score_map: Map, mask: Mask, *, where: Mask | None = None) -> None:
        """Count one image, or only its pixels `where` true.

        Regions are the mask's 8-connected components; of one that is partly left out the
        remaining pixels weigh 1 together.
        """
        counted = np.ones_like(mask) if where is None else where
        for name, array in (("mask", mask), ("where", counted)):
            if array.shape != score_map.shape:
                raise ValueError(
                    f"expected a {name} of the map's shape {score_map.shape}, got {array.shape}"
                )
        bins = bin_of(score_map)
        self.normal += np.bincount(bins[counted & ~mask], minlength=BINS)
        defective = counted & mask
        if not defective.any():
            return
        labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
        sizes = np.bincount(labels[defective])
        weights = 1 / sizes[labels[defective]]
        self.defective += np.bincount(bins[defective], minlength=BINS)
        self.region += np.bincount(bins[defective], weights=weights, minlength=BINS)
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
