"""The sections of docs/detection.md on preset best: a constant colour beside it, and its arms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from two_stage.report.tables import MEASURES
from two_stage.run.settings import PRESETS
from two_stage.scoring.baselines import CONSTANT

from benchmarks.measure.detection import KEPT, METRICS, Row
from benchmarks.pages.detection_page import arms, devices, recipe_of, spread_of
from benchmarks.pages.markdown import spread, table

COLUMNS = [
    *("", "seed", "PSNR, dB", "SSIM"),
    *(MEASURES[metric] for metric in METRICS),
    *("pixel AP, paper's residual", "seconds"),
]


def section(rows: Sequence[Row]) -> str:
    """The preset as it is, its seeds together; its arms; what was tried on the way, run by run."""
    runs = [row for row in rows if row["preset"] == "best"]
    of_the_preset = [row for row in runs if is_the_preset(row)]
    as_it_is = [row for row in of_the_preset if row["arm"] == "two-stage"]
    categories = sorted({row["category"] for row in as_it_is})
    lines = [
        [category, *_cells([row for row in as_it_is if row["category"] == category])]
        for category in categories
    ]
    found = PRESETS["best"].stages
    text = (
        "## Preset best against a constant colour\n\n"
        f"256 pixels, patches of 128, two stages of {found.stage_1_epochs} + "
        f"{found.stage_2_epochs} epochs; {devices(as_it_is)}. Network / the training images' mean "
        "colour in its place, scored as the network is; mean (least to greatest) of the seeds. "
        "PSNR and SSIM are of held-out normal images; seconds of training, beside other programs, "
        "with those for which a run was stopped. "
        "pill, grid and hazelnut_toy have real defects, the others generated ones.\n\n"
        f"{table(COLUMNS, lines)}"
    )
    for category in categories:
        of_category = [row for row in of_the_preset if row["category"] == category]
        if {row["arm"] for row in of_category} != {"two-stage"}:
            text += "\n" + arms(of_category)
    tried = [row for row in runs if not is_the_preset(row)]
    return text + (_tried(tried) if tried else "")


def is_the_preset(row: Row) -> bool:
    """Whether a run has all of the preset's own settings."""
    settings = PRESETS["best"].to_dict()
    return all(row["settings"][name] == settings[name] for name in KEPT)


def _tried(runs: Sequence[Row]) -> str:
    options = [_options(row) for row in runs]
    usual = max(options, key=options.count)
    order = sorted(
        zip(runs, options, strict=True),
        key=lambda pair: (pair[0]["category"], pair[1] != usual, pair[1], pair[0]["seed"]),
    )
    lines = []
    for row, own in order:
        named = " ".join(option for option in own if option not in usual)
        lines.append([row["category"] + (f", `{named}`" if named else ""), *_cells([row])])
    preset = set(_options_of(PRESETS["best"].to_dict()))
    beside = " ".join(option for option in usual if option not in preset)
    return (
        "\n## Preset best, on the way\n\n"
        f"As above, with `{beside}` where no other value is named; {devices(runs)}.\n\n"
        f"{table(COLUMNS, lines)}"
    )


def _options(row: Row) -> list[str]:
    return _options_of(row["settings"])


def _options_of(settings: dict[str, object]) -> list[str]:
    names = ("image_size", "stage_1_epochs", "stage_2_epochs")
    sizes = (f"--{name.replace('_', '-')} {settings[name]}" for name in names)
    return [*sizes, *recipe_of({"settings": settings})]


def _cells(runs: Sequence[Row]) -> list[str]:
    def compared(kind: str, form: Callable[[float], str]) -> str:
        found = [
            [row["reconstruction"][name][kind] for row in runs] for name in ("network", "constant")
        ]
        return " / ".join(spread(values, form) for values in found)

    def scored(metric: str) -> str:
        return " / ".join(spread_of(runs, score, "all", metric) for score in ("chosen", CONSTANT))

    seconds = [sum(s for n, s in row["seconds"].items() if n.startswith("stage")) for row in runs]
    return [
        ", ".join(str(row["seed"]) for row in runs),
        compared("psnr", lambda value: f"{value:.1f}"),
        compared("ssim", lambda value: f"{value:.3f}"),
        *map(scored, METRICS),
        spread_of(runs, "plain l1", "all", "pixel_ap"),
        spread(seconds, lambda value: f"{value:.0f}"),
    ]
