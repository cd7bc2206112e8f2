"""Markdown tables of the results, from their JSON alone: for the page and for README.

Every figure comes from ``results/*.json``, and every list of contestants too, so that a new
backend or library has its line without a change here.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

OURS = "aw_ssim "
SSIM, AW_SSIM = "aw_ssim SSIMLoss", "aw_ssim AWSSIMLoss"
TEXTBOOK = "textbook moments"
# As benchmarks/ablation.py names its metrics; the sign says whether more is better.
ABLATION_METRICS = {
    "psnr": ("PSNR, dB", 1, "{:.1f}"),
    "ssim": ("SSIM", 1, "{:.3f}"),
    "lpips": ("LPIPS", -1, "{:.3f}"),
    "l1 auroc": ("AUROC of L1", 1, "{:.3f}"),
    "l1 ap": ("AP of L1", 1, "{:.3f}"),
    "gradient auroc": ("AUROC of gradients", 1, "{:.3f}"),
    "gradient ap": ("AP of gradients", 1, "{:.3f}"),
}

Json = Mapping[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def is_ours(contestant: str) -> bool:
    return contestant.startswith(OURS)


def label(contestant: str) -> str:
    """`SSIMLoss` for ours, the package's name for another library."""
    name, comma, backend = contestant.removeprefix(OURS).partition(", ")
    if not is_ours(contestant):
        return contestant
    return f"`{name}`{comma}{backend and f'backend `{backend}`'}"


