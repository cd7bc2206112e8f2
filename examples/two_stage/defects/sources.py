"""What artificial defects are cut from: images of the category, of others, noise, a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..pictures.stored import STORED, is_grey, stored_as, white_of
from ..run.groups import Source

NOISE_IMAGES = 32


@dataclasses.dataclass(frozen=True)
class SourceBank:
    """Images to cut defects from, in groups that are each as likely."""

    images: Tensor
    """N x C x S x S, contiguous; uint8 or float32, see `two_stage.pictures.stored`."""
    groups: tuple[range, ...]
    own: int | None = None
    """Number of the group that holds the training images themselves, in their order."""
    grey: bool = False
    """Whether the product has no colour, and so its defects none: a network would find coloured
    ones just by their colour."""

    def choose(self, uniform: Tensor, target_indices: Tensor | None) -> Tensor:
        """Image numbers B x K from numbers B x K x 2 in [0, 1).

        With `target_indices` (B: each patch's number among the training images) a patch never gets
        its own image, unless there is no other.
        """
        group = (uniform[..., 0] * len(self.groups)).long()
        first = group.new_tensor([members.start for members in self.groups])[group]
        count = group.new_tensor([len(members) for members in self.groups])[group]
        if self.own is None or target_indices is None or len(self.groups[self.own]) == 1:
            return first + (uniform[..., 1] * count).long()
        is_own = group == self.own
        number = (uniform[..., 1] * (count - is_own.long())).long()
        skip = is_own & (number >= target_indices.to(group.device)[:, None])
        return first + number + skip


def build_source_bank(
    kinds: Sequence[Source],
    images: Tensor,
    *,
    other_categories: Tensor | None,
    textures: Tensor | None,
    generator: torch.Generator,
) -> SourceBank:
    """Sources of several kinds in one tensor.

    Args:
        images: the training images, N x C x S x S; the bank is on their device and stored like
            them, whatever the others are.
        other_categories: normal images of other categories, for the source "categories".
        textures: the user's own pictures, for the source "folder".
        generator: of the CPU, for the source "noise".
    """
    parts: list[Tensor] = []
    for kind in kinds:
        if kind == "same":
            part: Tensor | None = images
        elif kind == "noise":
            part = noise_images(NOISE_IMAGES, images.shape[1], images.shape[-1], generator)
        else:
            part = other_categories if kind == "categories" else textures
        if part is None or len(part) == 0:
            raise ValueError(
                f"the defect source {kind!r} needs pictures, got none; put them "
                f"{'below data_root' if kind == 'categories' else 'into texture_folder'} or "
                f"leave it out of defect_sources {kinds}"
            )
        if part.dtype not in STORED or part.shape[1:] != images.shape[1:]:
            raise ValueError(
                f"expected stored images of shape {tuple(images.shape[1:])} for the defect source "
                f"{kind!r}, got {part.dtype} {tuple(part.shape[1:])}"
            )
        parts.append(stored_as(part, images.dtype).to(images.device))
    grey = is_grey(images.cpu().numpy(), white_of(images))
    if grey:
        parts = [_without_colour(part) for part in parts]
    ends = torch.tensor([len(part) for part in parts]).cumsum(0).tolist()
    return SourceBank(
        images=parts[0].contiguous() if len(parts) == 1 else torch.cat(parts),
        groups=tuple(range(end - len(p), end) for end, p in zip(ends, parts, strict=True)),
        own=kinds.index("same") if "same" in kinds else None,
        grey=grey,
    )


def _without_colour(images: Tensor) -> Tensor:
    """The mean of the channels in all of them; one image at a time, for the sake of memory."""
    greys = [image.float().mean(0).expand_as(image) for image in images]
    if images.dtype == torch.uint8:
        greys = [grey.round().to(torch.uint8) for grey in greys]
    return torch.stack(greys)


def noise_images(count: int, channels: int, side: int, generator: torch.Generator) -> Tensor:
    """Random fields of several octaves, each with its own grain, colour and contrast, uint8."""
    return torch.stack([_noise_image(channels, side, generator) for _ in range(count)])


def _noise_image(channels: int, side: int, generator: torch.Generator) -> Tensor:
    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    # How fast an octave's amplitude falls sets the grain: clouds at one end, sand at the other.
    fall = float(uniform(0.4, 1.1))
    field = torch.zeros(channels, side, side)
    amplitude, cells = 1.0, 3
    while cells < side:
        octave = torch.randn(1, channels + 1, cells, cells, generator=generator)
        octave = F.interpolate(octave, (side, side), mode="bicubic", align_corners=False)[0]
        # Channels share most of a field, as in most materials; the rest varies the hue.
        field += amplitude * (octave[-1] + 0.3 * octave[:-1])
        amplitude, cells = amplitude * fall, 2 * cells
    field = (field - field.mean()) / field.std()
    colour = uniform(0.2, 0.8, 1, 1, 1) + uniform(-0.2, 0.2, channels, 1, 1)
    picture = colour + uniform(0.05, 0.25, 1, 1, 1) * field
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)
