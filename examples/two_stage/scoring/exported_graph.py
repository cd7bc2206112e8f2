"""A trained run as graphs of plain operators, for `torch.export` and ONNX.

Two graphs share the scoring: one takes images prepared as `load_image` prepares them, one takes the
pixels of a picture and prepares them itself.
"""

from __future__ import annotations

import copy
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..pictures.files import DEEPEST_WHITE
from ..run.groups import Data
from .reconstruction import blend_profile, patch_starts
from .residuals import residual_maps
from .scorer import smoothing_matrix
from .tiled_similarity import tiled_similarity
from .trained_run import TrainedRun

INPUT = "image"
OUTPUTS = ("reconstruction", "anomaly_map", "image_score")
PICTURE = "pixels"
VERDICTS = ("defective", "defective_pixels")
# Those whose size is free.
IMAGE_AXES, PICTURE_AXES = ("batch",), ("height", "width", "channels")

Depth = Literal["uint8", "uint16"]
# ITU-R 601 in 65536ths, as Pillow makes grey of colours.
GREY = (19595, 38470, 7471)


def depth_of(run: TrainedRun) -> Depth:
    """Of the pixels of the run's normal pictures: a white level is known of deep ones alone."""
    return "uint8" if run.settings.data.white is None else "uint16"


def white_of_depth(depth: Depth, data: Data) -> float:
    """What `load_image` takes for white."""
    return 255.0 if depth == "uint8" else float(data.white or DEEPEST_WHITE)


class ReconstructionAndMap(nn.Module):
    """A run as one graph: N x C x S x S in [0, 1] to reconstruction, anomaly map and score.

    The same numbers as `TrainedRun.score`, but for rounding. All patches of a batch go through
    the network at once.
    """

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        settings, scorer = run.settings, run.scorer
        size, patch_size = settings.data.image_size, settings.test_patch_size()
        starts = torch.tensor(patch_starts(size, patch_size, settings.scoring.test_stride))
        # torch.export.save does not take training's memory layout, channels last.
        self.model = copy.deepcopy(run.model).to(memory_format=torch.contiguous_format)
        self.patch_size = patch_size
        self.patches_per_side = len(starts)
        self.loss_weights = settings.loss_weights()
        self.parts = scorer.parts
        # Rows of the image in the order of the patches' rows; columns are the same.
        places = (starts[:, None] + torch.arange(patch_size)).flatten()
        sources, shares = blend_sources(places, patch_size, size)
        self.register_buffer("places", places)
        self.register_buffer("sources", sources)
        self.register_buffer("shares", shares)
        for name, maps in (("means", scorer.normality.means), ("stds", scorer.normality.stds)):
            self.register_buffer(name, torch.stack([maps[part] for part in scorer.parts]))
        area = scorer.normality.area
        self.register_buffer("area", torch.ones(()) if area is None else area.float())
        smoothing = (
            smoothing_matrix(size, scorer.smoothing) if scorer.smoothing else torch.eye(size)
        )
        self.register_buffer("smoothing", smoothing.clone())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reconstruction = self.blended(self.model(self.patches(image)))
        residuals = residual_maps(
            image, reconstruction, self.loss_weights, parts=self.parts, similarity=tiled_similarity
        )
        stacked = torch.stack([residuals[part] for part in self.parts], dim=1)
        spreads = ((stacked - self.means) / self.stds).mean(1) * self.area
        anomaly_map = self.smoothing @ spreads @ self.smoothing.T
        return reconstruction, anomaly_map, anomaly_map.amax((1, 2))

    def patches(self, image: Tensor) -> Tensor:
        """N x C x S x S to (N * patches) x C x P x P."""
        n, p = self.patches_per_side, self.patch_size
        # Columns first: they are the slow ones to pick, and there are fewer of them now.
        columns_and_rows = image.index_select(3, self.places).index_select(2, self.places)
        split = columns_and_rows.reshape(-1, image.shape[1], n, p, n, p)
        return split.permute(0, 2, 4, 1, 3, 5).reshape(-1, image.shape[1], p, p)

    def blended(self, patches: Tensor) -> Tensor:
        """The inverse of `patches`, where they overlap a weighted mean."""
        n, p, channels = self.patches_per_side, self.patch_size, patches.shape[1]
        split = patches.reshape(-1, n, n, channels, p, p)
        joined = split.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, n * p, n * p)
        # The window is a product of its profiles, so rows and columns are blended one by one.
        covering = joined.index_select(2, self.sources.flatten()).unflatten(2, self.shares.shape)
        rows = (covering * self.shares[..., None]).sum(2)
        covering = rows.index_select(3, self.sources.flatten()).unflatten(3, self.shares.shape)
        return (covering * self.shares).sum(3)


