"""Which patches the network sees at which step: a pure function of the seed and the step.

Nothing depends on what was drawn before or on the number of processes, so that a run continues
after an interruption, or is shared by several processes, with the same patches.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from ..defects.adga import DefectRanges, add_defects, draw_defects
from ..defects.sources import SourceBank
from ..pictures.stored import as_floats
from ..run.errors import UserError
from ..run.groups import Training
from ..run.seeds import seeded
from .losses import Stage
from .model import SMALLEST_PATCH


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of each batch that this process trains on."""

    index: int = 0
    count: int = 1

    def of(self, batch: int) -> slice:
        size = batch // self.count
        return slice(self.index * size, (self.index + 1) * size)


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the patches of an epoch lie: number of the image, top, left, and mirrorings."""

    image: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor
    """n x 2 bool: upside down, left to right."""

    def rows(self, index: slice) -> Places:
        return Places(self.image[index], self.top[index], self.left[index], self.flip[index])

    def __len__(self) -> int:
        return len(self.image)


class PatchStream:
    """Inputs and targets B x C x P x P in [0, 1], and where defects are, B x 1 x P x P bool.

    The target is always clean.
    """

    def __init__(
        self,
        images: Tensor,
        stage: Stage,
        stage_number: int,
        training: Training,
        *,
        bank: SourceBank,
        ranges: DefectRanges,
        foregrounds: Tensor | None = None,
        share: Share = Share(),
    ) -> None:
        self.images = images
        self.stage = stage
        self.stage_number = stage_number
        self.training = training
        self.bank = bank
        self.ranges = ranges
        self.foregrounds = foregrounds
        self.share = share
        self.batch_size = min(training.batch_size, patches_per_epoch(images, training))
        if self.batch_size % share.count:
            raise UserError(
                f"batch_size ({self.batch_size}) must be a multiple of the number of processes "
                f"({share.count}), which share each batch"
            )
        # Whole batches: BatchNorm's statistics over the two patches left over would be noise.
        self.steps_per_epoch = patches_per_epoch(images, training) // self.batch_size
        self._epoch = -1
        self._places = Places(*4 * (torch.empty(0),))

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """What this process trains on at a step, counted from the stage's beginning."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = self._generator("places", epoch)
            self._places = draw_places(self.images, self.training, generator)
            self._epoch = epoch
        whole = slice(number * self.batch_size, (number + 1) * self.batch_size)
        mine = self.share.of(self.batch_size)
        places = self._places.rows(whole).rows(mine)

        targets = as_floats(cut_patches(self.images, places, self.training.patch_size))
        inputs, defective = targets, torch.zeros_like(targets[:, 0], dtype=torch.bool)
        if self.stage.defect_probability > 0:
            defects = draw_defects(
                self.batch_size,
                self.ranges,
                self._generator("defects", step),
                probability=self.stage.defect_probability,
            )
            foregrounds = None
            if self.foregrounds is not None:
                foregrounds = cut_patches(
                    self.foregrounds[:, None], places, self.training.patch_size
                )[:, 0]
            inputs, defective = add_defects(
                targets,
                self.bank,
                defects.rows(mine),
                image_side=self.images.shape[-1],
                target_indices=places.image,
                foregrounds=foregrounds,
            )
        if self.stage.noise > 0:
            # Every process draws the noise of the whole batch and takes its own share.
            shape = (self.batch_size, *targets.shape[1:])
            generator = self._generator("noise", step, self.images.device)
            noise = torch.randn(shape, generator=generator, device=self.images.device)
            inputs = inputs + self.stage.noise * noise[mine]
        layout = torch.channels_last
        inputs, targets = (t.contiguous(memory_format=layout) for t in (inputs, targets))
        return inputs, targets, defective[:, None]

    def _generator(
        self, purpose: str, number: int, device: torch.device | str = "cpu"
    ) -> torch.Generator:
        return seeded(self.training.seed, self.stage_number, purpose, number, device=device)


def patches_per_epoch(images: Tensor, training: Training) -> int:
    if training.patches == "grid":
        return len(images) * (images.shape[-1] // training.patch_size) ** 2
    return len(images) * crops_per_image(images, training)


def crops_per_image(images: Tensor, training: Training) -> int:
    """As many as the settings say, or more, so that an epoch of few images has its least."""
    return max(training.crops_per_image, math.ceil(training.least_patches / len(images)))


def draw_places(images: Tensor, training: Training, generator: torch.Generator) -> Places:
    """All patches of one epoch in a random order, at random places or on the paper's grid."""
    count = patches_per_epoch(images, training)
    order = torch.randperm(count, generator=generator)
    image = order // (count // len(images))
    if training.patches == "grid":
        side = images.shape[-1] // training.patch_size
        cell = order % side**2
        top = cell // side * training.patch_size
        left = cell % side * training.patch_size
    else:
        limits = [n - training.patch_size + 1 for n in images.shape[-2:]]
        top, left = (torch.randint(limit, (count,), generator=generator) for limit in limits)
    flip = torch.rand(count, 2, generator=generator) < 0.5
    flip[:, 0] &= training.flips == "both"
    flip[:, 1] &= training.flips != "none"
    return Places(image, top, left, flip)


def cut_patches(images: Tensor, places: Places, size: int) -> Tensor:
    """One patch for each place, on the images' device: B x C x size x size."""
    steps = torch.arange(size)
    backwards = size - 1 - steps
    rows = places.top[:, None] + torch.where(places.flip[:, :1], backwards, steps)
    columns = places.left[:, None] + torch.where(places.flip[:, 1:], backwards, steps)
    channels = torch.arange(images.shape[1])
    image, rows, columns, channels = (
        index.to(images.device) for index in (places.image, rows, columns, channels)
    )
    return images[
        image[:, None, None, None],
        channels[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def clean_patches(images: Tensor, training: Training) -> list[Tensor]:
    """One random clean patch of each image, in batches: what BatchNorm is measured on."""
    one_each = dataclasses.replace(
        training, patches="random", crops_per_image=1, least_patches=0, flips="none"
    )
    places = draw_places(images, one_each, seeded(training.seed, 0, "clean", 0))
    ends = [*range(training.batch_size, len(images), training.batch_size), len(images)]
    if len(ends) > 1 and ends[-1] - ends[-2] == 1 and training.patch_size == SMALLEST_PATCH:
        # One patch whose narrowest features are one pixel has no variance: it joins the others.
        del ends[-2]
    return [
        as_floats(
            cut_patches(images, places.rows(slice(first, end)), training.patch_size)
        ).contiguous(memory_format=torch.channels_last)
        for first, end in zip([0, *ends], ends, strict=False)
    ]
