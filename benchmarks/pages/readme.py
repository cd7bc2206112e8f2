"""README's two tables, between markers: what the pages below docs/ say at length."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from two_stage.report.paper import OFFICIAL_TEST_IMAGES, TABLE_1

from benchmarks.measure.detection import Row
from benchmarks.pages.contestants import AW_SSIM, SSIM, Json, is_ours, shape_name
from benchmarks.pages.detection_page import (
    ARMS,
    ONE_STAGE,
    by_name,
    devices,
    of,
    spread_of,
    untrained_of,
    values_of,
)
from benchmarks.pages.markdown import digits, error, percent, table
from benchmarks.pages.reconstructions import is_the_preset


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """README with each table between its marker and the next heading."""
    for name, content in tables.items():
        before, marker, rest = text.partition(f"<!-- {name} -->\n")
        _, heading, after = rest.partition("\n## ")
        if not (marker and heading):
            raise ValueError(f"expected README to have <!-- {name} --> and a heading after it")
        text = f"{before}{marker}{content}{heading}{after}"
    return text


def at_a_glance(results: Mapping[str, Json]) -> str:
    """Both losses as they come, beside the baseline and the best of the other libraries."""
    speed, memory, accuracy = (results[name] for name in ("speed", "memory", "accuracy"))
    baseline, auto = speed["baseline"], accuracy["auto"]
    rows = []

    def add(what: str, of: Json, less: str, form: Callable[[Json], str], backend: str = "") -> None:
        others = [name for name in of if not is_ours(name) and name != baseline]
        best = min(others, key=lambda name: of[name][less])
        ours = (form(of[name + backend]) for name in (SSIM, AW_SSIM))
        rows.append([what, form(of[baseline]), f"{form(of[best])}, {best}", *ours])

    for case in speed["cases"]:
        add(
            f"forward + backward of {shape_name(case['shape'])}, ms",
            case["milliseconds"]["forward + backward"],
            "median",
            lambda row: f"{digits(row['median'])} ({row['speedup']:.1f}x)",
        )
    gpu = results["speed_cuda"]
    case = next(case for case in reversed(gpu["cases"]) if case["dtype"] == "torch.float32")
    add(
        f"on a GPU, {shape_name(case['shape'])}, ms",
        case["milliseconds"]["forward + backward"],
        "median",
        lambda row: f"{digits(row['median'])} ({row['speedup']:.1f}x)",
    )
    case = memory["cases"][1]
    add(
        f"memory for {shape_name(case['shape'])}, bytes per element",
        case["bytes_per_element"],
        "peak",
        lambda row: f"{row['peak']:.0f} / {row['kept']:.1f}",
    )
    pairs = [by_dtype["torch.float32"] for by_dtype in accuracy["losses"].values()]
    for what, chosen in (("a photo and noise", pairs[:1]), (f"worst of {len(pairs)} pairs", pairs)):
        errors = {n: {"largest": max(rows[n]["gradient"] for rows in chosen)} for n in pairs[0]}
        form = lambda row: error(row["largest"])  # noqa: E731
        add(f"error of the gradient, {what}", errors, "largest", form, f", {auto}")
    machine, settings = speed["machine"], speed["settings"]
    return (
        f"{table(['', baseline, 'best other', '`SSIMLoss`', '`AWSSIMLoss`'], rows)}\n"
        f"`python -m benchmarks all` on {machine['processor']}, {machine['threads']} threads, "
        f"torch {machine['torch']}, backend `{auto}`; `bash benchmarks/gpu.sh` on an "
        f"{gpu['machine']['gpu']}, torch {gpu['machine']['torch']}, backend `{gpu['auto']}` "
        "([shorter](docs/triton_kernel.md) since, not measured again): "
        f"float32, window {settings['window']}, sigma "
        f"{settings['sigma']}; medians of {settings['rounds']} and "
        f"{gpu['settings']['rounds']} interleaved rounds (and how many "
        f"times faster than {baseline}); memory at the peak / kept for backward; gradient against "
        "float64, over its maximum. [All of it, and where we lose](docs/benchmarks.md).\n"
    )


def detection(rows: Sequence[Row], demo: Row) -> str:
    """One line for each data set: two stages, and what they have to beat."""
    best = [row for row in rows if row["preset"] == "best" and is_the_preset(row)]
    sets = [of(rows, "pill", "paper"), *(of(rows, c) for c in ("pill", "grid", "magnetic_tile"))]
    sets += [of(best, category, "best") for category in ("pill", "grid")]
    lines = [_line({ARMS["two-stage"]: [demo]}), *(_line(by_name(found)) for found in sets)]
    head = ["percent", "pixel AUROC", "AUPRO", "pixel AP", "image AUROC"]
    head += ["one stage, best", "no training, best", "the paper"]
    images = sets[0][0]["images"]["test"], sum(OFFICIAL_TEST_IMAGES["pill"])
    measured = [row for found in sets for row in found]
    return (
        f"{table(head, lines)}\n"
        "No run chooses anything on test images; how residuals are ranked, and the settings of "
        "preset best, were settled after a look at pill's and grid's. Means of the seeds; the last "
        "three columns are pixel AUROC; "
        f"the paper's figure is its own, for all {images[1]} test images of pill, ours are "
        f"for {images[0]} of them. Demo: the first command above ({demo['device']}). The others: "
        f"`bash benchmarks/detection.sh` ({devices(measured)}), on pictures that you download "
        "yourself. [What the figures say](docs/reproduction.md).\n"
    )


def _line(arms: Mapping[str, Sequence[Row]]) -> list[str]:
    def mean(runs: Sequence[Row], score: str = "chosen", metric: str = "pixel_auroc") -> float:
        return statistics.mean(values_of(runs, score, "all", metric))

    ours = arms[ARMS["two-stage"]]
    row = ours[0]
    seeds = f"{len(ours)} seeds" if len(ours) > 1 else f"seed {row['seed']}"
    one_stage = [mean(arms[ARMS[arm]]) for arm in ONE_STAGE if ARMS[arm] in arms]
    return [
        f"{row['category']}, preset {row['preset']}, {seeds}",
        spread_of(ours, "chosen", "all", "pixel_auroc"),
        *(percent(mean(ours, metric=name)) for name in ("aupro", "pixel_ap", "image_auroc")),
        percent(max(one_stage)) if one_stage else "-",
        percent(max(mean(ours, score) for score in untrained_of(ours))),
        f"{TABLE_1[row['category']]:.2f}" if row["preset"] == "paper" else "-",
    ]