def shape_name(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def digits(milliseconds: float) -> str:
    """Three significant digits, and no exponent."""
    if milliseconds >= 100:
        return f"{milliseconds:.0f}"
    return f"{milliseconds:.1f}" if milliseconds >= 10 else f"{milliseconds:.2f}"


def speed(results: Json, name: str) -> str:
    """All contestants of one pass: median (quartiles) in milliseconds, times the baseline's."""

    def cell(case: Json, contestant: str) -> str:
        row = case["milliseconds"][name].get(contestant)
        if row is None:
            return "fails"
        low, median, high = (digits(row[key]) for key in ("low", "median", "high"))
        return f"{median} ({low} to {high}), {row['speedup']:.1f}x"

    return by_case(results, "milliseconds, " + name, cell)


def memory(results: Json) -> str:
    def cell(case: Json, contestant: str) -> str:
        row = case["bytes_per_element"][contestant]
        return f"{row['peak']:.0f} / {row['kept']:.1f}"

    return by_case(results, "bytes per element: peak / kept", cell)


def by_case(results: Json, corner: str, cell: Any) -> str:
    """A line for each contestant, a column for each shape."""
    cases = results["cases"]
    names = [shape_name(case["shape"]) for case in cases]
    rows = ([label(c), *(cell(case, c) for case in cases)] for c in contestants(results))
    return table([corner, *names], rows)


def contestants(results: Json) -> list[str]:
    """Of speed or memory, those that fail included."""
    first = results["cases"][0]
    return list(
        first.get("bytes_per_element") or first["milliseconds"]["forward"] | first["failed"]
    )


def speed_in_short(results: Json) -> str:
    """README's: baseline, the fastest of the others, and all of ours."""
    baseline = results["baseline"]
    ours = [name for name in contestants(results) if is_ours(name)]
    rows = []
    for case in results["cases"]:
        for name, times in case["milliseconds"].items():
            others = {c: t["median"] for c, t in times.items() if not is_ours(c) and c != baseline}
            fastest = min(others, key=others.__getitem__)
            cells = [f"{digits(times[c]['median'])} ({times[c]['speedup']:.1f}x)" for c in ours]
            rows.append(
                [
                    f"{shape_name(case['shape'])}, {name}",
                    digits(times[baseline]["median"]),
                    f"{digits(others[fastest])}, {fastest}",
                    *cells,
                ]
            )
    head = ["milliseconds (times faster)", baseline, "fastest other", *map(label, ours)]
    return table(head, rows)


def memory_in_short(results: Json) -> str:
    """README's: peak / kept of the baseline, the smallest of the others, and ours."""
    baseline = results["baseline"]
    ours = [name for name in contestants(results) if is_ours(name)]
    rows = []
    for case in results["cases"]:
        values = case["bytes_per_element"]

        def both(contestant: str, values: Json = values) -> str:
            return f"{values[contestant]['peak']:.0f} / {values[contestant]['kept']:.1f}"

        others = [c for c in values if not is_ours(c) and c != baseline]
        smallest = min(others, key=lambda c: values[c]["peak"])
        rows.append(
            [
                shape_name(case["shape"]),
                both(baseline),
                f"{both(smallest)}, {smallest}",
                *map(both, ours),
            ]
        )
    head = ["bytes per element, peak / kept", baseline, "smallest other", *map(label, ours)]
    return table(head, rows)


def components(results: Json) -> str:
    by_name = results["components"]
    names = list(next(iter(by_name.values())))
    head = ["error of structure / of the gradient", "textbook moments"]
    head += [f"ours, `{name.removeprefix('aw_ssim, ')}`" for name in names if name != TEXTBOOK]
    rows = (
        [case, *(f"{rows[n]['structure']:.0e} / {rows[n]['gradient']:.0e}" for n in names)]
        for case, rows in by_name.items()
    )
    return table(head, rows)


def loss_errors(results: Json, dtype: str) -> str:
    """All contestants and cases in one dtype; cases by number."""
    cases = [by_dtype[dtype] for by_dtype in results["losses"].values()]

    def cell(row: Json) -> str:
        if "failed" in row:
            return "NaN" if row["failed"].startswith("NaN") else "raises"
        return f"{row['value']:.0e} / {_gradient(row)}"

    rows = ([label(c), *(cell(case[c]) for case in cases)] for c in cases[0])
    return table(["value / gradient", *(str(n + 1) for n in range(len(cases)))], rows)


def loss_errors_in_short(results: Json, dtypes: Sequence[str]) -> str:
    """README's: each contestant's largest errors over all cases, and in how many it fails."""
    by_case = list(results["losses"].values())

    def cell(contestant: str, dtype: str) -> str:
        rows = [by_dtype[dtype][contestant] for by_dtype in by_case]
        done = [row for row in rows if "failed" not in row]
        fails = f", fails in {len(rows) - len(done)}" if len(done) < len(rows) else ""
        if not done:
            return "fails in all"
        value = max(row["value"] for row in done)
        gradients = [row["gradient"] for row in done if row["gradient"] is not None]
        return f"{value:.0e} / {max(gradients):.0e}{fails}"

    rows = ([label(c), *(cell(c, d) for d in dtypes)] for c in by_case[0][dtypes[0]])
    return table(["largest error of the loss / of the gradient", *map(plain, dtypes)], rows)


def plain(dtype: str) -> str:
    return dtype.removeprefix("torch.")


def _gradient(row: Json) -> str:
    return "-" if row["gradient"] is None else f"{row['gradient']:.0e}"


def scaling(results: Json, sweep: str) -> str:
    points = results["sweeps"][sweep]
    names = list(next(iter(points.values()))["milliseconds"])
    rows = (
        [value, *(digits(case["milliseconds"][name]["median"]) for name in names)]
        for value, case in points.items()
    )
    return table([sweep, *map(label, names)], rows)


def training_step(results: Json) -> str:
    rows = []
    for case in results["cases"]:
        times = case["milliseconds"]
        cells = (f"{digits(t['median'])} ({t['ratio']:.2f}x)" for t in times.values())
        rows.append([str(case["width"]), *cells])
    names = list(results["cases"][0]["milliseconds"])
    return table(["width", *(f"{name}, milliseconds" for name in names)], rows)


def ablation(results: Json, texture: str | None = None) -> str:
    """Mean (least to greatest) over seeds, of all textures' mean or of one; the best in bold."""
    spreads = ablation_spreads(results, texture)
    rows = []
    for loss, by_metric in spreads.items():
        cells = []
        for metric, (_, sign, form) in ABLATION_METRICS.items():
            if not by_metric:
                cells.append("fails")
                continue
            values = by_metric[metric]
            means = [statistics.mean(s[metric]) for s in spreads.values() if s]
            mean = statistics.mean(values)
            text = form.format(mean)
            text = f"**{text}**" if sign * mean == max(sign * m for m in means) else text
            cells.append(f"{text} ({form.format(min(values))} to {form.format(max(values))})")
        rows.append([loss, *cells])
    return table(["trained with", *(name for name, _, _ in ABLATION_METRICS.values())], rows)


def ablation_spreads(results: Json, texture: str | None = None) -> dict[str, dict[str, Any]]:
    """For each loss and metric one number a seed; nothing for a loss that failed in any run."""
    runs = [run for run in results["runs"] if texture in (None, run["texture"])]
    spreads: dict[str, dict[str, Any]] = {}
    for loss in dict.fromkeys(run["loss"] for run in runs):
        own = [run for run in runs if run["loss"] == loss]
        failed = any("failed" in run for run in own)
        seeds = sorted({run["seed"] for run in own})
        spreads[loss] = {} if failed else {
            metric: [
                statistics.mean(r["metrics"][metric] for r in own if r["seed"] == seed)
                for seed in seeds
            ]
            for metric in ABLATION_METRICS
        }  # fmt: skip
    return spreads
