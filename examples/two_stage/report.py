"""Figures, tables and files that a run leaves behind."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from .defects import add_defects
from .evaluation import Normality, Result
from .training import Step

Scores = Mapping[str, Mapping[str, float | None]]


def save_adga_sheet(
    images: Tensor, foregrounds: Tensor | None, path: Path, *, seed: int, columns: int = 6
) -> None:
    """Normal images (N x C x H x W uint8) above their artificially defective twins and masks."""
    generator = torch.Generator().manual_seed(seed)
    columns = min(columns, len(images))
    figure = Figure(figsize=(1.8 * columns, 5.8), layout="constrained")
    axes = figure.subplots(3, columns, squeeze=False)
    for number in range(columns):
        target = images[number].float() / 255
        defective, mask = add_defects(
            target,
            images,
            generator,
            target_index=number,
            foreground=None if foregrounds is None else foregrounds[number],
        )
        _show(axes[0, number], target)
        _show(axes[1, number], defective)
        _show(axes[2, number], mask.float()[None])
    for axis, label in zip(axes[:, 0], ("normal", "with ADGA", "its mask"), strict=True):
        axis.set_ylabel(label)
    figure.savefig(path, dpi=110)


def save_training_log(log: Sequence[Step], folder: Path) -> None:
    """Every step as CSV, and loss and sigma against the steps as a picture."""
    with (folder / "training_log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Step)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(step) for step in log)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axis = figure.subplots()
    sigma_axis = axis.twinx()
    sigma_axis.plot([step.sigma for step in log], color="0.75", linewidth=0.8)
    sigma_axis.set_ylabel("sigma of the window (pixels, grey)")
    for stage, label in ((1, "stage 1: AW-SSIM"), (2, "stage 2: AW-SSIM + LPIPS")):
        places = [place for place, step in enumerate(log) if step.stage == stage]
        axis.plot(places, [log[place].loss for place in places], linewidth=1, label=label)
    axis.set_zorder(sigma_axis.get_zorder() + 1)
    axis.patch.set_visible(False)
    axis.set(xlabel="optimiser step", ylabel="loss")
    axis.legend()
    figure.savefig(folder / "training_curves.png", dpi=110)


def save_pictures(
    results: Mapping[str, Sequence[Result]], normality: Normality, folder: Path
) -> None:
    """One file for each kind of defect, and `overview.png` with the first image of each.

    A residual's scale comes from normal training images and is the same in all pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    l1_scale = normality.means["l1"].mean() + 8 * normality.stds["l1"].mean()
    scales = {"l1": float(l1_scale), "combined": 6.0}
    for defect, rows in results.items():
        _save_rows(rows, scales, folder / f"{defect}.png")
    _save_rows([rows[0] for rows in results.values()], scales, folder / "overview.png")


def _save_rows(results: Sequence[Result], scales: Mapping[str, float], path: Path) -> None:
    titles = (
        "input",
        "reconstruction",
        f"mean |x - x'|\nblack 0, white {scales['l1']:.2g}",
        f"combined, in std of normals\nblack 0, white {scales['combined']:.2g}",
        "mask",
    )
    figure = Figure(figsize=(10.5, 2.2 * len(results) + 0.4), layout="constrained")
    axes = figure.subplots(len(results), len(titles), squeeze=False)
    for row, result in zip(axes, results, strict=True):
        _show(row[0], result.image)
        _show(row[1], result.reconstruction)
        for axis, key in zip(row[2:4], ("l1", "combined"), strict=True):
            axis.imshow(result.maps[key], cmap="inferno", vmin=0, vmax=scales[key])
            _hide_ticks(axis)
        _show(row[4], result.mask.float()[None])
        row[0].set_ylabel(result.sample.name)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    figure.savefig(path, dpi=100)


def save_json(values: Mapping[str, Any], path: Path) -> None:
    """Strict JSON: a NaN, which JSON does not know, is an error here and not in the reader."""
    path.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")


def format_scores(scores: Scores) -> str:
    """A table in percent, one row for each kind of score."""
    columns = list(next(iter(scores.values())))
    width = max(len(name) for name in scores)
    lines = [" " * width + "".join(f"{column.replace('_', ' '):>14}" for column in columns)]
    for name, row in scores.items():
        cells = (row[column] for column in columns)
        text = "".join(f"{'-' if cell is None else f'{100 * cell:.1f}':>14}" for cell in cells)
        lines.append(f"{name:<{width}}{text}")
    return "\n".join(lines)


def _show(axis: Axes, image: Tensor) -> None:
    """A picture C x H x W in [0, 1], grey or RGB."""
    pixels = np.clip(image.permute(1, 2, 0).float().numpy(), 0, 1)
    axis.imshow(pixels if pixels.shape[2] == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=1)
    _hide_ticks(axis)


def _hide_ticks(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[])
