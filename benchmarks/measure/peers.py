"""The SSIM losses of other libraries, with the same window, padding and reduction as ours."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
WINDOW, SIGMA = 11, 1.5

BASELINE = "pytorch-msssim"
# The package as it is installed, and the module to import; the last two need a GPU.
MODULES = {
    BASELINE: "pytorch_msssim",
    "kornia": "kornia.losses",
    "piq": "piq",
    "torchmetrics": "torchmetrics.functional.image",
    "monai": "monai.losses",
    "frame-analytics": "frame_analytics",
    "fussim": "fussim",
    "fused-ssim": "fused_ssim",
}
GPU_ONLY = ("fussim", "fused-ssim")
# Without MONAI, which takes float64 images and computes in float32.
IN_FLOAT64 = (BASELINE, "kornia", "piq", "torchmetrics", "frame-analytics")
WITH_MAPS = ("kornia", "torchmetrics", "monai")
WITH_VOLUMES = (BASELINE, "kornia", "torchmetrics", "monai")


def peers(
    device: str = "cpu",
    window: int = WINDOW,
    packages: Sequence[str] = tuple(MODULES),
    build: Callable[[str, Any, int], Loss] | None = None,
) -> tuple[dict[str, Loss], dict[str, str]]:
    """The losses that can run here, and why the others cannot; `build` makes one of its module."""
    losses: dict[str, Loss] = {}
    absent: dict[str, str] = {}
    for package in packages:
        if package in GPU_ONLY and torch.device(device).type == "cpu":
            absent[package] = "runs on a GPU alone"
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                library = importlib.import_module(MODULES[package])
            losses[package] = (build or _loss)(package, library, window)
        except ImportError as error:
            absent[package] = str(error).splitlines()[0]
    return losses, absent


def float64_peers() -> tuple[dict[str, Loss], dict[str, str]]:
    """Of those that compute in float64: the same losses."""
    return peers(packages=IN_FLOAT64)


def map_peers() -> tuple[dict[str, Loss], dict[str, str]]:
    """Of those that give a map: the mean of 1 - the map."""
    return peers(packages=WITH_MAPS, build=_map_loss)


def volume_peers() -> tuple[dict[str, Loss], dict[str, str]]:
    """The losses of volumes N x C x D x H x W."""
    return peers(packages=WITH_VOLUMES, build=_volume_loss)


def peer_versions(losses: dict[str, Loss]) -> dict[str, str]:
    return {package: version(package) for package in losses if package in MODULES}


def _loss(package: str, library: Any, window: int) -> Loss:
    match package:
        case "pytorch-msssim":
            return lambda x, y: 1 - library.ssim(x, y, 1.0, win_size=window, win_sigma=SIGMA)
        case "kornia":
            # Its loss is half of 1 - SSIM.
            return lambda x, y: 2 * library.ssim_loss(x, y, window, max_val=1.0, padding="valid")
        case "piq":
            options = {"kernel_size": window, "kernel_sigma": SIGMA, "downsample": False}
            return lambda x, y: 1 - library.ssim(x, y, data_range=1.0, **options)
        case "torchmetrics":
            return _torchmetrics(library, window, sides=2)
        case "monai":
            loss: Loss = library.SSIMLoss(2, 1.0, win_size=window, kernel_sigma=SIGMA)
            return loss
        case "frame-analytics":
            options = {"data_range": 1.0, "win_size": window, "sigma": SIGMA}
            return lambda x, y: 1 - library.ssim(x, y, **options)
        case _:
            return lambda x, y: 1 - library.fused_ssim(x, y, padding="valid")


def _map_loss(package: str, library: Any, window: int) -> Loss:
    match package:
        case "kornia":
            similarity = importlib.import_module("kornia.metrics").ssim
            return lambda x, y: (1 - similarity(x, y, window, padding="valid")).mean()
        case "monai":
            similarity = importlib.import_module("monai.metrics").compute_ssim_and_cs
            options = {"kernel_size": [window] * 2, "kernel_sigma": [SIGMA] * 2, "data_range": 1.0}
            return lambda x, y: (1 - similarity(x, y, spatial_dims=2, **options)[0]).mean()
        case _:
            return _torchmetrics(library, window, sides=2)


def _volume_loss(package: str, library: Any, window: int) -> Loss:
    match package:
        case "kornia":
            return lambda x, y: 2 * library.ssim3d_loss(x, y, window, padding="valid")
        case "monai":
            loss: Loss = library.SSIMLoss(3, 1.0, win_size=window, kernel_sigma=SIGMA)
            return loss
        case "torchmetrics":
            return _torchmetrics(library, window, sides=3)
        case _:
            return _loss(package, library, window)


def _torchmetrics(library: Any, window: int, sides: int) -> Loss:
    similarity = library.structural_similarity_index_measure
    # Its window's size follows from sigma and from nothing else: 11 taps.
    options = {"sigma": SIGMA, "data_range": 1.0, "return_full_image": True}
    # It reflects the borders and has a window for every pixel; the inner ones are "valid".
    inner = (..., *sides * [slice(window // 2, -(window // 2))])
    return lambda x, y: 1 - similarity(x, y, **options)[1][inner].mean()