class Inspection(nn.Module):
    """A picture's pixels, rows x columns x channels, to what `predict` says of the picture.

    One channel is grey, three are red, green and blue; any size. The outputs are those of
    `ReconstructionAndMap` for one picture, whether it is defective, and which pixels are.
    """

    def __init__(self, run: TrainedRun, depth: Depth) -> None:
        super().__init__()
        self.scoring = ReconstructionAndMap(run)
        self.size, self.channels = run.settings.data.image_size, run.settings.data.channels
        # Pillow resizes 8 bits to 8 bits, and deeper pictures to floats.
        self.rounded = depth == "uint8"
        self.white = white_of_depth(depth, run.settings.data)
        self.image_threshold = float32_below(run.scorer.image_threshold)
        self.pixel_threshold = float32_below(run.scorer.pixel_threshold)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        reconstruction, anomaly_map, score = self.scoring(self.prepared(pixels)[None])
        # Not "greater": a NaN must not pass.
        verdicts = ~(score <= self.image_threshold), ~(anomaly_map <= self.pixel_threshold)
        return tuple(output[0] for output in (reconstruction, anomaly_map, score, *verdicts))

    def prepared(self, pixels: Tensor) -> Tensor:
        """As `load_image`: C x S x S in [0, 1]."""
        levels = pixels.float().permute(2, 0, 1)
        # Of a grey picture all three are the one channel.
        colours = torch.arange(3).clamp(max=pixels.shape[2] - 1)
        if self.channels == 1:
            red, green, blue = levels[colours].split(1)
            levels = self._levels((red * GREY[0] + green * GREY[1] + blue * GREY[2]) / 65536)
        levels = self._resized(levels)
        image = (levels / self.white).clamp(0, 1)
        return image if self.channels == 1 else image[colours]

    def _resized(self, levels: Tensor) -> Tensor:
        height, width = levels.shape[1:]
        square, flat, narrow = (self.size, self.size), (height, self.size), (self.size, width)
        if not self.rounded:
            return _interpolated(levels, square)
        # One axis after the other, since Pillow rounds in between; the shorter side comes first.
        across_first, down_first = (
            self._levels(_interpolated(self._levels(_interpolated(levels, first)), square))
            for first in (flat, narrow)
        )
        is_tall = torch.zeros((), dtype=torch.int64) + (height - width) > 0
        return torch.where(is_tall, down_first, across_first)

    def _levels(self, values: Tensor) -> Tensor:
        return (values + 0.5).floor() if self.rounded else values


def _interpolated(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def float32_below(threshold: float) -> float:
    """The largest float32 that is not above: float32 scores compare with it as with `threshold`."""
    nearest = np.float32(threshold)
    if float(nearest) > threshold:
        nearest = np.nextafter(nearest, np.float32(-np.inf))
    return float(nearest)


def blend_sources(places: Tensor, patch_size: int, size: int) -> tuple[Tensor, Tensor]:
    """For each of `size` pixels along an axis, which entries of `places` cover it, and their share.

    Both are most x size, where `most` entries cover the pixel that the most patches cover; missing
    ones have a share of 0.
    """
    covering = [torch.nonzero(places == pixel).flatten() for pixel in range(size)]
    most = max(map(len, covering))
    profile = blend_profile(patch_size)
    sources, shares = torch.zeros(most, size, dtype=torch.long), torch.zeros(most, size)
    for pixel, entries in enumerate(covering):
        weights = profile[entries % patch_size]
        sources[: len(entries), pixel] = entries
        shares[: len(entries), pixel] = weights / weights.sum()
    return sources, shares


def export_images(run: TrainedRun) -> torch.export.ExportedProgram:
    """The graph that takes prepared images, any number of them at once."""
    size = run.settings.data.image_size
    # Two: a batch of one would be taken for a constant.
    example = torch.rand(2, run.settings.data.channels, size, size)
    return _export(ReconstructionAndMap(run), example, INPUT, IMAGE_AXES)


def export_pictures(run: TrainedRun, depth: Depth) -> torch.export.ExportedProgram:
    """The graph that takes the pixels of one picture of any size."""
    example = torch.zeros(61, 67, 3, dtype=getattr(torch, depth))
    return _export(Inspection(run, depth), example, PICTURE, PICTURE_AXES)


def _export(
    module: nn.Module, example: Tensor, name: str, axes: tuple[str, ...]
) -> torch.export.ExportedProgram:
    sizes = {axis: torch.export.Dim(word, min=1) for axis, word in enumerate(axes)}
    with torch.no_grad():
        return torch.export.export(module.eval(), (example,), dynamic_shapes={name: sizes})
