"""The command `predict`: scores, heat maps and overlays of every picture in a folder."""

from __future__ import annotations

import csv
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import matplotlib.image
import numpy as np
import torch
import torch.nn.functional as F
import tyro
from PIL import Image
from torch import Tensor

from ..pictures.files import load_image, pictures_in, read_picture
from ..report.figures import COLOUR_MAP, overlay
from ..run.device import find_device
from ..run.errors import UserError
from ..run.folder import naming, refuse_links
from ..run.lock import LOCK, held
from ..run.progress import progress
from ..scoring.trained_run import TrainedRun, load_trained_run
from .command_line import parse

COLUMNS = (
    "file", "score", "threshold", "defective", "share_above_pixel_threshold", "worst_row",
    "worst_column", "width", "height", "error",
)  # fmt: skip
PARTIAL = "scores.csv.partial"


@dataclasses.dataclass(frozen=True)
class Predict:
    """Score every picture of a folder and its subfolders with a trained run.

    Pictures of any size and format; scores.csv, heat_maps/ and overlays/ are written. A picture
    that cannot be read gets a line that says why, and the command ends with exit code 1.
    """

    folder: tyro.conf.Positional[Path]
    """Folder of the pictures."""
    run: Path
    """Folder of the run, as train printed it."""
    out: Path | None = None
    """A new or empty folder for the results. None: the pictures' folder's name and _scores, in
    the current folder, numbered where that is taken."""
    threshold: float | None = None
    """Pictures that score above it are called defective. None: the run's own."""
    pixel_threshold: float | None = None
    """Pixels of the map above it are called defective. None: the run's own."""
    heat_maps: bool = True
    """Write each map in colour, from 0 to twice the run's own pixel threshold."""
    overlays: bool = True
    """Write each picture with a line around what is above the pixel threshold."""
    device: str | None = None
    """Where to compute, such as cpu or cuda:1. None: cuda if there is one."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Of a picture's score, and of the pixels of its map."""

    image: float
    pixel: float


def main(arguments: Sequence[str]) -> None:
    """Read the command line, score, and say what was found."""
    command = parse(Predict, "predict", arguments)
    device = find_device(command.device)
    run = load_trained_run(command.run, device)
    paths = pictures_below(command.folder)
    out = open_out_folder(command)
    scorer = run.scorer
    thresholds = Thresholds(
        image=scorer.image_threshold if command.threshold is None else command.threshold,
        pixel=(
            scorer.pixel_threshold if command.pixel_threshold is None else command.pixel_threshold
        ),
    )
    started = time.perf_counter()
    partial = out / PARTIAL
    text = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}
    with held(out):
        with naming(partial), partial.open("w", **text) as file:
            rows = list(write_rows(score_pictures(run, paths, thresholds, command, out), file))
        os.replace(partial, out / "scores.csv")
    seconds = (time.perf_counter() - started) / len(rows)

    failed = [row for row in rows if row["error"]]
    defective = sum(row["defective"] == "yes" for row in rows)
    quantile = f"{run.settings.scoring.threshold_quantile:g} quantile of held-out normal images"
    print(
        f"{len(rows) - len(failed)} pictures of {command.folder} scored in {seconds:.2f} s each "
        f"on {device}; results in {out}"
    )
    origin = f"the {quantile}" if command.threshold is None else "--threshold"
    print(f"{defective} defective, with a score above {thresholds.image:.4g} ({origin})")
    origin = f"the {quantile}" if command.pixel_threshold is None else "--pixel-threshold"
    print(f"pixels count as defective above {thresholds.pixel:.4g} ({origin})")
    if command.heat_maps:
        print(f"heat maps run from 0 (black) to {heat_map_scale(run):.4g}, the brightest colour")
    if failed:
        raise SystemExit(
            f"{len(failed)} of {len(rows)} pictures could not be read, such as "
            f"{failed[0]['file']}; the column error of {out / 'scores.csv'} says why"
        )


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in a folder and its subfolders, without hidden ones.

    Raises:
        UserError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise UserError(f"expected a folder of pictures, there is no folder {folder}")
    folders = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]
    paths = [
        path
        for one in folders
        if not any(part.startswith(".") for part in one.relative_to(folder).parts)
        for path in pictures_in(one)
    ]
    if not paths:
        raise UserError(f"no pictures in {folder} or its subfolders")
    return paths


