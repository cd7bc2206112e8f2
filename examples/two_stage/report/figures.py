"""Pictures of a run: artificial defects, and results as in Figures 6 and 7.

No picture has a colour scale of its own: a map is drawn from 0 to a value that the caller takes
from normal images, so that equal colours mean equal scores in all pictures of a run.

Rows are numbered. A name that is long, or that has letters no font is sure to have, is left out
beside its number; the report lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..run.folder import naming
from .curves import save_figure
from .overlay import DARK, FOUND, TRUE, overlay, pixels_of

# Perceptually uniform, and it grows in lightness, so it survives colour blindness and grey print.
COLOUR_MAP = "inferno"
LONGEST_NAME = 18
RESULT_FILES = ("heat_map", "overlay", "predicted_mask", "reconstruction")


def save_adga_sheet(targets: Tensor, defective: Tensor, masks: Tensor, path: Path) -> None:
    """Normal pictures (N x C x H x W) above their artificially defective twins and the masks."""
    columns = len(targets)
    figure = Figure(figsize=(1.7 * columns + 0.4, 5.3), layout="constrained")
    axes = figure.subplots(3, columns, squeeze=False)
    masks = masks.reshape(columns, 1, *masks.shape[-2:])
    for number in range(columns):
        for axis, pictures in zip(axes[:, number], (targets, defective, masks), strict=True):
            _show(axis, pixels_of(pictures[number]))
    for axis, label in zip(axes[:, 0], ("normal", "with defects", "their mask"), strict=True):
        axis.set_ylabel(label)
    save_figure(figure, path)


def save_panels(
    results: Sequence[Any],
    path: Path,
    scales: Mapping[str, float],
    threshold: float,
    image_threshold: float,
) -> None:
    """One row for each result, as in Figure 6, with its score and what it was called.

    Args:
        results: what to draw.
        path: the picture's file.
        scales: the value of the brightest colour for the maps "plain l1" and "chosen".
        threshold: of the pixels of the map "chosen".
        image_threshold: of its largest value, the score.
    """
    titles = (
        "input", "reconstruction", "plain residual", "chosen map", "overlay", "ground truth",
    )  # fmt: skip
    figure, axes, bars = _grid([result.sample.name for result in results], titles)
    for row, result in zip(axes, results, strict=True):
        _show(row[0], pixels_of(result.image))
        _show(row[1], pixels_of(result.reconstruction))
        plain = _show_map(row[2], result.maps["plain l1"], scales["plain l1"])
        chosen = _show_map(row[3], result.maps["chosen"], scales["chosen"])
        called_defective = result.score > image_threshold
        _show(row[4], _overlay(result, threshold, image_threshold))
        verdict = "defective" if called_defective else "good"
        above = [row[4].get_title()] if row[4].get_title() else []
        row[4].set_title("\n".join([*above, f"{result.score:.3g}: called {verdict}"]), fontsize=9)
        _show(row[5], pixels_of(result.mask[None]))
    _colour_bar(figure, plain, bars[2])
    _colour_bar(figure, chosen, bars[3])
    bars[3].axvline(threshold, color="white", linewidth=2)
    bars[3].set_xlabel(f"white line: threshold {threshold:.3g}", fontsize=8)
    dark = [withStroke(linewidth=3.5, foreground=np.array(DARK) / 255)]
    lines = [
        Line2D([], [], color=np.array(colour) / 255, linewidth=1.5, path_effects=dark, label=name)
        for colour, name in ((FOUND, "found"), (TRUE, "true defect"))
    ]
    bars[4].legend(
        handles=lines,
        title=f"defective above {image_threshold:.3g}",
        loc="upper center",
        frameon=False,
        fontsize=8,
        title_fontsize=8,
    )
    save_figure(figure, path)


def save_arm_panels(
    rows: Mapping[str, Sequence[Any]], path: Path, scales: Mapping[str, float]
) -> None:
    """One row for each picture, as in Figure 7: input, ground truth, then each arm's chosen map.

    Args:
        rows: the results of each arm, of the same pictures in the same order.
        path: the picture's file.
        scales: for each arm the value of the brightest colour, from its own normal images.
    """
    first = next(iter(rows.values()))
    names = [result.sample.name for result in first]
    for arm, results in rows.items():
        if [result.sample.name for result in results] != names:
            raise ValueError(f"arm {arm!r} must hold the pictures {names} in this order")
    figure, axes, bars = _grid(names, ("input", "ground truth", *rows))
    for row, result in zip(axes, first, strict=True):
        _show(row[0], pixels_of(result.image))
        _show(row[1], pixels_of(result.mask[None]))
    for column, (arm, results) in enumerate(rows.items(), start=2):
        for axis, result in zip(axes[:, column], results, strict=True):
            drawn = _show_map(axis, result.maps["chosen"], scales[arm])
        _colour_bar(figure, drawn, bars[column])
    save_figure(figure, path)


def remove_result_files(folder: Path) -> None:
    """Of an earlier evaluation, which may have drawn other pictures."""
    for kind in RESULT_FILES:
        for path in folder.glob(f"*_{kind}.png"):
            path.unlink()


def save_result_files(
    result: Any,
    folder: Path,
    scales: Mapping[str, float],
    threshold: float,
    image_threshold: float,
) -> None:
    """Heat map, overlay, predicted mask and reconstruction of one picture, pixel for pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    name, chosen = result.sample.name, result.maps["chosen"]
    heat_map = folder / f"{name}_heat_map.png"
    with naming(heat_map):
        matplotlib.image.imsave(heat_map, chosen, cmap=COLOUR_MAP, vmin=0, vmax=scales["chosen"])
    for kind, pixels in (
        ("overlay", _overlay(result, threshold, image_threshold)),
        ("predicted_mask", np.where(chosen > threshold, np.uint8(255), np.uint8(0))),
        ("reconstruction", pixels_of(result.reconstruction)),
    ):
        path = folder / f"{name}_{kind}.png"
        with naming(path):
            Image.fromarray(pixels).save(path)


