"""The heat map and the overlay of one picture that `predict` scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..report.figures import COLOUR_MAP
from ..report.overlay import overlay
from ..run.folder import naming


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Of a picture's score, and of the pixels of its map."""

    image: float
    pixel: float


def draw(
    picture: Image.Image,
    score_map: Tensor,
    brightest: float,
    thresholds: Thresholds,
    *,
    called_defective: bool,
    heat_map: Path | None,
    overlaid: Path | None,
) -> None:
    """Write a picture's heat map and its overlay, at its own size."""
    if heat_map is None and overlaid is None:
        return
    full = resize_map(score_map, picture.height, picture.width)
    # Little compression: a third of the time, for files a sixth to a third larger.
    if heat_map is not None:
        with naming(heat_map):
            matplotlib.image.imsave(
                new_file(heat_map), full, cmap=COLOUR_MAP, vmin=0, vmax=brightest,
                pil_kwargs={"compress_level": 1},
            )  # fmt: skip
    if overlaid is not None:
        no_mask = torch.zeros(full.shape, dtype=torch.bool)
        drawn = SimpleNamespace(image=picture_tensor(picture), maps={"chosen": full}, mask=no_mask)
        pixels = overlay(
            drawn,
            thresholds.pixel,
            image_threshold=thresholds.image,
            called_defective=called_defective,
        )
        with naming(overlaid):
            Image.fromarray(pixels).save(new_file(overlaid), compress_level=1)


def png_names(paths: Sequence[Path]) -> list[Path]:
    """A PNG file's name for each picture: its own, or with its suffix where two would share one."""
    short = [path.with_suffix(".png") for path in paths]
    if len(set(short)) == len(short):
        return short
    return [path.with_name(path.name + ".png") for path in paths]


def picture_tensor(picture: Image.Image) -> Tensor:
    """A picture as `read_picture` gives it, C x H x W in [0, 1] at its own size."""
    scale = 1 if picture.mode == "F" else 255
    pixels = np.array(picture, dtype=np.float32).reshape(picture.height, picture.width, -1) / scale
    return torch.from_numpy(pixels).permute(2, 0, 1)


def resize_map(score_map: Tensor, height: int, width: int) -> np.ndarray:
    """A map at another size, float32 H x W."""
    resized = F.interpolate(score_map[None, None], (height, width), mode="bilinear")
    return resized[0, 0].cpu().numpy()


def new_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
