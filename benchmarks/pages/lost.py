"""The list of comparisons that we lose.

One rule for all: another library's figure beside ours of the same case and run; ours loses where it
is larger by more than a tenth. For accuracy that is the error of `SSIMLoss`, since no other library
has AW-SSIM.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from benchmarks.pages.contestants import (
    ABLATION_METRICS,
    SSIM,
    Json,
    ablation_spreads,
    is_ours,
    label,
    plain,
    shape_name,
)
from benchmarks.pages.markdown import table

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


def comparisons(results: Json) -> Iterator[tuple[str, str, dict[str, float]]]:
    """What is compared, in which case, and each contestant's figure."""
    for case in results["speed"]["cases"]:
        for name, times in case["milliseconds"].items():
            yield "time", f"{shape_name(case['shape'])}, {name}", _medians(times)
    for case in results["speed_cuda"]["cases"]:
        where = f"{shape_name(case['shape'])} in {plain(case['dtype'])}"
        for name, times in case["milliseconds"].items():
            yield "time on a GPU", f"{where}, {name}", _medians(times)
        yield "peak memory on a GPU", where, case["peak_bytes_per_element"]
    for key, where in (("overhead", ""), ("overhead_cuda", " on a GPU")):
        for name, times in results[key]["microseconds"].items():
            yield f"time of a tiny image{where}", name, _medians(times)
    for name, case in results["features"]["cases"].items():
        yield "time, features", name, _medians(case["milliseconds"])
        yield (
            "peak memory, features",
            name,
            {contestant: row["peak"] for contestant, row in case["bytes_per_element"].items()},
        )
    for sweep, points in results["scaling"]["sweeps"].items():
        for value, case in points.items():
            yield "time, scaling", f"{sweep} {value}", _medians(case["milliseconds"])
    for case in results["memory"]["cases"]:
        for key, what in (("peak", "peak memory"), ("kept", "memory kept")):
            figures = {c: row[key] for c, row in case["bytes_per_element"].items()}
            yield what, shape_name(case["shape"]), figures
    for number, by_dtype in enumerate(results["accuracy"]["losses"].values(), start=1):
        # In float64 the table compares definitions, not rounding.
        for dtype in filter(lambda dtype: plain(dtype) != "float64", by_dtype):
            for key, what in (("value", "the loss"), ("gradient", "the gradient")):
                figures = {
                    c: row[key]
                    for c, row in by_dtype[dtype].items()
                    if row.get(key) is not None and (c.startswith(SSIM) or not is_ours(c))
                }
                yield f"error of {what}", f"case {number} in {plain(dtype)}", figures


def _medians(times: Json) -> dict[str, float]:
    return {contestant: row["median"] for contestant, row in times.items()}


def pairs(what: str, case: str, figures: Mapping[str, float]) -> list[Pair]:
    """Each of ours beside each of the others'."""
    ours, theirs = ([c for c in figures if is_ours(c) == mine] for mine in (True, False))
    return [Pair(what, case, a, b, figures[a], figures[b]) for a in ours for b in theirs]


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
    found = [pair for comparison in comparisons(results) for pair in pairs(*comparison)]
    lost = sum(pair.lost() for pair in found)
    return (
        f"We lose {lost} of {len(found)} comparisons of one of our losses with another library's "
        "by more than a tenth (time, memory, error). A backend is named where `auto` takes "
        "another, and always for errors:\n\n"
        f"{lost_table(found)}\n"
        "Trained with AW-SSIM, the network of the ablation is not the best in\n\n"
        f"{lost_metrics(results['ablation'])}"
    )
