"""What exported graphs are checked on: pictures, and what this code makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ..pictures.files import load_image
from ..scoring.exported_graph import Depth, white_of_depth
from ..scoring.trained_run import TrainedRun
from ..training.data import data_root_of, normal_pictures, split_held_out
from ..training.record import Record

CHECKED_PICTURES = 3

# What goes into a graph, and what has to come out.
Case = tuple[Tensor, Sequence[Tensor]]


def pictures_to_check(run: TrainedRun, folder: Path) -> tuple[Tensor, str]:
    """Pictures N x C x S x S to compare on, and what they are.

    Held-out normal pictures if the run's data is there, otherwise blurred noise; and the negative
    of the first, so that maps far above the threshold are compared too.
    """
    data, seed = run.settings.data, run.settings.training.seed
    size, channels = data.image_size, data.channels
    data_root = data_root_of(data, folder)
    if (data_root / data.category).is_dir():
        files = normal_pictures(data_root, data.category)
        _, numbers = split_held_out(len(files), data, seed)
        held_out = [files[number] for number in numbers.tolist()]
        if record := Record.of(folder):
            # What was held out when the run began, whatever lies there now.
            known = [data_root / data.category / name for name in record.held_out]
            held_out = [path for path in known if path.is_file()] or held_out
        chosen = held_out[:CHECKED_PICTURES]
        pictures = torch.stack([load_image(path, size, channels, data.white) for path in chosen])
        origin = "held-out normal pictures"
    else:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(CHECKED_PICTURES, channels, size, size, generator=generator)
        pictures = torch.from_numpy(gaussian_filter(noise.numpy(), (0, 0, 2, 2)))
        origin = "blurred noise"
    return torch.cat((pictures, 1 - pictures[:1])), f"{origin} and a negative"


def image_cases(run: TrainedRun, pictures: Tensor) -> list[Case]:
    """All pictures in one batch, and the first in a batch of one; by the code of `predict`."""
    reconstructions, maps = zip(*(run.score(picture) for picture in pictures), strict=True)
    stacked = torch.stack(maps)
    expected = [torch.stack(reconstructions), stacked, stacked.amax((1, 2))]
    return [
        (pictures[:count], [value[:count] for value in expected]) for count in (len(pictures), 1)
    ]


def picture_cases(run: TrainedRun, pictures: Tensor, depth: Depth, folder: Path) -> list[Case]:
    """The pictures at odd sizes, grey and in colour, as files that `predict` would read."""
    size, cases = pictures.shape[-1], []
    # Pillow has no 16-bit colour.
    colours = (3, 1) if depth == "uint8" else (1,)
    shapes = [(size + 29, size // 2 + 7), (size // 2 + 5, 2 * size + 3), (size, size)]
    for number, (height, width) in enumerate(shapes):
        for channels in colours:
            image = F.interpolate(pictures[-1 - number][None], (height, width), mode="bilinear")[0]
            image = image.mean(0, keepdim=True) if channels == 1 else image.expand(3, -1, -1)
            white = white_of_depth(depth, run.settings.data)
            levels = (image * white).round().permute(1, 2, 0).numpy().astype(depth)
            path = folder / "checked.png"
            Image.fromarray(levels[..., 0] if channels == 1 else levels).save(path)
            data = run.settings.data
            prepared = load_image(path, data.image_size, data.channels, data.white)
            reconstruction, score_map = run.score(prepared)
            path.unlink()
            cases.append((torch.from_numpy(levels), [reconstruction, score_map, score_map.max()]))
    return cases
