"""Scores that need only the input: what a category gives away without any training."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.filters import sobel
from torch import Tensor, nn

from ..pictures.stored import as_floats, white_of
from ..run.settings import Settings
from ..training.data import spread
from .metrics import mean_quality, reconstruction_quality
from .pixel_counts import Map
from .scorer import Scorer, reconstruct_and_compare

_IMAGES_AT_ONCE = 16
# Enough for a mean.
_IMAGES_COMPARED = 64

# What a score that needs no training is called, before its own name.
INPUT_ONLY = "input only: "
CONSTANT = f"{INPUT_ONLY}constant reconstruction"


class ConstantColour(nn.Module):
    """In place of a network: every patch comes back in one colour, that of the mean image.

    With its own normality and its own choice on held-out images it is scored as a network is. What
    it finds, the residuals see in the picture itself, without any training.
    """

    def __init__(self, mean: Map) -> None:
        super().__init__()
        colour = torch.from_numpy(mean).mean((1, 2))
        # A parameter, so that it says on which device it is; there is nothing to train.
        self.colour = nn.Parameter(colour[:, None, None], requires_grad=False)

    def forward(self, patches: Tensor) -> Tensor:
        return self.colour.expand_as(patches)


@dataclasses.dataclass(frozen=True)
class Untrained:
    """What is scored beside a network to tell what it earned."""

    mean: Map
    """The mean normal training image."""
    constant: ConstantColour
    scorer: Scorer
    """Of the constant colour, chosen as the network's own is."""


def mean_image(images: Tensor) -> Map:
    """Mean of normal training images, N x C x H x W as stored, as C x H x W in [0, 1]."""
    wide = torch.int64 if images.dtype == torch.uint8 else torch.float64
    # A sum over all images at once would first copy them as wider numbers.
    total = sum(chunk.sum(0, dtype=wide) for chunk in images.split(_IMAGES_AT_ONCE))
    return (total.cpu().double() / (white_of(images) * len(images))).float().numpy()


def input_only_maps(image: Tensor, mean: Map, sigma: float) -> dict[str, Map]:
    """Gradient magnitude of the image, C x H x W in [0, 1], and its distance to the mean
    training image, both smoothed; `sigma` in pixels."""
    pixels = image.cpu().numpy()
    return {
        "gradient": gaussian_filter(sobel(pixels.mean(0)), sigma),
        "distance_to_mean": gaussian_filter(np.abs(pixels - mean).mean(0), sigma),
    }


@torch.inference_mode()
def compare_reconstructions(
    model: nn.Module, constant: ConstantColour, images: Tensor, settings: Settings
) -> dict[str, Any]:
    """Mean PSNR and SSIM of normal images, N x C x S x S as stored, that training never saw.

    Of the network's reconstruction and of the constant one.
    """
    some = spread(images, _IMAGES_COMPARED)
    qualities: dict[str, list[dict[str, float]]] = {"network": [], "constant": []}
    for image in as_floats(some):
        for name, network in (("network", model), ("constant", constant)):
            reconstruction, _ = reconstruct_and_compare(network, image, settings, parts=())
            pair = image.cpu().numpy(), reconstruction.cpu().numpy()
            qualities[name].append(reconstruction_quality(*pair))
    return {"pictures": len(some)} | {name: mean_quality(q) for name, q in qualities.items()}
