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


def peers(
    device: str = "cpu", window: int = WINDOW, packages: Sequence[str] = tuple(MODULES)
) -> tuple[dict[str, Loss], dict[str, str]]:
    """The losses that can run here, and why the others cannot."""
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
            losses[package] = _loss(package, library, window)
        except ImportError as error:
            absent[package] = str(error).splitlines()[0]
    return losses, absent


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
            similarity = library.structural_similarity_index_measure
            # Its window's size follows from sigma and from nothing else: 11 taps.
            options = {"sigma": SIGMA, "data_range": 1.0, "return_full_image": True}
            # It reflects the borders and has a window for every pixel; the inner ones are "valid".
            inner = (..., *2 * [slice(window // 2, -(window // 2))])
            return lambda x, y: 1 - similarity(x, y, **options)[1][inner].mean()
        case "monai":
            loss: Loss = library.SSIMLoss(2, 1.0, win_size=window, kernel_sigma=SIGMA)
            return loss
        case "frame-analytics":
            options = {"data_range": 1.0, "win_size": window, "sigma": SIGMA}
            return lambda x, y: 1 - library.ssim(x, y, **options)
        case _:
            return lambda x, y: 1 - library.fused_ssim(x, y, padding="valid")