def open_out_folder(command: Predict) -> Path:
    """Make the folder for the results; never one that holds something already.

    A folder named by --out may hold what an interrupted command left, which is then made again.

    Raises:
        UserError: the folder holds more, or the pictures' folder would then hold results too.
    """
    pictures = command.folder.resolve()
    number, out = 1, command.out or Path(f"{pictures.name}_scores")
    if out.resolve().is_relative_to(pictures):
        raise UserError(
            f"{out} lies in the folder of the pictures, where its heat maps would be scored next "
            "time; name another with --out"
        )
    if command.out is not None:
        if out.exists() and not (out.is_dir() and _is_free(out)):
            raise UserError(f"{out} holds something already; name a new folder with --out")
        refuse_links(out)
        out.mkdir(parents=True, exist_ok=True)
        return out
    while True:
        try:
            # Of two commands that begin together only one makes it.
            out.mkdir()
        except FileExistsError:
            number += 1
            out = Path(f"{pictures.name}_scores_{number}")
        else:
            return out


def _is_free(out: Path) -> bool:
    names = {path.name for path in out.iterdir()} - {LOCK}
    return not names or (PARTIAL in names and names <= {PARTIAL, "heat_maps", "overlays"})


def score_pictures(
    run: TrainedRun, paths: Sequence[Path], thresholds: Thresholds, command: Predict, out: Path
) -> Iterator[dict[str, Any]]:
    """A row of the table for each picture, after its heat map and overlay are written."""
    data = run.settings.data
    names = png_names([path.relative_to(command.folder) for path in paths])
    for path, name in zip(progress(paths, "scoring"), names, strict=True):
        row = {"file": path.relative_to(command.folder).as_posix(), "threshold": thresholds.image}
        try:
            image = load_image(path, data.image_size, data.channels, data.white)
            picture = picture_tensor(path, data.white)
        except UserError as error:
            yield row | {"error": f"error: {error}"}
            continue
        _, score_map = run.score(image)
        height, width = picture.shape[-2:]
        if command.heat_maps or command.overlays:
            full = resize_map(score_map, height, width)
        if command.heat_maps:
            target = new_file(out / "heat_maps" / name)
            scale = heat_map_scale(run)
            with naming(target):
                matplotlib.image.imsave(target, full, cmap=COLOUR_MAP, vmin=0, vmax=scale)
        if command.overlays:
            no_mask = torch.zeros(height, width, dtype=torch.bool)
            drawn = SimpleNamespace(image=picture, maps={"chosen": full}, mask=no_mask)
            pixels = overlay(drawn, thresholds.pixel)
            target = new_file(out / "overlays" / name)
            with naming(target):
                Image.fromarray(pixels).save(target)
        # Last, so that a row in the table means that its pictures are there.
        yield row | row_of(score_map, height, width, thresholds)


def row_of(score_map: Tensor, height: int, width: int, thresholds: Thresholds) -> dict[str, Any]:
    """What the table says of a map; the worst place in pixels of the picture itself."""
    score = float(score_map.max())
    row, column = divmod(int(score_map.argmax()), score_map.shape[1])
    return {
        "score": score,
        "defective": "yes" if score > thresholds.image else "no",
        "share_above_pixel_threshold": float((score_map > thresholds.pixel).float().mean()),
        "worst_row": int((row + 0.5) * height / score_map.shape[0]),
        "worst_column": int((column + 0.5) * width / score_map.shape[1]),
        "width": width,
        "height": height,
    }


def write_rows(rows: Iterator[dict[str, Any]], file: TextIO) -> Iterator[dict[str, Any]]:
    """Write each row as it comes, so that an interruption loses none; absent columns are empty."""
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    for row in rows:
        complete = dict.fromkeys(COLUMNS, "") | row
        writer.writerow(complete)
        file.flush()
        yield complete


def png_names(paths: Sequence[Path]) -> list[Path]:
    """A PNG file's name for each picture: its own, or with its suffix where two would share one."""
    short = [path.with_suffix(".png") for path in paths]
    if len(set(short)) == len(short):
        return short
    return [path.with_name(path.name + ".png") for path in paths]


def picture_tensor(path: Path, white: int | None = None) -> Tensor:
    """A picture as seen, C x H x W in [0, 1] at its own size."""
    picture = read_picture(path, white)
    scale = 1 if picture.mode == "F" else 255
    pixels = np.array(picture, dtype=np.float32).reshape(picture.height, picture.width, -1) / scale
    return torch.from_numpy(pixels).permute(2, 0, 1)


def resize_map(score_map: Tensor, height: int, width: int) -> np.ndarray:
    """A map at another size, float32 H x W."""
    resized = F.interpolate(score_map[None, None], (height, width), mode="bilinear")
    return resized[0, 0].cpu().numpy()


def heat_map_scale(run: TrainedRun) -> float:
    """The map's value of the brightest colour: the same for all pictures of a run."""
    return 2 * run.scorer.pixel_threshold


def new_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
