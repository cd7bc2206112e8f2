"""From residuals to the final anomaly map, in units of what is normal at each place."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from ..pictures.stored import as_floats
from ..run.checks import brief, fits
from ..run.folder import write_atomically
from ..run.groups import Residual
from ..run.settings import Settings
from .reconstruction import reconstruct
from .residuals import BASE_RESIDUALS, residual_maps, residual_parts

# Where normal images hardly differ, a residual is not measured in units finer than this share of
# its average spread.
SPREAD_FLOOR = 0.25
# Mean and spread are taken over a neighbourhood of this std, a share of the image's side.
NEIGHBOURHOOD = 1 / 64

# Below this, a difference of pixels in [0, 1] is rounding.
SMALLEST_SPREAD = 1e-6

# In a scorer's file, where not the whole picture is scored.
AREA = "area"
FIELDS = ("residual", "smoothing", "pixel_threshold", "image_threshold")

# What settings may name, but for the one that leaves the choice open.
SCORED = tuple(name for name in get_args(Residual) if name != "auto")


@dataclasses.dataclass(frozen=True)
class Normality:
    """Mean and spread of each base residual on normal images, H x W, at each place."""

    means: dict[str, Tensor]
    stds: dict[str, Tensor]
    area: Tensor | None = None
    """H x W bool: what is scored. Beyond it everything is normal; None: nothing is."""

    def pooled(self) -> Normality:
        """The same mean and spread at every place: those over all scored places together."""
        means, stds = {}, {}
        for part, mean in self.means.items():
            scored = ... if self.area is None else self.area
            means[part] = torch.full_like(mean, float(mean[scored].mean()))
            variance = (self.stds[part].square() + (mean - means[part]).square())[scored].mean()
            stds[part] = torch.full_like(mean, float(variance.sqrt()))
        return Normality(means, stds, self.area)

    def of(self, parts: Iterable[str]) -> Normality:
        """That of some base residuals alone."""
        means, stds = ({part: maps[part] for part in parts} for maps in (self.means, self.stds))
        return Normality(means, stds, self.area)

    def in_spreads(self, part: str, residual: Tensor) -> Tensor:
        """How many spreads a residual H x W lies above what is normal at its place."""
        spreads = (residual - self.means[part]) / self.stds[part]
        return spreads if self.area is None else spreads * self.area


@dataclasses.dataclass(frozen=True)
class Scorer:
    """Turns the residuals of an image into its final map, larger where a defect is likelier."""

    residual: str
    """Names of base residuals joined by +; their mean is scored."""
    smoothing: float
    """Std of the Gaussian on the map, in pixels."""
    normality: Normality
    """Of the base residuals that `residual` names."""
    pixel_threshold: float
    """Pixels above it are called defective."""
    image_threshold: float
    """Images whose score, the map's largest value, is above it are called defective."""
    held_out: int | None = None
    """How many normal images the thresholds are of; None in files of earlier versions."""

    @property
    def parts(self) -> tuple[str, ...]:
        return residual_parts(self.residual)

    @property
    def brightest(self) -> float:
        """The map's value of the brightest colour, the same for all pictures of a run."""
        # A low quantile can lie below 0, where a scale from 0 on has no room.
        return 2 * self.pixel_threshold if self.pixel_threshold > 0 else 1.0

    def __call__(self, residuals: Mapping[str, Tensor]) -> Tensor:
        """H x W float32 from base residuals H x W, on the device of both."""
        spreads = [self.normality.in_spreads(part, residuals[part]) for part in self.parts]
        return smooth(torch.stack(spreads).mean(0), self.smoothing)

    def save(self, path: Path) -> None:
        """Write a safetensors file, moved to `path` in one step."""
        tensors = {}
        for part in self.parts:
            tensors[f"mean.{part}"] = self.normality.means[part].contiguous().cpu()
            tensors[f"std.{part}"] = self.normality.stds[part].contiguous().cpu()
        if self.normality.area is not None:
            tensors[AREA] = self.normality.area.contiguous().cpu()
        values = {name: getattr(self, name) for name in FIELDS}
        if self.held_out is not None:
            values["held_out"] = self.held_out
        write_atomically(path, save(tensors, metadata={"scorer": json.dumps(values)}))

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> Scorer:
        """Read what `save` wrote.

        Raises:
            ValueError, SafetensorError: the file is damaged, or its values make no scorer.
        """
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        if "scorer" not in metadata:
            raise ValueError("it holds no scorer; pass the file that training wrote")
        values = json.loads(metadata["scorer"])
        _check_scorer(values, tensors)
        parts = residual_parts(values["residual"])
        normality = Normality(
            {part: tensors[f"mean.{part}"] for part in parts},
            {part: tensors[f"std.{part}"] for part in parts},
            tensors.get(AREA),
        )
        return cls(normality=normality, **values)


