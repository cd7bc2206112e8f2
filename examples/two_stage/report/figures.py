"""Pictures of a run: artificial defects, training, curves, and results as in Figures 6 and 7.

No picture has a colour scale of its own: a map is drawn from 0 to a value that the caller takes
from normal images, so that equal colours mean equal scores in all pictures of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, uniform_filter1d
from torch import Tensor

# Perceptually uniform, and it grows in lightness, so it survives colour blindness and grey print.
COLOUR_MAP = "inferno"
# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip
LINES = {
    "chosen": {"color": BLACK, "linewidth": 2.2},
    "plain l1": {"color": RED},
    "l1": {"color": ORANGE},
    "aw_ssim": {"color": BLUE},
    "gradient": {"color": GREEN},
    "input only: gradient": {"color": PURPLE, "linestyle": "--"},
    "input only: distance to mean": {"color": SKY, "linestyle": "--"},
}
PRO_LIMIT = 0.3
RESULT_FILES = ("heat_map", "overlay", "predicted_mask", "reconstruction")
FOUND, TRUE = (230, 159, 0), (86, 180, 233)


def save_adga_sheet(targets: Tensor, defective: Tensor, masks: Tensor, path: Path) -> None:
    """Normal pictures (N x C x H x W) above their artificially defective twins and the masks."""
    columns = len(targets)
    figure = Figure(figsize=(1.7 * columns + 0.4, 5.3), layout="constrained")
    axes = figure.subplots(3, columns, squeeze=False)
    masks = masks.reshape(columns, 1, *masks.shape[-2:])
    for number in range(columns):
        for axis, pictures in zip(axes[:, number], (targets, defective, masks), strict=True):
            _show(axis, _pixels(pictures[number]))
    for axis, label in zip(axes[:, 0], ("normal", "with defects", "their mask"), strict=True):
        axis.set_ylabel(label)
    figure.savefig(path, dpi=110)


def save_training_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Loss above sigma, against the optimiser steps of both stages; `rows` as in the log's CSV."""
    losses = np.array([float(row["loss"]) for row in rows])
    sigmas = np.array([float(row["sigma"]) for row in rows])
    stages = np.array([int(row["stage"]) for row in rows])
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    loss_axis, sigma_axis = figure.subplots(2, sharex=True, height_ratios=(2.2, 1))
    for stage, colour in zip(sorted(set(stages)), (BLUE, RED), strict=False):
        steps = np.flatnonzero(stages == stage)
        smooth = uniform_filter1d(losses[steps], max(1, len(steps) // 40), mode="nearest")
        loss_axis.plot(steps, losses[steps], color=colour, alpha=0.25, linewidth=0.7)
        loss_axis.plot(steps, smooth, color=colour, label=f"stage {stage}, smoothed")
        sigma_axis.plot(steps, sigmas[steps], color=colour, linewidth=1)
        if steps[0]:
            for axis in (loss_axis, sigma_axis):
                axis.axvline(steps[0], color="0.4", linestyle=":", linewidth=1)
    loss_axis.set(ylabel="loss", ylim=(0, None))
    loss_axis.legend(frameon=False)
    sigma_axis.set(xlabel="optimiser step", ylabel="sigma (pixels)", ylim=(0, None))
    _tidy(loss_axis, sigma_axis)
    figure.savefig(path, dpi=110)


def save_curves(curves: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """ROC of the pixels, and PRO with the area that AUPRO measures shaded."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    roc_axis, pro_axis = figure.subplots(1, 2)
    pro_axis.axvspan(0, PRO_LIMIT, color="0.93", zorder=0)
    for name, curve in curves.items():
        style = {"linewidth": 1.3, "label": name, **LINES.get(name, {"color": "0.5"})}
        style["zorder"] = 3 if name == "chosen" else 2
        roc_axis.plot(*curve["roc"], **style)
        pro_axis.plot(*curve["pro"], **style)
    roc_axis.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1, zorder=1)
    roc_axis.set(title="ROC of the pixels", ylabel="share of defective pixels found", xlim=(0, 1))
    pro_axis.set(
        title=f"PRO; AUPRO is the area up to {PRO_LIMIT:g} (grey)",
        ylabel="share found, mean over defective regions",
        xlim=(0, 1.25 * PRO_LIMIT),
    )
    for axis in (roc_axis, pro_axis):
        axis.set(xlabel="share of normal pixels flagged", ylim=(0, 1.02))
    _tidy(roc_axis, pro_axis)
    handles, labels = roc_axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)


def save_panels(
    results: Sequence[Any], path: Path, scales: Mapping[str, float], threshold: float
) -> None:
    """One row for each result, as in Figure 6.

    Args:
        results: what to draw.
        path: the picture's file.
        scales: the value of the brightest colour for the maps "plain l1" and "chosen".
        threshold: of the pixels of the map "chosen".
    """
    titles = (
        "input", "reconstruction", "plain residual", "chosen map", "overlay", "ground truth",
    )  # fmt: skip
    figure, axes, bars = _grid([result.sample.name for result in results], titles)
    for row, result in zip(axes, results, strict=True):
        _show(row[0], _pixels(result.image))
        _show(row[1], _pixels(result.reconstruction))
        plain = _show_map(row[2], result.maps["plain l1"], scales["plain l1"])
        chosen = _show_map(row[3], result.maps["chosen"], scales["chosen"])
        _show(row[4], overlay(result, threshold))
        _show(row[5], _pixels(result.mask[None]))
    _colour_bar(figure, plain, bars[2])
    _colour_bar(figure, chosen, bars[3])
    bars[3].axvline(threshold, color="white", linewidth=2)
    bars[3].set_xlabel(f"white line: threshold {threshold:.3g}", fontsize=8)
    bars[4].text(0.5, 1, "orange: above threshold\nblue: true defect", **_CENTRED)
    figure.savefig(path, dpi=110)


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
        _show(row[0], _pixels(result.image))
        _show(row[1], _pixels(result.mask[None]))
    for column, (arm, results) in enumerate(rows.items(), start=2):
        for axis, result in zip(axes[:, column], results, strict=True):
            drawn = _show_map(axis, result.maps["chosen"], scales[arm])
        _colour_bar(figure, drawn, bars[column])
    figure.savefig(path, dpi=110)


def remove_result_files(folder: Path) -> None:
    """Of an earlier evaluation, which may have drawn other pictures."""
    for kind in RESULT_FILES:
        for path in folder.glob(f"*_{kind}.png"):
            path.unlink()


def save_result_files(
    result: Any, folder: Path, scales: Mapping[str, float], threshold: float
) -> None:
    """Heat map, overlay, predicted mask and reconstruction of one picture, pixel for pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    name, chosen = result.sample.name, result.maps["chosen"]
    matplotlib.image.imsave(
        folder / f"{name}_heat_map.png", chosen, cmap=COLOUR_MAP, vmin=0, vmax=scales["chosen"]
    )
    for kind, pixels in (
        ("overlay", overlay(result, threshold)),
        ("predicted_mask", np.where(chosen > threshold, np.uint8(255), np.uint8(0))),
        ("reconstruction", _pixels(result.reconstruction)),
    ):
        Image.fromarray(pixels).save(folder / f"{name}_{kind}.png")


def save_score_histogram(
    normal_scores: Sequence[float], defective_scores: Sequence[float], threshold: float, path: Path
) -> None:
    """How many normal and defective pictures get which score, and where the threshold lies."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axis = figure.subplots()
    edges = np.histogram_bin_edges([*normal_scores, *defective_scores, threshold], bins=30)
    for scores, label, colour in (
        (normal_scores, "normal", BLUE),
        (defective_scores, "defective", ORANGE),
    ):
        axis.hist(scores, edges, color=colour, alpha=0.65, label=f"{label} ({len(scores)})")
    axis.axvline(threshold, color=BLACK, linestyle="--", label=f"threshold {threshold:.3g}")
    axis.set(xlabel="score of the picture", ylabel="pictures")
    axis.legend(frameon=False)
    _tidy(axis)
    figure.savefig(path, dpi=110)


def overlay(result: Any, threshold: float) -> NDArray[np.uint8]:
    """The picture with an orange line inside what is above the threshold, blue around the mask."""
    pixels = _pixels(result.image).copy()
    found, true = result.maps["chosen"] > threshold, result.mask.cpu().numpy()
    width = max(1, round(min(found.shape) / 170))
    # Inside one and outside the other, so that neither hides where they agree.
    pixels[binary_dilation(true, iterations=width) & ~true] = TRUE
    pixels[found & ~binary_erosion(found, iterations=width)] = FOUND
    return pixels


_CENTRED: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8}


def _grid(
    names: Sequence[str], titles: Sequence[str]
) -> tuple[Figure, NDArray[np.object_], NDArray[np.object_]]:
    """Axes for pictures, and below each column a flat one for its colour bar."""
    rows, columns = len(names), len(titles)
    figure = Figure(figsize=(1.9 * columns + 0.3, 1.9 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows + 1, columns, squeeze=False, height_ratios=[1.0] * rows + [0.05])
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10, parse_math=False)
    for axis, name in zip(axes[:-1, 0], names, strict=True):
        axis.set_ylabel(name, fontsize=8, parse_math=False)
    for axis in axes[-1]:
        axis.set(xticks=[], yticks=[])
        axis.tick_params(labelsize=8)
        axis.spines[:].set_visible(False)
    return figure, axes[:-1], axes[-1]


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    """H x W x 3 from a picture C x H x W: uint8, bool, or float in [0, 1]; grey or RGB."""
    image = image.detach().cpu()
    if image.dtype != torch.uint8:
        image = image.float().clamp(0, 1).mul(255).round().byte()
    pixels: NDArray[np.uint8] = image.permute(1, 2, 0).numpy()
    return pixels if pixels.shape[2] == 3 else _as_rgb(pixels[..., 0])


def _as_rgb(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=2)


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


def _tidy(*axes: Axes) -> None:
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
