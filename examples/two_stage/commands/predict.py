"""The command `predict`: scores, heat maps and overlays of a picture or of a folder of pictures."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import tyro
from torch import Tensor

from ..pictures.files import pictures_in, prepare, read_picture
from ..pictures.foreground import estimate_foreground, share_beyond
from ..run.device import find_device
from ..run.errors import UserError
from ..run.folder import refuse_links
from ..run.lock import held
from ..run.progress import progress
from ..scoring.doubts import MOST_BEYOND
from ..scoring.thresholds import origin_of_image_threshold, origin_of_pixel_threshold
from ..scoring.trained_run import TrainedRun, load_trained_run, weights_of
from .command_line import parse
from .predicted_pictures import Thresholds, draw, png_names
from .scores_table import (
    COLUMNS,
    DEFECTIVE,
    GOOD,
    TABLE,
    UNREADABLE,
    Row,
    Table,
    as_written,
    begin_or_continue,
)

# Pictures are written by another thread; so many may wait for it.
WAITING = 2


@dataclasses.dataclass(frozen=True)
class Predict:
    """Score a picture, or every picture of a folder and its subfolders, with a trained run.

    Pictures of any size and format; scores.csv, heat_maps/ and overlays/ are written. The verdict
    on a picture is good, defective or unreadable; what cannot be called good has "yes" under
    defective. Stopped, the same command with the same --out goes on.

    Exit code: 0 where every picture was scored, whatever its verdict; 1 where some could not be
    read, or nothing could be done; 2 for a faulty command line.
    """

    pictures: tyro.conf.Positional[Path]
    """A picture, or a folder of pictures."""
    run: Path
    """Folder of the run, as train printed it, or of an evaluation."""
    out: Path | None = None
    """A new or empty folder for the results. None: the name of the pictures and _scores, in the
    current folder, numbered where that is taken."""
    threshold: float | None = None
    """Pictures that score above it are called defective. None: the run's own."""
    pixel_threshold: float | None = None
    """Pixels of the map above it are called defective. None: the run's own."""
    heat_maps: bool = True
    """Write each map in colour, from 0 to twice the run's own pixel threshold."""
    overlays: bool = True
    """Write each picture with a line around what is above the pixel threshold."""
    only_defective: bool = False
    """Heat maps and overlays of defective pictures alone, which is faster."""
    device: str | None = None
    """Where to compute, such as cpu or cuda:1. None: cuda if there is one."""


def main(arguments: Sequence[str]) -> None:
    """Read the command line, score, and say what was found."""
    command = parse(Predict, "predict", arguments)
    check_thresholds(command)
    device = find_device(command.device)
    run = load_trained_run(command.run, device)
    paths = pictures_below(command.pictures)
    scorer = run.scorer
    thresholds = Thresholds(
        image=scorer.image_threshold if command.threshold is None else command.threshold,
        pixel=(
            scorer.pixel_threshold if command.pixel_threshold is None else command.pixel_threshold
        ),
    )
    out = out_folder(command)
    with held(out):
        rows = begin_or_continue(out, request_of(command, thresholds))
        if rows:
            print(f"{len(rows)} pictures are in {out} already")
        started, first, done = time.perf_counter(), len(rows), {row["file"] for row in rows}
        table = Table(out)
        try:
            for row in score_pictures(run, paths, thresholds, command, out, done):
                table.add(row)
                rows.append(row)
        finally:
            table.close()
        table.finish()
    seconds = (time.perf_counter() - started) / max(1, len(rows) - first)

    verdicts = [row["verdict"] for row in rows]
    defective, failed = verdicts.count(DEFECTIVE), verdicts.count(UNREADABLE)
    share = run.settings.scoring.threshold_quantile
    print(
        f"{len(rows) - failed} pictures of {command.pictures} scored in {seconds:.2f} s each "
        f"on {device}; results in {out}"
    )
    origin = origin_of_image_threshold(share, scorer.held_out)
    origin = origin if command.threshold is None else "--threshold"
    print(f"{defective} defective, with a score above {thresholds.image:.4g} ({origin})")
    origin = origin_of_pixel_threshold(share, scorer.held_out)
    origin = origin if command.pixel_threshold is None else "--pixel-threshold"
    print(f"pixels count as defective above {thresholds.pixel:.4g} ({origin})")
    elsewhere = [row["file"] for row in rows if float(row["share_not_scored"] or 0) > MOST_BEYOND]
    if elsewhere:
        print(
            f"careful: on {len(elsewhere)} pictures, such as {elsewhere[0]}, more than "
            f"{100 * MOST_BEYOND:g} % of the product lies where none lay in training and is not "
            "scored, the column share_not_scored says how much: a defect there is missed. Place "
            "products as in training, or evaluate the run with --scored-area picture and predict "
            "with that evaluation"
        )
    if command.heat_maps:
        print(f"heat maps run from 0 (black) to {scorer.brightest:.4g}, the brightest colour")
    if failed:
        raise SystemExit(
            f"{failed} of {len(rows)} pictures could not be read, such as "
            f"{rows[verdicts.index(UNREADABLE)]['file']}; the column error of {out / TABLE} "
            "says why"
        )


def check_thresholds(command: Predict) -> None:
    """No score is above NaN or infinity: every picture would be called good."""
    for name, value in (
        ("--threshold", command.threshold),
        ("--pixel-threshold", command.pixel_threshold),
    ):
        if value is not None and not math.isfinite(value):
            raise UserError(
                f"{name} must be a finite number, got {value}; leave it out for the run's"
            )
    if command.pixel_threshold is not None and command.pixel_threshold < 0:
        raise UserError(
            f"--pixel-threshold must be at least 0, got {command.pixel_threshold}: below 0 lies "
            "what is more normal than usual; leave it out for the run's"
        )


