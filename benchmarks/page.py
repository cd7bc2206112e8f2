"""Writes docs/benchmarks.md and README's section of figures from the results.

``python -m benchmarks.page``. Sentences hold no figure of their own, and
``tests/project/test_benchmark_page.py`` holds both texts to ``results/*.json``.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import tables
from benchmarks.common import load
from benchmarks.lost import where_we_lose
from benchmarks.tables import Json

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
# README's section lies between these lines.
START, END = "<!-- --8<-- [start:benchmarks] -->\n", "<!-- --8<-- [end:benchmarks] -->\n"
FILES = ("speed", "memory", "accuracy", "scaling", "training_step", "ablation")
HALF_TYPES = ("torch.float32", "torch.float16", "torch.bfloat16")


def read_results() -> dict[str, Json]:
    return {name: load(name) for name in FILES}


def page(results: dict[str, Json]) -> str:
    """The whole of docs/benchmarks.md."""
    return "\n".join(
        [
            "# Benchmarks\n",
            "Written by `python -m benchmarks page` from `benchmarks/results/*.json`, wins and "
            "losses alike.\n",
            '## How they are run\n\n--8<-- "benchmarks/README.md:how"\n',
            f"{_machine(results['speed'])}\n",
            _speed(results["speed"]),
            _scaling(results["scaling"]),
            _memory(results["memory"]),
            _accuracy(results["accuracy"]),
            _training_step(results["training_step"]),
            _ablation(results["ablation"]),
            f"## Where we lose\n\n{where_we_lose(results)}",
        ]
    )


def _machine(results: Json) -> str:
    machine = results["machine"]
    packages = {"torch": machine["torch"], **results["packages"]}
    listed = ", ".join(f"{name} {version}" for name, version in packages.items())
    text = (
        f"The machine of these figures: {machine['processor']}, {machine['threads']} threads, "
        f"{machine['system']}, Python {machine['python']}. Packages: {listed}."
    )
    absent = ", ".join(f"{name} ({why})" for name, why in results["absent"].items())
    return text + (f" Not measured: {absent}." if absent else "")


def _auto(results: Json) -> str:
    return (
        f"`auto` took the backend `{results['auto']}`; a loss without a backend's name is what "
        "comes by itself."
    )


def _picture(name: str, text: str) -> str:
    return f"![{text}](images/benchmark_{name}.svg)\n"


def _speed(results: Json) -> str:
    settings = results["settings"]
    parts = [
        "## Speed\n\n`python -m benchmarks speed`. "
        f"Window {settings['window']}, sigma {settings['sigma']}, mean, no padding, gradient to "
        f"the prediction, float32; median (quartiles) of {settings['rounds']} interleaved rounds, "
        f"and how many times faster than {results['baseline']}. {_auto(results)}\n",
        _picture("speed", "Time of forward and backward pass of each loss, with quartiles"),
        *(tables.speed(results, name) for name in ("forward", "forward + backward")),
    ]
    seconds = results.get("first_call_seconds")
    if seconds:
        parts.append(
            "A machine's first call of the `numba` backend compiles its kernel: "
            f"{seconds['compiled']:.0f} s. Each later process reads it from the disk at its first "
            f"call: {seconds['read']:.1f} s, the import of numba included.\n"
        )
    return "\n".join(parts)


def _scaling(results: Json) -> str:
    settings = results["settings"]
    parts = [
        "## Scaling\n\n`python -m benchmarks scaling`. Forward + backward in milliseconds, "
        f"median of {settings['rounds']} interleaved rounds, sigma {settings['sigma']}; "
        "one thing varies at a time.\n",
        _picture("scaling", "Time against image size, channels, batch and window"),
    ]
    for sweep, points in results["sweeps"].items():
        names = [
            f"{tables.shape_name(case['shape'])} with window {case['window']}"
            for case in points.values()
        ]
        parts.append(f"From {names[0]} to {names[-1]}:\n\n{tables.scaling(results, sweep)}")
    return "\n".join(parts)


def _memory(results: Json) -> str:
    return (
        "## Memory\n\n`python -m benchmarks memory`. Forward + backward in float32, in bytes per "
        "element of one image: at most during the two, above what was held before, and what the "
        "graph keeps between them, the images aside.\n\n" + tables.memory(results)
    )


def _accuracy(results: Json) -> str:
    numbered = "\n".join(f"{n}. {case}" for n, case in enumerate(results["losses"], start=1))
    parts = [
        "## Accuracy\n\n`python -m benchmarks accuracy`. The terms apart, in float32: the largest "
        "error of structure, and of AW-SSIM's gradient over the true gradient's maximum. "
        '"Textbook" is `E[x²] - E[x]²` in the same formulas; no other library has the terms '
        "apart. Where an image is shifted by a constant, the true gradient is itself nearly 0.\n",
        tables.components(results),
        "Whole losses: error of the value, and of the gradient over the true gradient's maximum. "
        "The truth is a float64 oracle that shares no code with any of them, on the images as "
        "rounded to the dtype: standard SSIM, and AW-SSIM with equal weights for `AWSSIMLoss`. "
        "The images, by number:\n",
        f"{numbered}\n",
        _picture("accuracy", "Error of each loss's gradient in three dtypes"),
        "**float64** shows how far a library's own definition, or the precision that it computes "
        "in, is from the common one: what it has beyond that in the other tables is rounding.\n",
        tables.loss_errors(results, "torch.float64"),
    ]
    for dtype in HALF_TYPES:
        parts.append(f"**{tables.plain(dtype)}**\n\n{tables.loss_errors(results, dtype)}")
    parts.append(
        "A gradient in half precision cannot be better than its own rounding. `-`: rounded, the "
        "two images are equal, and the true gradient is 0.\n"
    )
    return "\n".join(parts)


def _training_step(results: Json) -> str:
    settings = results["settings"]
    return (
        "## A training step\n\n`python -m benchmarks training_step`. One optimiser step of the "
        f"example's stage 1, {settings['batch_size']} patches of {settings['channels']} channels "
        f"and {settings['patch_size']} pixels, beside the same step with an MSE loss.\n\n"
        + tables.training_step(results)
    )


def _ablation(results: Json) -> str:
    settings = results["settings"]
    seeds = len(settings["seeds"])
    parts = [
        "## The loss of a training\n\n`python -m benchmarks ablation`. One autoencoder (the "
        f"example's, width {settings['width']}), {settings['steps']} steps of "
        f"{settings['batch_size']} crops of {settings['crop']} pixels of {settings['normals']}, "
        f"from the same first weights with each loss; {seeds} seeds, textures "
        f"{', '.join(settings['textures'])}. PSNR, SSIM and LPIPS (AlexNet) of "
        f"{settings['test_normals']} held-out normal crops; AUROC and average precision of pixels "
        f"with painted defects, of the plain residual abs(x - x') and of gradients, neither of "
        "which is a contestant's own map. Nothing was tuned for any loss.\n\n"
        f"All windows have sigma {settings['sigma']} and {settings['window']} taps, MS-SSIM's "
        f"(pytorch-msssim) {settings['ms_ssim_window']}, because its five scales do not fit the "
        "crops otherwise. AW-SSIM has equal weights and no growing sigma. A margin of "
        f"{settings['margin']} pixels is not counted: MS-SSIM's package has no other padding "
        "than `valid`.\n",
        _picture("ablation", "Reconstruction and detection by training loss, a mark for each seed"),
        "Mean of textures and seeds (least to greatest mean of a seed), the best in bold:\n",
        tables.ablation(results),
    ]
    for texture in settings["textures"]:
        parts.append(f"{texture}:\n\n{tables.ablation(results, texture)}")
    return "\n".join(parts)


def readme_section(results: dict[str, Json]) -> str:
    """What lies between README's markers."""
    speed, accuracy = results["speed"], results["accuracy"]
    machine, ablation = speed["machine"], results["ablation"]["settings"]
    return "\n".join(
        [
            f"`python -m benchmarks all` made these figures ({machine['processor']}, "
            f"{machine['threads']} threads, torch {machine['torch']}) and writes them here "
            "and, in full, with plots and a list of [where we lose](docs/benchmarks.md), into the "
            f"documentation. {_auto(speed)}\n",
            f"**Speed**, window {speed['settings']['window']}, sigma {speed['settings']['sigma']}, "
            f"gradient to the prediction, float32; medians of {speed['settings']['rounds']} "
            f"interleaved rounds, ratios to {speed['baseline']}. The `torch` backend is the "
            "definition and the way for double backward, not for speed:\n",
            tables.speed_in_short(speed),
            "**Memory** of forward + backward, float32: at the peak, and kept between the two:\n",
            tables.memory_in_short(results["memory"]),
            '**Accuracy** in float32 against float64, the terms apart; "textbook" is '
            "`E[x²] - E[x]²` in the same formulas. In the last cases the true gradient is itself "
            "nearly 0:\n",
            tables.components(accuracy),
            f"Whole losses, the largest error of {len(accuracy['losses'])} pairs of images, the "
            "same as above in each dtype, against a float64 oracle; of the gradient over the true "
            "one's maximum:\n",
            tables.loss_errors_in_short(accuracy, HALF_TYPES),
            "**One training step** of the example's stage 1 beside the same with an MSE loss:\n",
            tables.training_step(results["training_step"]),
            f"**As a training loss**: one small autoencoder, {ablation['steps']} steps, "
            f"{len(ablation['textures'])} textures, {len(ablation['seeds'])} seeds, nothing tuned; "
            "quality on held-out normal crops, and pixels with painted defects found by the plain "
            "residual and by gradients. Mean (least to greatest mean of a seed):\n",
            tables.ablation(results["ablation"]),
        ]
    )


def with_section(readme: str, section: str) -> str:
    before, rest = readme.split(START)
    _, after = rest.split(END)
    return before + START + section + END + after


def main() -> None:
    results = read_results()
    PAGE.write_text(page(results), encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    README.write_text(with_section(readme, readme_section(results)), encoding="utf-8")
    print(f"written: {PAGE}, {README}")


if __name__ == "__main__":
    main()
