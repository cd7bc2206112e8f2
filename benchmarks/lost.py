"""Every comparison that the results hold and that one of our losses comes second in.

The same rule for all: another library's figure beside ours of the same case and run; ours loses
where it is larger by more than a tenth. For accuracy that is the error of `SSIMLoss`, since no
other library has AW-SSIM.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.tables import (
    ABLATION_METRICS,
    SSIM,
    Json,
    ablation_spreads,
    is_ours,
    label,
    plain,
    shape_name,
    table,
)

MARGIN = 1.1


class Pair(NamedTuple):
    """One figure of ours and one of another library's: less is better."""

    what: str
    case: str
    ours: str
    theirs: str
    our_figure: float
    their_figure: float

    def lost(self) -> bool:
        return self.our_figure > MARGIN * self.their_figure


def pairs(what: str, case: str, figures: dict[str, float]) -> Iterator[Pair]:
    for ours in filter(is_ours, figures):
        for theirs in figures:
            if not is_ours(theirs):
                yield Pair(what, case, ours, theirs, figures[ours], figures[theirs])


def speed_pairs(results: Json) -> Iterator[Pair]:
    for case in results["cases"]:
        for name, times in case["milliseconds"].items():
            medians = {contestant: row["median"] for contestant, row in times.items()}
            yield from pairs("time", f"{shape_name(case['shape'])}, {name}", medians)


def scaling_pairs(results: Json) -> Iterator[Pair]:
    for sweep, points in results["sweeps"].items():
        for value, case in points.items():
            medians = {c: row["median"] for c, row in case["milliseconds"].items()}
            yield from pairs("time, scaling", f"{sweep} {value}", medians)


def memory_pairs(results: Json) -> Iterator[Pair]:
    for case in results["cases"]:
        for key, what in (("peak", "peak memory"), ("kept", "memory kept")):
            figures = {c: row[key] for c, row in case["bytes_per_element"].items()}
            yield from pairs(what, shape_name(case["shape"]), figures)


def accuracy_pairs(results: Json) -> Iterator[Pair]:
    for number, by_dtype in enumerate(results["losses"].values(), start=1):
        for dtype, rows in by_dtype.items():
            # In float64 it is definitions that are compared.
            if plain(dtype) == "float64":
                continue
            for key, what in (
                ("value", "error of the loss"),
                ("gradient", "error of the gradient"),
            ):
                figures = {
                    c: row[key]
                    for c, row in rows.items()
                    if row.get(key) is not None and (c.startswith(SSIM) or not is_ours(c))
                }
                yield from pairs(what, f"case {number} in {plain(dtype)}", figures)


def lost_table(found: list[Pair]) -> str:
    """One line for each of ours, other library and quantity."""
    groups: dict[tuple[str, str, str], list[Pair]] = {}
    for pair in found:
        groups.setdefault((pair.what, pair.ours, pair.theirs), []).append(pair)
    rows = []
    for (what, ours, theirs), group in groups.items():
        lost = [pair for pair in group if pair.lost()]
        if lost:
            worst = max(lost, key=lambda p: p.our_figure / max(p.their_figure, 1e-300))
            figures = f"{worst.our_figure:.3g} against {worst.their_figure:.3g}"
            count = f"{len(lost)} of {len(group)}"
            rows.append([f"{what}: {label(ours)}", theirs, count, f"{worst.case}: {figures}"])
    head = ["what, and which of ours", "better", "cases", "the worst of them"]
    return table(head, rows) if rows else "None.\n"


def lost_metrics(results: Json) -> str:
    """The ablation's metrics in which a network trained with AW-SSIM is not the best."""
    spreads = {loss: values for loss, values in ablation_spreads(results).items() if values}
    lines = []
    for metric, (name, sign, form) in ABLATION_METRICS.items():
        means = {loss: statistics.mean(values[metric]) for loss, values in spreads.items()}
        best = max(means, key=lambda loss: sign * means[loss])
        if "AW-SSIM" in means and best != "AW-SSIM":
            ours, theirs = form.format(means["AW-SSIM"]), form.format(means[best])
            lines.append(f"- {name}: {theirs} with {best}, {ours} with AW-SSIM")
    return "\n".join(lines) + "\n" if lines else "None.\n"


def where_we_lose(results: Json) -> str:
    """The section of the page; `results` are all files by name."""
    found = [
        *speed_pairs(results["speed"]),
        *scaling_pairs(results["scaling"]),
        *memory_pairs(results["memory"]),
        *accuracy_pairs(results["accuracy"]),
    ]
    lost = sum(pair.lost() for pair in found)
    return (
        f"Of {len(found)} comparisons of one of our losses with another library's, {lost} go to "
        "the other by more than a tenth (time, memory, error). A backend is named where it is not "
        "what `auto` takes, and for errors always:\n\n"
        f"{lost_table(found)}\n"
        "Trained with AW-SSIM, the network of the ablation is not the best in\n\n"
        f"{lost_metrics(results['ablation'])}"
    )