def _overlay(result: Any, threshold: float, image_threshold: float) -> NDArray[np.uint8]:
    called = result.score > image_threshold
    return overlay(result, threshold, image_threshold=image_threshold, called_defective=called)


def _grid(
    names: Sequence[str], titles: Sequence[str]
) -> tuple[Figure, NDArray[np.object_], NDArray[np.object_]]:
    """Axes for pictures, and below each column a flat one for its colour bar."""
    rows, columns = len(names), len(titles)
    figure = Figure(figsize=(1.9 * columns + 0.3, 1.9 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows + 1, columns, squeeze=False, height_ratios=[1.0] * rows + [0.05])
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10, parse_math=False)
    for number, (axis, name) in enumerate(zip(axes[:-1, 0], names, strict=True), start=1):
        shown = name if name.isascii() and len(name) <= LONGEST_NAME else ""
        axis.set_ylabel(f"{number}  {shown}".strip(), fontsize=8, parse_math=False)
    for axis in axes[-1]:
        axis.set(xticks=[], yticks=[])
        axis.tick_params(labelsize=8)
        axis.spines[:].set_visible(False)
    return figure, axes[:-1], axes[-1]


def _show(axis: Axes, pixels: NDArray[np.uint8]) -> None:
    axis.imshow(pixels)
    axis.set(xticks=[], yticks=[])


def _show_map(axis: Axes, score_map: NDArray[np.float32], scale: float) -> AxesImage:
    axis.set(xticks=[], yticks=[])
    return axis.imshow(score_map, cmap=COLOUR_MAP, vmin=0, vmax=scale)


def _colour_bar(figure: Figure, drawn: AxesImage, axis: Axes) -> None:
    ticks = np.linspace(*drawn.get_clim(), 3)
    bar = figure.colorbar(drawn, cax=axis, orientation="horizontal", extend="max", ticks=ticks)
    bar.set_ticklabels([f"{tick:.2g}" for tick in ticks])
