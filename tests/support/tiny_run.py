"""A finished run as `train` leaves it, with random weights: small enough for any test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from two_stage.run.checkpoint import save_weights
from two_stage.run.folder import save_settings
from two_stage.run.settings import Settings
from two_stage.scoring.residuals import residual_parts
from two_stage.scoring.scorer import Normality, Scorer
from two_stage.training.model import build_model

# Of a training that takes seconds.
TINY = (
    "--image-size", "64", "--patch-size", "64", "--test-stride", "32", "--width", "4",
    "--stage-1-epochs", "2", "--stage-2-epochs", "1", "--crops-per-image", "2",
    "--batch-size", "4", "--pictures-per-type", "1",
)  # fmt: skip
PIXEL_THRESHOLD = 1.5
IMAGE_THRESHOLD = 4.0


def write_run(
    folder: Path, *, residual: str = "l1+aw_ssim+gradient", smoothing: float = 2.0, **settings: Any
) -> Path:
    """Images of 72 pixels in 4 x 4 overlapping patches, the last ones closer than the stride."""
    small = {"image_size": 72, "patch_size": 32, "test_stride": 16, "width": 4}
    chosen = Settings.of(**{**small, "latent_channels": 8, "batch_size": 5, **settings})
    folder.mkdir(parents=True)
    save_settings(chosen, folder)
    size = chosen.data.image_size
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(chosen.data.channels, chosen.network)
    for module in model.modules():
        # Statistics as fresh as these would make batch norm the identity.
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.3, 1, generator=generator)
    save_weights(model, folder / "stage_2.safetensors")

    def uniform() -> torch.Tensor:
        return 0.1 + 0.1 * torch.rand(size, size, generator=generator)

    parts = residual_parts(residual)
    means, stds = ({part: uniform() for part in parts} for _ in range(2))
    # The upper two thirds.
    area = (torch.arange(size) < size * 2 // 3)[:, None].expand(size, size)
    scored = area if chosen.scoring.scored_area == "product" else None
    normality = Normality(means, stds, scored)
    scorer = Scorer(residual, smoothing, normality, PIXEL_THRESHOLD, IMAGE_THRESHOLD)
    scorer.save(folder / "scorer.safetensors")
    return folder
