"""Curves of a run: its training, ROC and PRO, and the scores of its pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter1d

from ..run.folder import write_atomically

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
    # Without a single epoch there is no line.
    if len(losses):
        loss_axis.legend(frameon=False)
    sigma_axis.set(xlabel="optimiser step", ylabel="sigma (pixels)", ylim=(0, None))
    _tidy(loss_axis, sigma_axis)
    save_figure(figure, path)


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
    save_figure(figure, path)


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
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Whole or not at all."""
    file = io.BytesIO()
    figure.savefig(file, dpi=110)
    write_atomically(path, file.getvalue())


def _tidy(*axes: Axes) -> None:
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
