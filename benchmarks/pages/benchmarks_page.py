"""docs/benchmarks.md from the results. Sentences hold no figure of their own."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.pages import gpu
from benchmarks.pages.contestants import (
    ABLATION_METRICS,
    Json,
    ablation_spreads,
    contestants,
    label,
    plain,
    shape_name,
)
from benchmarks.pages.lost import where_we_lose
from benchmarks.pages.markdown import digits, error, spread, table

TEXTBOOK = "textbook moments"


def page(results: dict[str, Json]) -> str:
    """The whole page."""
    return "\n".join(
        [
            "# Benchmarks\n",
            "Written by `python -m benchmarks page` from `benchmarks/results/*.json`, wins and "
            "losses alike.\n",
            '## How they are run\n\n--8<-- "benchmarks/README.md:how"\n',
            f"{_machine(results['speed'])}\n",
            _speed(results["speed"]),
            _overhead(results["overhead"]),
            _scaling(results["scaling"]),
            _memory(results["memory"]),
            _features(results["features"]),
            _accuracy(results["accuracy"]),
            _training_step(results["training_step"]),
            _ablation(results["ablation"]),
            gpu.section(results),
            f"## Where we lose\n\n{where_we_lose(results)}",
        ]
    )


def _machine(results: Json) -> str:
    machine = results["machine"]
    packages = {"torch": machine["torch"], **results["packages"]}
    listed = ", ".join(f"{name} {version}" for name, version in packages.items())
    text = (
        f"The machine: {machine['processor']}, {machine['threads']} threads, "
        f"{machine['system']}, Python {machine['python']}. Packages: {listed}."
    )
    absent = ", ".join(f"{name} ({why})" for name, why in results["absent"].items())
    return text + (f" Not measured: {absent}." if absent else "")


def _picture(name: str, text: str) -> str:
    return f"![{text}](images/benchmark_{name}.svg)\n"


def _by_case(results: Json, corner: str, cell: Callable[[Json, str], str]) -> str:
    """A line for each contestant, a column for each shape."""
    cases = results["cases"]
    names = [shape_name(case["shape"]) for case in cases]
    rows = ([label(c), *(cell(case, c) for case in cases)] for c in contestants(results))
    return table([corner, *names], rows)


def _speed(results: Json) -> str:
    def cell(case: Json, contestant: str) -> str:
        row = case["milliseconds"][name].get(contestant)
        if row is None:
            return "fails"
        low, median, high = (digits(row[key]) for key in ("low", "median", "high"))
        return f"{median} ({low} to {high}), {row['speedup']:.1f}x"

    settings = results["settings"]
    parts = [
        "## Speed\n\n`python -m benchmarks speed`. "
        f"Window {settings['window']}, sigma {settings['sigma']}, mean, no padding, gradient to "
        f"the prediction, float32; median (quartiles) of {settings['rounds']} interleaved rounds, "
        f"and how many times faster than {results['baseline']}. A loss without a backend's name "
        f"uses what `auto` takes, here `{results['auto']}`.\n",
        _picture("speed", "Time of forward and backward pass of each loss, with quartiles"),
    ]
    for name in ("forward", "forward + backward"):
        parts.append(_by_case(results, f"milliseconds, {name}", cell))
    seconds = results.get("first_call_seconds")
    if seconds:
        parts.append(
            "The first call of the `numba` backend on a machine compiles its kernel: "
            f"{seconds['compiled']:.0f} s. The first call of every later process reads it from "
            f"disk: {seconds['read']:.1f} s, importing numba included.\n"
        )
    return "\n".join(parts)


def _overhead(results: Json) -> str:
    settings, passes = results["settings"], results["microseconds"]
    rows = (
        [label(c), *(digits(rows[c]["median"]) for rows in passes.values())]
        for c in next(iter(passes.values()))
    )
    return (
        "## A call on a tiny image\n\n`python -m benchmarks overhead`. What a call costs beyond "
        f"its pixels: {shape_name(settings['shape'])}, median of {settings['rounds']} interleaved "
        "rounds, one thread.\n\n" + table(["microseconds", *passes], rows)
    )


def _scaling(results: Json) -> str:
    settings = results["settings"]
    parts = [
        "## Scaling\n\n`python -m benchmarks scaling`. Forward + backward in milliseconds, "
        f"median of {settings['rounds']} interleaved rounds, sigma {settings['sigma']}; "
        "one thing varies at a time.\n",
        _picture("scaling", "Time against image size, channels, batch and window"),
    ]
    for sweep, points in results["sweeps"].items():
        ends = [
            f"{shape_name(case['shape'])} with window {case['window']}" for case in points.values()
        ]
        names = list(next(iter(points.values()))["milliseconds"])
        rows = (
            [value, *(digits(case["milliseconds"][name]["median"]) for name in names)]
            for value, case in points.items()
        )
        parts.append(f"From {ends[0]} to {ends[-1]}:\n\n{table([sweep, *map(label, names)], rows)}")
    return "\n".join(parts)


def _memory(results: Json) -> str:
    def cell(case: Json, contestant: str) -> str:
        row = case["bytes_per_element"][contestant]
        return f"{row['peak']:.0f} / {row['kept']:.1f}"

    return (
        "## Memory\n\n`python -m benchmarks memory`. Forward + backward in float32, in bytes per "
        "element of one image: the peak during the two, above what was held before, and what the "
        "graph keeps between them, not counting the images.\n\n"
        + _by_case(results, "bytes per element: peak / kept", cell)
    )


def _features(results: Json) -> str:
    """A line for each contestant, a column for each feature."""
    settings, machine, cases = results["settings"], results["machine"], results["cases"]
    names = dict.fromkeys(name for case in cases.values() for name in case["milliseconds"])

    def cell(case: Json, contestant: str) -> str:
        if contestant not in case["milliseconds"]:
            return "-"
        time, held = (case[key][contestant] for key in ("milliseconds", "bytes_per_element"))
        low, median, high = (digits(time[key]) for key in ("low", "median", "high"))
        return f"{median} ({low} to {high}); {held['peak']:.0f} / {held['kept']:.1f}"

    columns = (f"{name}, {shape_name(case['shape'])}" for name, case in cases.items())
    backends = "; ".join(f"{name}: `{case['auto']}`" for name, case in cases.items())
    return (
        "## Float64, maps, masks and volumes\n\n`python -m benchmarks features`. Forward + "
        f"backward in milliseconds, median (quartiles) of {settings['rounds']} interleaved rounds "
        f"on {machine['processor']}, threads: {machine['threads']}; then bytes per element of one "
        "image of that dtype, at the peak / kept. Window, padding and gradient as above; `-`: has "
        "none (MONAI takes float64 images and computes in float32). "
        f"What `auto` takes: {backends}.\n\n"
        + table(
            ["milliseconds; bytes per element", *columns],
            ([label(name), *(cell(case, name) for case in cases.values())] for name in names),
        )
    )


def _accuracy(results: Json) -> str:
    numbered = "\n".join(f"{n}. {case}" for n, case in enumerate(results["losses"], start=1))
    parts = [
        "## Accuracy\n\n`python -m benchmarks accuracy`. The terms apart, in float32: the largest "
        "error of structure, and of AW-SSIM's gradient over the true gradient's maximum. "
        '"Textbook" is `E[x²] - E[x]²` in the same formulas; no other library has the terms '
        "apart. Where an image is shifted by a constant, the true gradient is itself nearly 0.\n",
        _components(results["components"]),
        "Whole losses: error of the value, and of the gradient over the true gradient's maximum. "
        "The truth is a float64 oracle that shares no code with any of them, on the images as "
        "rounded to the dtype: standard SSIM, and AW-SSIM with equal weights for `AWSSIMLoss`. "
        "The images, by number:\n",
        f"{numbered}\n",
        _picture("accuracy", "Error of each loss's gradient in three dtypes"),
        "**float64** shows how far a library's own definition, or the precision it computes in, "
        "is from the common one; what it has beyond that in the other tables is rounding.\n",
        _loss_errors(results, "torch.float64"),
    ]
    for dtype in ("torch.float32", "torch.float16", "torch.bfloat16"):
        parts.append(f"**{plain(dtype)}**\n\n{_loss_errors(results, dtype)}")
    parts.append(
        "A gradient in half precision cannot be better than its own rounding. `-`: after rounding "
        "the two images are equal, and the true gradient is 0.\n"
    )
    return "\n".join(parts)


def _components(by_case: Json) -> str:
    names = list(next(iter(by_case.values())))
    head = ["error of structure / of the gradient", TEXTBOOK]
    head += [f"ours, `{name.removeprefix('aw_ssim, ')}`" for name in names if name != TEXTBOOK]
    rows = (
        [case, *(f"{error(rows[n]['structure'])} / {error(rows[n]['gradient'])}" for n in names)]
        for case, rows in by_case.items()
    )
    return table(head, rows)


def _loss_errors(results: Json, dtype: str) -> str:
    """All contestants and cases in one dtype; cases by number."""
    cases = [by_dtype[dtype] for by_dtype in results["losses"].values()]

    def cell(row: Json) -> str:
        if "failed" in row:
            return "NaN" if row["failed"].startswith("NaN") else "raises"
        gradient = "-" if row["gradient"] is None else error(row["gradient"])
        return f"{error(row['value'])} / {gradient}"

    rows = ([label(c), *(cell(case[c]) for case in cases)] for c in cases[0])
    return table(["value / gradient", *(str(n + 1) for n in range(len(cases)))], rows)


def _training_step(results: Json) -> str:
    settings = results["settings"]
    rows = []
    for case in results["cases"]:
        times = case["milliseconds"]
        cells = (f"{digits(t['median'])} ({t['ratio']:.2f}x)" for t in times.values())
        rows.append([str(case["width"]), *cells])
    names = list(results["cases"][0]["milliseconds"])
    return (
        "## A training step\n\n`python -m benchmarks training_step`. One optimiser step of the "
        f"pipeline's stage 1, {settings['batch_size']} patches of {settings['channels']} channels "
        f"and {settings['patch_size']} pixels, beside the same step with an MSE loss.\n\n"
        + table(["width", *(f"{name}, milliseconds" for name in names)], rows)
    )


def _ablation(results: Json) -> str:
    settings = results["settings"]
    seeds = len(settings["seeds"])
    parts = [
        "## The loss of a training\n\n`python -m benchmarks ablation`. One autoencoder (the "
        f"pipeline's, width {settings['width']}), {settings['steps']} steps of "
        f"{settings['batch_size']} crops of {settings['crop']} pixels of {settings['normals']}, "
        f"from the same first weights with each loss; {seeds} seeds, textures "
        f"{', '.join(settings['textures'])}. PSNR, SSIM and LPIPS (AlexNet) of "
        f"{settings['test_normals']} held-out normal crops; AUROC and average precision of pixels "
        "with painted defects, of the plain residual abs(x - x') and of gradients, neither of "
        "which is a contestant's own map. Nothing was tuned for any loss.\n\n"
        f"All windows have sigma {settings['sigma']} and {settings['window']} taps, MS-SSIM's "
        f"(pytorch-msssim) {settings['ms_ssim_window']}, because its five scales do not fit the "
        "crops otherwise. AW-SSIM has equal weights and no growing sigma. A margin of "
        f"{settings['margin']} pixels is not counted: MS-SSIM's package has only `valid` "
        "padding.\n",
        _picture("ablation", "Reconstruction and detection by training loss, a mark for each seed"),
        "Mean of textures and seeds (least to greatest mean of a seed), the best in bold:\n",
        _ablation_table(results),
    ]
    for texture in settings["textures"]:
        parts.append(f"{texture}:\n\n{_ablation_table(results, texture)}")
    return "\n".join(parts)


def _ablation_table(results: Json, texture: str | None = None) -> str:
    """Mean (least to greatest) over seeds, of all textures' mean or of one."""
    spreads = ablation_spreads(results, texture)
    rows = []
    for loss, by_metric in spreads.items():
        cells = []
        for metric, (_, sign, form) in ABLATION_METRICS.items():
            if not by_metric:
                cells.append("fails")
                continue
            means = {s: sign * statistics.mean(v[metric]) for s, v in spreads.items() if v}
            mean, space, rest = spread(by_metric[metric], form.format).partition(" ")
            best = means[loss] == max(means.values())
            cells.append(f"{f'**{mean}**' if best else mean}{space}{rest}")
        rows.append([loss, *cells])
    return table(["trained with", *(name for name, _, _ in ABLATION_METRICS.values())], rows)
