"""Patches of normal images, and the loop that both stages share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from aw_ssim import SigmaSchedule

from .defects import add_defects
from .settings import Settings

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Step:
    """What one optimiser step leaves in the log."""

    stage: int
    epoch: int
    loss: float
    sigma: float


class NormalPatches(Dataset[tuple[Tensor, Tensor]]):
    """Random patches as pairs (input, target); the target is always the clean patch.

    A patch depends on the seed, the epoch and its index alone, not on the number of workers nor
    on what was drawn before.
    """

    def __init__(
        self,
        images: Tensor,
        *,
        patch_size: int,
        crops_per_image: int,
        seed: int,
        noise: float = 0.0,
        defect_probability: float = 0.0,
        foregrounds: Tensor | None = None,
    ) -> None:
        self.images = images
        self.patch_size = patch_size
        self.crops_per_image = crops_per_image
        self.seed = seed
        self.noise = noise
        self.defect_probability = defect_probability
        self.foregrounds = foregrounds
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.images) * self.crops_per_image

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        state = np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        number = index // self.crops_per_image
        image = self.images[number]
        rows, columns = (_random_span(n, self.patch_size, generator) for n in image.shape[-2:])
        target = image[:, rows, columns].float() / 255
        patch = target
        if float(torch.rand((), generator=generator)) < self.defect_probability:
            foregrounds = self.foregrounds
            patch, _ = add_defects(
                target,
                self.images,
                generator,
                target_index=number,
                image_side=min(image.shape[-2:]),
                foreground=None if foregrounds is None else foregrounds[number, rows, columns],
            )
        if self.noise > 0:
            patch = patch + self.noise * torch.randn(patch.shape, generator=generator)
        return patch, target


def steps_per_epoch(patches: NormalPatches, settings: Settings) -> int:
    """Whole batches: BatchNorm's statistics over the two patches left over would be noise."""
    return max(1, len(patches) // settings.batch_size)


def train_stage(
    stage: int,
    model: nn.Module,
    patches: NormalPatches,
    loss: Loss,
    schedule: SigmaSchedule,
    settings: Settings,
    accelerator: Accelerator,
) -> list[Step]:
    """Train `model` in place; sigma grows within each epoch and starts again with the next."""
    epochs = settings.stage_1_epochs if stage == 1 else settings.stage_2_epochs
    loader = _loader(patches, settings, training=True)
    optimiser = torch.optim.Adam(model.parameters(), settings.learning_rate)
    total = max(1, epochs * len(loader))
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
    network, optimiser, loader, cosine = accelerator.prepare(model, optimiser, loader, cosine)
    network.train()

    log: list[Step] = []
    bar = tqdm(
        total=epochs * len(loader),
        desc=f"stage {stage}",
        disable=not accelerator.is_main_process,
    )
    for epoch in range(epochs):
        patches.epoch = epoch
        schedule.reset()
        for inputs, targets in loader:
            sigma = float(schedule.sigma)
            reconstruction = network(inputs.contiguous(memory_format=torch.channels_last))
            value = loss(reconstruction, targets)
            optimiser.zero_grad()
            accelerator.backward(value)
            optimiser.step()
            cosine.step()
            schedule.step()
            log.append(Step(stage, epoch, float(value.detach()), sigma))
            bar.set_postfix(epoch=epoch + 1, loss=f"{log[-1].loss:.4f}", sigma=f"{sigma:.2f}")
            bar.update()
    bar.close()
    return log


def measure_batch_norm(model: nn.Module, patches: NormalPatches, settings: Settings) -> None:
    """Replace BatchNorm's running statistics by the mean over clean patches.

    The running mean trails the weights, by much in a short run, and saw noise and defects.
    """
    device = next(model.parameters()).device
    update_bn(_loader(patches, settings, training=False), model, device)


def _loader(
    patches: NormalPatches, settings: Settings, training: bool
) -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(
        patches,
        batch_size=settings.batch_size,
        shuffle=training,
        drop_last=training and len(patches) >= settings.batch_size,
        num_workers=settings.workers,
        generator=torch.Generator().manual_seed(settings.seed),
    )


def _random_span(length: int, size: int, generator: torch.Generator) -> slice:
    start = int(torch.randint(length - size + 1, (), generator=generator))
    return slice(start, start + size)
