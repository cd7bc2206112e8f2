"""Detection's figures: how runs are merged and named, and the commands that made them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML comes with the examples extra")
pytest.importorskip("tyro", reason="tyro comes with the examples extra")
pytest.importorskip("matplotlib", reason="matplotlib comes with the examples extra")

from two_stage.commands.ablate import Ablation  # noqa: E402
from two_stage.commands.command_line import parse, preset_of, read_settings  # noqa: E402
from two_stage.run.settings import PRESETS, Settings  # noqa: E402
from two_stage.scoring.baselines import CONSTANT  # noqa: E402

from benchmarks import ROOT  # noqa: E402
from benchmarks.measure.detection import KEPT, Row, merged  # noqa: E402
from benchmarks.measure.harness import load  # noqa: E402
from benchmarks.pages.detection_page import ARMS, by_name, of, page  # noqa: E402
from benchmarks.pages.readme import detection  # noqa: E402
from benchmarks.pages.reconstructions import is_the_preset, section  # noqa: E402

ROWS, (DEMO,) = load("detection")["runs"], load("demo")["runs"]


def test_a_run_takes_the_place_of_one_with_its_settings() -> None:
    first = ROWS[0]
    again = {**first, "seconds": {"stage_1": 1.0}}
    other = {**first, "seed": 99}
    rows = merged(ROWS, [again, other])
    assert len(rows) == len(ROWS) + 1
    assert again in rows
    assert other in rows
    assert first not in rows
    assert merged(reversed(rows), []) == rows


def test_cells_have_mean_least_and_greatest() -> None:
    """Of the seeds, with two of which the figure differs."""
    rows = json.loads(json.dumps(ROWS))
    grid = of(rows, "grid")
    more = json.loads(json.dumps(grid))
    for row in more:
        row["seed"] += 10
        row["scores"]["chosen"]["all"]["pixel_auroc"] -= 0.1
    values = [
        row["scores"]["chosen"]["all"]["pixel_auroc"]
        for row in (*grid, *more)
        if row["arm"] == "two-stage"
    ]
    cell = f"{100 * sum(values) / len(values):.1f}"
    cell += f" ({100 * min(values):.1f} to {100 * max(values):.1f})"
    assert f"| {ARMS['two-stage']} | 1, 2, 11, 12 | {cell} |" in page([*rows, *more], DEMO)
    assert f"| grid, preset quick, 4 seeds | {cell} |" in detection([*rows, *more], DEMO)


def test_another_recipe_is_named_by_its_options() -> None:
    rows = json.loads(json.dumps(of(ROWS, "grid")))
    other = json.loads(json.dumps(rows[0]))
    other["settings"] |= {"skips": "none", "defect_side": [0.2, 1.5]}
    named = by_name([*rows, other])
    assert named.pop(f"{ARMS[other['arm']]}; `--defect-side 0.2 1.5 --skips none`") == [other]
    assert set(named) <= set(ARMS.values())
    assert sorted(map(str, rows)) == sorted(str(row) for runs in named.values() for row in runs)


def test_a_recipe_is_numbered_in_tables_and_written_out_below() -> None:
    text = page(ROWS, DEMO)
    for number in re.findall(r"recipe (\d)", text):
        assert f"\nRecipe {number}: `--" in text


def best_row() -> Row:
    """A run of grid with the preset's settings and figures that are easy to tell apart."""
    row: Row = json.loads(json.dumps(of(ROWS, "grid")[0])) | {"arm": "two-stage"}
    row |= {"preset": "best", "seconds": {"stage_1": 10.0, "stage_2": 30.4, "evaluation": 7.0}}
    settings = PRESETS["best"].to_dict()
    row["settings"] = {name: settings[name] for name in KEPT}
    row["reconstruction"] = {
        "network": {"psnr": 31.25, "ssim": 0.9}, "constant": {"psnr": 18.0, "ssim": 0.1234},
    }  # fmt: skip
    figures = dict.fromkeys(("pixel_auroc", "aupro", "pixel_ap", "image_auroc"), 0.5)
    row["scores"] |= {"chosen": {"all": figures | {"aupro": 0.75}}, CONSTANT: {"all": figures}}
    row["scores"]["plain l1"]["all"]["pixel_ap"] = 0.125
    return row


def test_best_is_set_against_a_constant_colour() -> None:
    row = best_row()
    again = json.loads(json.dumps(row)) | {"seed": 9}
    again["scores"]["chosen"]["all"]["pixel_ap"] = 0.7
    tried = [json.loads(json.dumps(row)) for _ in range(3)]
    for other in tried:
        other["settings"]["pixel_weight"] = 7.0
    tried[2]["settings"]["skips"] = "none"
    text = section([row, again, *tried])
    begin, end = (
        "31.2 / 18.0 | 0.900 / 0.123 | 50.0 / 50.0 | 75.0 / 50.0 |",
        "50.0 / 50.0 | 12.5 | 40 |",
    )
    both = f"{begin} 60.0 (50.0 to 70.0) / 50.0 | {end}"
    assert f"| grid | {row['seed']}, 9 | {both}" in text
    assert "As above, with `--pixel-weight 7.0` where no other value is named" in text
    assert text.count(f"| grid | {row['seed']} | {begin} 50.0 / 50.0 | {end}") == 2
    assert f"| grid, `--skips none` | {row['seed']} | {begin} 50.0 / 50.0 | {end}" in text


