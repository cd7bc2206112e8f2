"""Pictures of the results: docs/images/benchmark_*.svg.

Each picture names in its metadata the digest of the file that it shows, so that a test can tell
whether it is of those results; the same results and matplotlib give the same bytes.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks import RESULTS, ROOT
from benchmarks.measure.harness import load
from benchmarks.pages.contestants import (
    ABLATION_METRICS,
    Json,
    ablation_spreads,
    contestants,
    is_ours,
    label,
    plain,
    shape_name,
)

IMAGES = ROOT / "docs" / "images"
STYLE = {
    "svg.hashsalt": "aw_ssim",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
}
OURS, THEIRS = "#c2410c", "#475569"
OTHERS = ("#475569", "#0d9488", "#7c3aed", "#a16207")
OURS_SHADES = ("#c2410c", "#f59e0b", "#9f1239", "#fb7185")


def speed(results: Json) -> Figure:
    """Forward + backward of each shape: median and quartiles."""
    names = contestants(results)[::-1]
    figure = Figure(figsize=(9, 0.34 * len(names) + 1.1), layout="constrained")
    axes = figure.subplots(1, len(results["cases"]), sharey=True, squeeze=False)[0]
    for axis, case in zip(axes, results["cases"], strict=True):
        times = case["milliseconds"]["forward + backward"]
        for y, name in enumerate(names):
            if name not in times:
                continue
            row = times[name]
            colour = _colour(name)
            axis.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=3, alpha=0.45)
            axis.plot(row["median"], y, "o", color=colour, markersize=6)
        axis.axvline(times[results["baseline"]]["median"], color=THEIRS, linewidth=0.8, ls=":")
        axis.set_xscale("log")
        axis.set_title(shape_name(case["shape"]), fontsize=9)
        axis.set_xlabel("milliseconds")
    _name_rows(axes[0], names)
    return figure


def scaling(results: Json) -> Figure:
    """Median and quartiles of each sweep."""
    sweeps = results["sweeps"]
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, (len(sweeps) + 1) // 2).flat
    for axis, (sweep, points) in zip(axes, sweeps.items(), strict=True):
        values = [int(value) for value in points]
        names = list(next(iter(points.values()))["milliseconds"])
        for name, colour in _line_colours(names).items():
            rows = [case["milliseconds"][name] for case in points.values()]
            axis.plot(
                values, [r["median"] for r in rows], "-o", color=colour, ms=4, label=_text(name)
            )
            low, high = ([row[key] for row in rows] for key in ("low", "high"))
            axis.fill_between(values, low, high, color=colour, alpha=0.15, linewidth=0)
        # A window's sides are close together: on a logarithmic axis their names would overlap.
        axis.set_xscale("linear" if sweep == "window" else "log")
        axis.set_xticks(values, [str(value) for value in values], minor=False)
        axis.set_xticks([], minor=True)
        axis.set_yscale("log")
        axis.set(xlabel=sweep, ylabel="milliseconds")
    handles, texts = axis.get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper center", ncols=3, frameon=False)
    return figure


def accuracy(results: Json) -> Figure:
    """Error of the gradient in each dtype: one mark a case, a cross for a failure."""
    cases = list(results["losses"].values())
    dtypes = [dtype for dtype in cases[0] if plain(dtype) != "float64"]
    names = list(cases[0][dtypes[0]])[::-1]
    figure = Figure(figsize=(9, 0.34 * len(names) + 1.4), layout="constrained")
    axes = figure.subplots(1, len(dtypes), sharey=True, sharex=True)
    for axis, dtype in zip(axes, dtypes, strict=True):
        for y, name in enumerate(names):
            rows = [by_dtype[dtype][name] for by_dtype in cases]
            errors = [row["gradient"] for row in rows if row.get("gradient")]
            axis.plot(errors, [y] * len(errors), "o", color=_colour(name), ms=5, alpha=0.6)
            failures = sum("failed" in row for row in rows)
            if failures:
                axis.text(1e5, y, f"{failures} fail", va="center", ha="center", color="#b91c1c")
        axis.axvline(1, color=THEIRS, linewidth=0.8, ls=":")
        axis.set_xscale("log")
        axis.set_xlim(1e-8, 1e6)
        axis.set_title(plain(dtype), fontsize=9)
        axis.set_xlabel("gradient error / maximum")
    _name_rows(axes[0], names)
    return figure


def ablation(results: Json) -> Figure:
    """Each seed a mark, mean of the textures; a line for the mean of all."""
    spreads = ablation_spreads(results)
    metrics = ("psnr", "ssim", "lpips", "l1 auroc", "gradient auroc")
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    axes = figure.subplots(1, len(metrics), sharey=True)
    names = list(spreads)[::-1]
    for axis, metric in zip(axes, metrics, strict=True):
        title, sign, _ = ABLATION_METRICS[metric]
        for y, name in enumerate(names):
            values = spreads[name].get(metric, [])
            colour = OURS if name == "AW-SSIM" else THEIRS
            axis.plot(values, [y] * len(values), "o", color=colour, ms=5, alpha=0.5)
            if values:
                axis.plot(statistics.mean(values), y, "|", color=colour, ms=16, mew=2)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("more is better" if sign > 0 else "less is better")
        axis.margins(x=0.15, y=0.12)
        axis.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(names)), names)
    return figure


PICTURES: dict[str, Callable[[Json], Figure]] = {
    "speed": speed,
    "scaling": scaling,
    "accuracy": accuracy,
    "ablation": ablation,
}


def picture(name: str) -> Path:
    return IMAGES / f"benchmark_{name}.svg"


def digest(name: str) -> str:
    return hashlib.sha256((RESULTS / f"{name}.json").read_bytes()).hexdigest()


def draw(name: str, path: Path) -> None:
    with matplotlib.rc_context(STYLE):
        figure = PICTURES[name](load(name))
        # Without a date; Source is where a test looks for the digest.
        figure.savefig(path, metadata={"Date": None, "Source": digest(name)})


def _colour(contestant: str) -> str:
    return OURS if is_ours(contestant) else THEIRS


def _line_colours(names: list[str]) -> dict[str, str]:
    ours, theirs = iter(OURS_SHADES), iter(OTHERS)
    return {name: next(ours if is_ours(name) else theirs) for name in names}


def _text(contestant: str) -> str:
    return label(contestant).replace("`", "")


def _name_rows(axis: Axes, names: list[str]) -> None:
    axis.set_yticks(range(len(names)), [_text(name) for name in names])
    marks = [Line2D([], [], marker="o", ls="", color=colour) for colour in (OURS, THEIRS)]
    axis.figure.legend(
        marks, ["aw_ssim", "other libraries"], loc="outside upper right", ncols=2, frameon=False
    )
