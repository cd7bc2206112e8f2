"""A training of seconds, on six pictures of waves."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from two_stage.defects.sources import SourceBank
from two_stage.run.run import Run
from two_stage.run.settings import Settings
from two_stage.training.data import RunData
from two_stage.training.losses import stages_of
from two_stage.training.stages import new_model, train_stage

SETTINGS = Settings.of(
    image_size=64,
    patch_size=32,
    test_stride=16,
    channels=1,
    width=4,
    latent_channels=8,
    crops_per_image=3,
    batch_size=4,
    stage_1_epochs=2,
    stage_2_epochs=2,
    checkpoint_steps=4,
)


def run_data(count: int = 6) -> RunData:
    rows = torch.linspace(0, 1, 64)
    generator = torch.Generator().manual_seed(0)
    phases = 6 * torch.rand(count, 1, 1, 1, generator=generator)
    waves = (0.5 + 0.4 * torch.sin(20 * rows[:, None] + 12 * rows + phases)) * 255
    images = waves.expand(count, 1, 64, 64).round().to(torch.uint8)
    bank = SourceBank(images, (range(count),), own=0)
    return RunData(images, images[:2], None, None, bank, ())


def train_in(
    folder: Path, settings: Settings = SETTINGS, *, first_stage: Path | None = None
) -> nn.Module:
    """As the command does, from the first weights on."""
    folder.mkdir(exist_ok=True)
    run = Run(settings, folder, Accelerator(cpu=True), first_stage)
    model, data = new_model(run), run_data()
    for number, stage in enumerate(stages_of(settings), start=1):
        train_stage(number, stage, model, data, run)
    return model
