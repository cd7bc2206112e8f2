"""Reconstruct whole images from overlapping patches and turn them into anomaly maps."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from aw_ssim import aw_ssim

from .dataset import Sample, load_image, load_mask
from .metrics import Map
from .settings import Settings

# Where normal images hardly differ, a residual is not measured in units finer than this share of
# its average spread.
SPREAD_FLOOR = 0.25


@dataclasses.dataclass(frozen=True)
class Result:
    """One test image with all that is drawn or measured."""

    sample: Sample
    image: Tensor
    mask: Tensor
    reconstruction: Tensor
    maps: dict[str, Map]

    def image_score(self, residual: str) -> float:
        return float(self.maps[residual].max())


@dataclasses.dataclass(frozen=True)
class Normality:
    """Mean and spread of each residual on normal training images, at each place of the image."""

    means: dict[str, Map]
    stds: dict[str, Map]

    def combine(self, residuals: Mapping[str, Map], sigma: float) -> Map:
        """Average of the residuals in units of their spread on normals, smoothed."""
        scaled = [(residuals[key] - self.means[key]) / self.stds[key] for key in self.means]
        return gaussian_filter(np.mean(scaled, axis=0), sigma)


def reconstruct(
    model: nn.Module, image: Tensor, *, patch_size: int, stride: int, batch_size: int
) -> Tensor:
    """Reconstruct an image C x H x W from overlapping patches, blended by a smooth window.

    The outermost patches end with the image, like patches seen in training: reflecting the image
    beyond its border made lines that cross the border look like nothing the network knows.
    """
    corners = [
        (top, left)
        for top in _starts(image.shape[-2], patch_size, stride)
        for left in _starts(image.shape[-1], patch_size, stride)
    ]
    window = _blend_window(patch_size).to(image.device)
    total = torch.zeros_like(image)
    weight = torch.zeros_like(image[0])
    for first in range(0, len(corners), batch_size):
        batch = corners[first : first + batch_size]
        patches = torch.stack([image[:, y : y + patch_size, x : x + patch_size] for y, x in batch])
        outputs = model(patches.contiguous(memory_format=torch.channels_last))
        for (y, x), output in zip(batch, outputs, strict=True):
            total[:, y : y + patch_size, x : x + patch_size] += window * output
            weight[y : y + patch_size, x : x + patch_size] += window
    return total / weight


def residuals_of(image: Tensor, reconstruction: Tensor, settings: Settings) -> dict[str, Map]:
    """Two residuals H x W: the paper's mean of abs(x - x'), and 1 - AW-SSIM at a fixed sigma."""
    similarity = aw_ssim(
        reconstruction[None],
        image[None],
        weights=settings.loss_weights(),
        padding="same",
        reduction="none",
    )[0]
    return {
        "l1": (image - reconstruction).abs().mean(0).cpu().numpy(),
        "aw_ssim": (1 - similarity).mean(0).cpu().numpy(),
    }


@torch.inference_mode()
def measure_normality(model: nn.Module, images: Tensor, settings: Settings) -> Normality:
    """Mean and spread of each residual over normal *training* images, N x C x H x W uint8.

    Both are taken over the images and over a neighbourhood of each place: an object's outline is
    always harder to reconstruct than its inside, a texture is the same everywhere.
    """
    first: defaultdict[str, Map] = defaultdict(lambda: np.zeros(images.shape[-2:], np.float32))
    second: defaultdict[str, Map] = defaultdict(lambda: np.zeros(images.shape[-2:], np.float32))
    for image in images:
        for key, residual in _residuals(model, image.float() / 255, settings)[1].items():
            first[key] += residual / len(images)
            second[key] += residual**2 / len(images)
    means, stds = {}, {}
    for key in first:
        means[key] = gaussian_filter(first[key], settings.residual_sigma)
        mean_square = gaussian_filter(second[key], settings.residual_sigma)
        std = np.sqrt(np.maximum(mean_square - means[key] ** 2, 0))
        stds[key] = np.maximum(std, SPREAD_FLOOR * std.mean())
    return Normality(means, stds)


@torch.inference_mode()
def evaluate(
    model: nn.Module, samples: Iterable[Sample], normality: Normality, settings: Settings
) -> Iterator[Result]:
    """Test images one at a time, so that memory does not grow with their number."""
    for sample in samples:
        image = load_image(sample.image_path, settings.image_size, settings.channels)
        mask = load_mask(sample.mask_path, settings.image_size)
        reconstruction, residuals = _residuals(model, image, settings)
        residuals["combined"] = normality.combine(residuals, settings.residual_sigma)
        yield Result(sample, image, mask, reconstruction, residuals)


def _residuals(
    model: nn.Module, image: Tensor, settings: Settings
) -> tuple[Tensor, dict[str, Map]]:
    device = next(model.parameters()).device
    model.eval()
    reconstruction = reconstruct(
        model,
        image.to(device),
        patch_size=settings.patch_size,
        stride=settings.test_stride,
        batch_size=settings.batch_size,
    ).cpu()
    return reconstruction, residuals_of(image, reconstruction, settings)


def _starts(length: int, patch_size: int, stride: int) -> list[int]:
    """Where patches begin: every `stride` pixels, and one that ends at the last pixel."""
    last = length - patch_size
    return [*range(0, last, stride), last]


def _blend_window(size: int) -> Tensor:
    """A squared sine in both directions, positive everywhere."""
    phase = torch.pi * (torch.arange(size) + 0.5) / size
    profile = phase.sin().square()
    return profile[:, None] * profile[None, :]
