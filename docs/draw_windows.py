"""Draws images/windows.png: the window at several sigmas (the paper's Fig. 5), and a schedule.

Run in the repository with the `examples` extra: python docs/draw_windows.py
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aw_ssim import SigmaSchedule
from aw_ssim.gaussian_window import gaussian_window

WINDOW_SIZE = 11
SIGMAS = (0.5, 1.0, 1.5, 2.0, 2.5)
STEPS_PER_EPOCH, EPOCHS = 100, 3


def draw_window(axes: Axes, sigma: float) -> None:
    taps = gaussian_window(WINDOW_SIZE, sigma)
    axes.imshow(taps[:, None] * taps, cmap="viridis")
    axes.set_title(f"sigma {sigma:g}")
    axes.set_axis_off()


def draw_taps(axes: Axes) -> None:
    offsets = range(-(WINDOW_SIZE // 2), WINDOW_SIZE // 2 + 1)
    for sigma in SIGMAS:
        axes.plot(offsets, gaussian_window(WINDOW_SIZE, sigma), ".-", label=f"{sigma:g}")
    axes.set(xlabel="pixels from the centre", ylabel="weight along one axis")
    axes.legend(title="sigma")


def draw_schedule(axes: Axes) -> None:
    schedule = SigmaSchedule.per_epoch(SIGMAS[0], SIGMAS[-1], STEPS_PER_EPOCH)
    values = []
    for _ in range(EPOCHS):
        schedule.reset()
        for _ in range(STEPS_PER_EPOCH):
            values.append(float(schedule.sigma))
            schedule.step()
    axes.plot(values)
    axes.set(xlabel=f"optimiser step, {STEPS_PER_EPOCH} per epoch", ylabel="sigma in pixels")


def draw() -> Figure:
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    windows, curves = figure.subfigures(2, height_ratios=(2, 3))
    for axes, sigma in zip(windows.subplots(1, len(SIGMAS)), SIGMAS, strict=True):
        draw_window(axes, sigma)
    left, right = curves.subplots(1, 2)
    draw_taps(left)
    draw_schedule(right)
    return figure


if __name__ == "__main__":
    # Without matplotlib's version the same figure is the same file.
    path = Path(__file__).parent / "images" / "windows.png"
    draw().savefig(path, dpi=110, metadata={"Software": None})