def pictures_below(place: Path) -> list[Path]:
    """The picture itself, or those in a folder and its subfolders, without hidden ones.

    Raises:
        UserError: there is no such file or folder, or no picture in it.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UserError(f"expected a picture or a folder of pictures, there is no {place}")
    folders = [place, *sorted(path for path in place.rglob("*") if path.is_dir())]
    paths = [
        path
        for one in folders
        if not any(part.startswith(".") for part in one.relative_to(place).parts)
        for path in pictures_in(one)
    ]
    if not paths:
        raise UserError(f"no pictures in {place} or its subfolders")
    return paths


def out_folder(command: Predict) -> Path:
    """Where the results go.

    A folder named by --out may hold what an interrupted command left, which is then made again.

    Raises:
        UserError: the pictures' folder would then hold results too.
    """
    pictures = command.pictures.resolve()
    name = pictures.stem if pictures.is_file() else pictures.name
    number, out = 1, command.out or Path(f"{name}_scores")
    if out.resolve().is_relative_to(pictures):
        raise UserError(
            f"{out} lies in the folder of the pictures, where its heat maps would be scored next "
            "time; name another with --out"
        )
    if command.out is not None:
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} holds something already; name a new folder with --out")
        refuse_links(out)
        return out
    while True:
        try:
            # Of two commands that begin together only one makes it.
            out.mkdir()
        except FileExistsError:
            number += 1
            out = Path(f"{name}_scores_{number}")
        else:
            return out


def request_of(command: Predict, thresholds: Thresholds) -> dict[str, Any]:
    """What has to be the same for rows of a stopped command to be kept."""
    files = [command.run / "settings.yaml", *weights_of(command.run)]
    run = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files))
    return {
        "run": run.hexdigest(),
        "threshold": thresholds.image,
        "pixel threshold": thresholds.pixel,
        "folder of pictures": str(command.pictures.resolve()),
        # Of an earlier version: its rows would not fit below.
        "set of columns": list(COLUMNS),
        "choice of heat maps and overlays": [
            command.heat_maps, command.overlays, command.only_defective,
        ],
    }  # fmt: skip


def score_pictures(
    run: TrainedRun,
    paths: Sequence[Path],
    thresholds: Thresholds,
    command: Predict,
    out: Path,
    done: set[str],
) -> Iterator[Row]:
    """A row of the table for each picture, after its heat map and overlay are written."""
    base = command.pictures if command.pictures.is_dir() else command.pictures.parent
    names = png_names([path.relative_to(base) for path in paths])
    waiting: deque[tuple[Row, Future[None]]] = deque()
    with ThreadPoolExecutor(1) as writer:
        for path, name in zip(progress(paths, "scoring"), names, strict=True):
            file = as_written(path.relative_to(base).as_posix())
            if file in done:
                continue
            row, draw = _score(run, path, name, thresholds, command, out)
            waiting.append((_complete(row, file, thresholds), writer.submit(draw)))
            while len(waiting) > WAITING:
                yield _written(*waiting.popleft())
        while waiting:
            yield _written(*waiting.popleft())


def _score(
    run: TrainedRun, path: Path, name: Path, thresholds: Thresholds, command: Predict, out: Path
) -> tuple[Row, Any]:
    """A picture's part of its row, and what draws it."""
    data = run.settings.data
    try:
        picture = read_picture(path, data.white)
        image = prepare(picture, data.image_size, data.channels)
    except UserError as error:
        return {"error": f"error: {error}", "verdict": UNREADABLE, "defective": "yes"}, _nothing
    score_map = run.score(image)[1].cpu()
    row = row_of(score_map, picture.height, picture.width, thresholds)
    if (area := run.scorer.normality.area) is not None:
        row["share_not_scored"] = share_beyond(estimate_foreground(image), area.cpu())
    if command.only_defective and row["verdict"] == GOOD:
        return row, _nothing
    return row, partial(
        draw, picture, score_map, run.scorer.brightest, thresholds,
        called_defective=row["verdict"] == DEFECTIVE,
        heat_map=out / "heat_maps" / name if command.heat_maps else None,
        overlaid=out / "overlays" / name if command.overlays else None,
    )  # fmt: skip


def _complete(row: Row, file: str, thresholds: Thresholds) -> Row:
    """With every column; absent ones are empty."""
    return dict.fromkeys(COLUMNS, "") | {"file": file, "threshold": thresholds.image} | row


def _written(row: Row, pictures: Future[None]) -> Row:
    """The row, once its pictures are there."""
    pictures.result()
    return row


def _nothing() -> None:
    pass


def row_of(score_map: Tensor, height: int, width: int, thresholds: Thresholds) -> Row:
    """What the table says of a map; the worst place in pixels of the picture itself."""
    score = float(score_map.max())
    row, column = divmod(int(score_map.argmax()), score_map.shape[1])
    # Not "greater": a NaN must not pass.
    is_good = score <= thresholds.image
    return {
        "score": score,
        "defective": "no" if is_good else "yes",
        "share_above_pixel_threshold": float((score_map > thresholds.pixel).float().mean()),
        "worst_row": int((row + 0.5) * height / score_map.shape[0]),
        "worst_column": int((column + 0.5) * width / score_map.shape[1]),
        "width": width,
        "height": height,
        "verdict": GOOD if is_good else DEFECTIVE,
    }
