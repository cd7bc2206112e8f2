"""The section of docs/benchmarks.md on a GPU, from results/*_cuda.json."""

from __future__ import annotations

from benchmarks.pages.contestants import Json, contestants, label, plain, shape_name
from benchmarks.pages.markdown import digits, table


def section(results: dict[str, Json]) -> str:
    speed, tiny = results["speed_cuda"], results["overhead_cuda"]
    machine, settings = speed["machine"], speed["settings"]
    return "\n".join(
        [
            f"## On a GPU\n\n`bash benchmarks/gpu.sh` on one {machine['gpu']}, "
            f"torch {machine['torch']}, Python {machine['python']}, float32 unless it says "
            "otherwise. Window, padding, reduction and gradient as above. First the time of a "
            f"call, median of {settings['rounds']} interleaved rounds, between two events on the "
            "GPU: on small images it is the time in which Python launches the kernels. In "
            "parentheses the time of the kernels alone. A loss without a backend's name uses what "
            f"`auto` takes, here `{speed['auto']}`. The kernel has become "
            "[shorter](triton_kernel.md) since; how much faster is not measured.\n",
            *(_times(speed, dtype, name) for dtype, name in _tables(speed)),
            _memory(speed),
            _absent(speed),
            _tiny(tiny),
            _training_step(results["training_step_cuda"]),
        ]
    )


def _tables(speed: Json) -> list[tuple[str, str]]:
    dtypes = list(dict.fromkeys(case["dtype"] for case in speed["cases"]))
    return [
        (dtype, name)
        for dtype in dtypes
        for name in ("forward", "forward + backward")
        if dtype == dtypes[0] or name != "forward"
    ]


def _times(speed: Json, dtype: str, name: str) -> str:
    cases = [case for case in speed["cases"] if case["dtype"] == dtype]

    def cell(case: Json, contestant: str) -> str:
        row = case["milliseconds"][name].get(contestant)
        if row is None:
            return "fails"
        alone = case["device_milliseconds"][name][contestant]
        return f"{digits(row['median'])} ({digits(alone)}), {row['speedup']:.1f}x"

    head = [f"ms, {name}, {plain(dtype)}", *(shape_name(case["shape"]) for case in cases)]
    rows = ([label(c), *(cell(case, c) for case in cases)] for c in contestants(speed))
    return table(head, rows)


def _memory(speed: Json) -> str:
    cases = [case for case in speed["cases"] if case["dtype"] == speed["cases"][0]["dtype"]]

    def cell(case: Json, contestant: str) -> str:
        held = case["peak_bytes_per_element"].get(contestant)
        return "fails" if held is None else f"{held:.1f}"

    head = ["bytes per element at the peak", *(shape_name(case["shape"]) for case in cases)]
    rows = ([label(c), *(cell(case, c) for case in cases)] for c in contestants(speed))
    return table(head, rows)


def _absent(speed: Json) -> str:
    failed = speed["cases"][0]["failed"]
    lines = [f"{name} {speed['packages'][name]} ({why})" for name, why in failed.items()]
    lines += [f"{name} ({why})" for name, why in speed["absent"].items()]
    return f"Not measured: {'; '.join(lines)}.\n" if lines else ""


def _tiny(tiny: Json) -> str:
    passes = tiny["microseconds"]
    rows = (
        [label(c), *(digits(rows[c]["median"]) for rows in passes.values())]
        for c in next(iter(passes.values()))
    )
    shape = shape_name(tiny["settings"]["shape"])
    return f"A call on a tiny image, {shape}:\n\n" + table(["microseconds", *passes], rows)


def _training_step(steps: Json) -> str:
    rows = (
        [
            str(case["width"]),
            *(
                f"{digits(row['median'])} ({row['ratio']:.2f}x)"
                for row in case["milliseconds"].values()
            ),
        ]
        for case in steps["cases"]
    )
    names = list(steps["cases"][0]["milliseconds"])
    return "One step of the pipeline's stage 1 beside the same with MSE:\n\n" + table(
        ["width", *(f"{name}, ms" for name in names)], rows
    )