def test_arms_of_best_have_a_table_of_their_own() -> None:
    row = best_row()
    other = best_row() | {"arm": "aw-ssim"}
    other["scores"]["chosen"]["all"]["pixel_ap"] = 0.25
    alone, both = section([row]), section([row, other])
    assert both.startswith(alone)
    assert "## grid, preset best\n" in both.removeprefix(alone)
    for arm, pixel_ap in (("two-stage", "50.0"), ("aw-ssim", "25.0")):
        cells = f"| {ARMS[arm]} | {row['seed']} | 50.0 | 75.0 | {pixel_ap} | 50.0 |"
        assert cells in both.removeprefix(alone)


def test_readme_says_what_one_stage_and_no_training_give() -> None:
    """The best of each, by pixel AUROC."""
    rows = json.loads(json.dumps(ROWS))
    for row in rows:
        if row["category"] == "grid" and row["arm"] == "lpips+ssim":
            row["scores"]["chosen"]["all"]["pixel_auroc"] = 0.999
        if row["category"] == "grid" and row["arm"] == "two-stage":
            row["scores"]["input only: gradient"]["all"]["pixel_auroc"] = 0.888
    (line,) = [
        line
        for line in detection(rows, DEMO).splitlines()
        if line.startswith("| grid, preset quick")
    ]
    assert line.endswith("| 99.9 | 88.8 | - |")


def test_readme_has_preset_best_as_it_is() -> None:
    """What was tried with it on the way is not the preset."""
    row = best_row()
    other = json.loads(json.dumps(row)) | {"seed": 9}
    other["settings"]["pixel_weight"] = 7.0
    others = [row for row in ROWS if row["preset"] != "best" or row["category"] != "grid"]
    text = detection([*others, row, other], DEMO)
    assert f"| grid, preset best, seed {row['seed']} | 50.0 | 75.0 | 50.0 | 50.0 | - |" in text


def commands(name: str) -> list[list[str]]:
    """The pipeline's commands that `detection.sh` runs for one set."""
    script = str(ROOT / "benchmarks" / "detection.sh")
    environment = {"PATH": os.environ["PATH"], "PRINT": "1"}
    text = subprocess.run(["bash", script, name], env=environment, capture_output=True, check=True)
    return [shlex.split(line) for line in text.stdout.decode().splitlines()]


def runs_of(command: str, options: list[str]) -> Iterator[tuple[str, int, Settings]]:
    """Arm, seed and settings of each run, by the pipeline's own parser."""
    if command == "train":
        settings = read_settings(options)
        yield settings.stages.arm, settings.training.seed, settings
        return
    assert command == "ablate"
    ablation = parse(Ablation, "ablate", options, Ablation(settings=preset_of(options)))
    for arm in ablation.arms:
        for seed in ablation.seeds:
            yield arm, seed, ablation.settings


def identity(data: str, category: str, preset: str, arm: str, seed: int, settings: dict) -> str:
    # The oldest runs did not record their crops.
    kept = {key: settings[key] for key in KEPT if data != "mvtec_few" or key != "crops_per_image"}
    return json.dumps([data, category, preset, arm, seed, kept], sort_keys=True)


@pytest.mark.parametrize(
    ("name", "data", "count"),
    [
        ("pill", "mvtec", 12),
        ("pill-paper", "mvtec", 1),
        ("grid", "mvtec", 8),
        ("magnetic_tile", "data", 14),
        ("few", "mvtec_few", 80),
        ("best", "mvtec_few", 5),
        ("best", "data", 5),
        ("best", "mvtec", 24),
        ("tried", "mvtec_few", 12),
        ("tried", "data", 3),
        ("tried", "mvtec", 13),
    ],
)
def test_the_script_has_the_commands_of_the_results(name: str, data: str, count: int) -> None:
    found = {
        identity(data, settings.data.category, settings.preset, arm, seed, settings.to_dict())
        for command, *options in commands(name)
        for arm, seed, settings in runs_of(command, options)
        if settings.data.data_root.name == data
    }
    category, dash, _ = name.partition("-")
    preset = "best" if name in ("best", "tried") else "paper" if dash else "quick"
    measured = {
        identity(data, *(row[key] for key in ("category", "preset", "arm", "seed", "settings")))
        for row in ROWS
        if row["data"] == data
        and row["preset"] == preset
        and (name in ("few", "best", "tried") or row["category"] == category)
        and (preset != "best" or is_the_preset(row) == (name == "best"))
    }
    assert found == measured
    assert len(found) == count
    assert set(commands("all")[0]) >= {"ablate", "--data-root"}


def test_the_script_refuses_a_set_it_does_not_know() -> None:
    script = str(ROOT / "benchmarks" / "detection.sh")
    for words in ([], ["pil"]):
        environment = {"PATH": os.environ["PATH"], "PRINT": "1"}
        done = subprocess.run(["bash", script, *words], env=environment, capture_output=True)
        assert done.returncode == 2
        assert b"pill-paper" in done.stdout + done.stderr