def _check_scorer(values: Any, tensors: Mapping[str, Tensor]) -> None:
    """NaN would not fail: it would call every picture good."""
    if not isinstance(values, dict) or set(values) - {"held_out"} != set(FIELDS):
        raise ValueError(f"expected the values {', '.join(FIELDS)}, got {brief(values)}")
    if values["residual"] not in SCORED:
        raise ValueError(
            f"residual must be one of {', '.join(SCORED)}, got {brief(values['residual'])}"
        )
    for name in FIELDS[1:]:
        if not fits(values[name], float):
            raise ValueError(f"{name} must be a finite number, got {brief(values[name])}")
    held_out = values.get("held_out")
    if not fits(held_out, int | None) or (held_out is not None and held_out < 1):
        raise ValueError(f"held_out must be a count of images, got {brief(held_out)}")
    parts = residual_parts(values["residual"])
    expected = {f"{kind}.{part}" for kind in ("mean", "std") for part in parts}
    if set(tensors) - {AREA} != expected:
        raise ValueError(f"expected the maps {sorted(expected)}, got {brief(sorted(tensors))}")
    area, shape = tensors.get(AREA), tensors[f"mean.{parts[0]}"].shape
    if area is not None and (area.dtype != torch.bool or area.shape != shape or not area.any()):
        raise ValueError(
            f"the scored area must be bool, of shape {tuple(shape)} and not empty, got "
            f"{area.dtype} of shape {tuple(area.shape)}"
        )
    for name in sorted(expected):
        tensor = tensors[name]
        if tensor.dtype != torch.float32 or tensor.ndim != 2 or not tensor.isfinite().all():
            raise ValueError(
                f"the map {name} must be of finite float32 numbers in two dimensions, got "
                f"{tensor.dtype} of shape {tuple(tensor.shape)}"
            )
        if name.startswith("std.") and not (tensor > 0).all():
            raise ValueError(f"the spreads {name} must be positive, got {float(tensor.min())}")
        if not 0 <= values["smoothing"] <= max(tensor.shape):
            raise ValueError(
                f"smoothing must be from 0 to the map's side, got {values['smoothing']}"
            )


def smooth(score_map: Tensor, sigma: float) -> Tensor:
    """Gaussian filter of a map H x W, mirrored about its edges: scipy's mode "reflect".

    Each axis is one matrix product, which any device and every export format has.
    """
    if sigma == 0:
        return score_map
    rows, columns = (smoothing_matrix(n, sigma).to(score_map.device) for n in score_map.shape)
    return rows @ score_map @ columns.T


@functools.lru_cache(maxsize=8)
def smoothing_matrix(length: int, sigma: float) -> Tensor:
    """The filter along an axis of `length` pixels, as a matrix length x length."""
    # Outside of inference mode, so that the cached tensor may be used in any mode.
    with torch.inference_mode(False):
        filtered: NDArray[np.float64] = gaussian_filter1d(np.eye(length), sigma, axis=0)
        return torch.from_numpy(filtered.astype(np.float32))


def image_score(score_map: Tensor) -> float:
    return float(score_map.max())


@torch.inference_mode()
def measure_normality(
    model: nn.Module, images: Tensor, settings: Settings, area: Tensor | None = None
) -> Normality:
    """Mean and spread of each residual over normal *training* images, N x C x S x S as stored.

    Both are taken over the images and over a neighbourhood of each place: an object's outline is
    always harder to reconstruct than its inside, a texture is the same everywhere.

    `area`, S x S bool, is what will be scored; None for everything.
    """
    model.eval()
    sums: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    for image in images:
        for part, residual in residuals_of(model, as_floats(image), settings).items():
            sums[part] = sums.get(part, 0) + residual / len(images)
            squares[part] = squares.get(part, 0) + residual.square() / len(images)
    sigma = NEIGHBOURHOOD * images.shape[-1]
    means, stds = {}, {}
    for part in sums:
        means[part] = smooth(sums[part], sigma)
        variance = smooth(squares[part], sigma) - means[part].square()
        std = variance.clamp(min=0).sqrt()
        # A residual that is the same on all images still needs a positive unit.
        stds[part] = std.clamp(min=max(SPREAD_FLOOR * float(std.mean()), SMALLEST_SPREAD))
    return Normality(means, stds, area)


@torch.inference_mode()
def reconstruct_and_compare(
    model: nn.Module, image: Tensor, settings: Settings, parts: tuple[str, ...] = BASE_RESIDUALS
) -> tuple[Tensor, dict[str, Tensor]]:
    """The reconstruction of an image C x S x S, float in [0, 1], and its residual maps.

    The image lies on the model's device, and the model is in evaluation mode.
    """
    reconstruction = reconstruct(
        model,
        image,
        patch_size=settings.test_patch_size(),
        stride=settings.scoring.test_stride,
        batch_size=settings.training.batch_size,
    )
    return reconstruction, residual_maps(
        image, reconstruction, settings.loss_weights(), parts=parts
    )


def residuals_of(model: nn.Module, image: Tensor, settings: Settings) -> dict[str, Tensor]:
    return reconstruct_and_compare(model, image, settings)[1]
