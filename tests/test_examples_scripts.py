"""The example scripts as a user runs them: every file they promise, and strict JSON."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from two_stage.dataset import find_category, load_image, load_mask
from two_stage.demo_dataset import PAINTERS, write_demo_dataset

REPOSITORY = Path(__file__).parents[1]
DATA_VARIABLE = "AW_SSIM_TEST_DATA"
TINY = (
    "--image-size", "64", "--patch-size", "64", "--test-stride", "32", "--width", "4",
    "--stage-1-epochs", "2", "--stage-2-epochs", "1", "--crops-per-image", "2",
    "--batch-size", "4", "--pictures-per-type", "1",
)  # fmt: skip


def run_script(name: str, *arguments: str, expect: int = 0) -> str:
    """Run an example in a fresh interpreter, in which warnings are errors too."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    result = subprocess.run(
        [sys.executable, "-W", "error", str(REPOSITORY / "examples" / name), *arguments],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == expect, result.stderr[-3000:]
    return result.stdout if expect == 0 else result.stderr


def read_strict_json(path: Path) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def has_more_than_one_colour(path: Path) -> bool:
    with Image.open(path) as image:
        return any(low < high for low, high in image.convert("RGB").getextrema())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one tiny run on a data set in the MVTec AD layout."""
    root = tmp_path_factory.mktemp("two_stage")
    write_demo_dataset(root / "data", "brick", normals=6, test_normals=2, per_defect=1)
    folder = root / "run"
    arguments = ("--data-root", str(root / "data"), "--category", "brick")
    output = run_script("mvtec_two_stage.py", *arguments, *TINY, "--run-folder", str(folder))
    assert "residual combined" in output
    assert "input only gradient" in output
    return folder


def test_metrics_are_strict_json_with_every_score(run: Path) -> None:
    metrics = read_strict_json(run / "metrics.json")
    assert set(metrics["scores"]) == {
        "residual l1",
        "residual aw_ssim",
        "residual combined",
        "input only gradient",
        "input only distance_to_mean",
    }
    assert set(metrics["residual_combined_by_defect"]) == set(PAINTERS)
    for figures in metrics["scores"].values():
        assert set(figures) == {"pixel_auroc", "pixel_ap", "image_auroc"}
        assert all(0 <= value <= 1 for value in figures.values())
    assert metrics["images"]["train"] == 6
    assert metrics["images"]["test"]["good"] == 2
    assert metrics["parameters"] == sum(
        value.numel()
        for name, value in load_file(run / "stage_2.safetensors").items()
        if "running" not in name and "tracked" not in name
    )


def test_the_run_folder_tells_how_it_was_made(run: Path) -> None:
    saved = yaml.safe_load((run / "settings.yaml").read_text())
    assert saved["settings"]["width"] == 4
    assert saved["settings"]["preset"] == "quick"
    assert saved["versions"]["torch"] == torch.__version__.split("+")[0]


def test_stage_two_starts_from_stage_one_and_moves_on(run: Path) -> None:
    first, second = (load_file(run / f"stage_{stage}.safetensors") for stage in (1, 2))
    assert first.keys() == second.keys()
    name = "encoder.0.0.weight"
    change = (second[name] - first[name]).abs().mean() / first[name].abs().mean()
    # A fresh start would differ by about as much as the weights themselves.
    assert 0 < change < 0.5


def test_the_log_holds_each_step_s_loss_and_sigma(run: Path) -> None:
    with (run / "training_log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # 6 images x 2 crops in batches of 4.
    assert [int(row["stage"]) for row in rows] == [1] * 6 + [2] * 3
    sigmas = [float(row["sigma"]) for row in rows]
    assert sigmas == pytest.approx([0.5, 0.5 + 2 / 3, 0.5 + 4 / 3] * 3)


def test_every_picture_is_there_and_shows_something(run: Path) -> None:
    kinds = {*PAINTERS, "good", "overview"}
    assert {path.stem for path in (run / "pictures").iterdir()} == kinds
    for path in (run / "artificial_defects.png", run / "training_curves.png"):
        assert has_more_than_one_colour(path)
    assert all(has_more_than_one_colour(path) for path in (run / "pictures").iterdir())


def test_no_partial_files_are_left(run: Path) -> None:
    assert not list(run.rglob("*.partial"))


def test_a_used_run_folder_is_refused_before_any_work(run: Path) -> None:
    before = (run / "metrics.json").read_bytes()
    arguments = (*TINY, "--run-folder", str(run))
    errors = run_script("mvtec_two_stage.py", *arguments, expect=1)
    assert "already holds files" in errors
    assert (run / "metrics.json").read_bytes() == before


def real_data() -> Path:
    folder = Path(os.environ.get(DATA_VARIABLE, ""))
    if not os.environ.get(DATA_VARIABLE) or not folder.is_dir():
        pytest.skip(
            f"set {DATA_VARIABLE} to a folder of categories in the MVTec AD layout (one has "
            "<category>/train/good) to run this test"
        )
    return folder


def test_real_data_is_read_and_each_mask_marks_a_part_of_its_image() -> None:
    root = real_data()
    categories = sorted(path.parent.parent.name for path in root.glob("*/train/good"))
    assert categories, f"no category in {root}"
    for category in categories:
        files = find_category(root, category)
        assert 0 <= load_image(files.train[0], 64, 3).min() < 1
        pairs = [sample for sample in files.test if sample.mask_path is not None]
        for sample in pairs[:: max(1, len(pairs) // 10)]:
            assert sample.image_path.stem in sample.mask_path.stem
            assert sample.mask_path.parent.name == sample.image_path.parent.name
            share = load_mask(sample.mask_path, 256).float().mean()
            assert 0 < share < 0.9, sample.mask_path


def test_the_quickstart_learns_and_writes_its_picture(tmp_path: Path) -> None:
    output = run_script("quickstart.py", str(tmp_path / "out"))
    before, after = map(float, re.findall(r"(\d\.\d+) before, (\d\.\d+) after", output)[0])
    assert after < 0.3 * before
    assert has_more_than_one_colour(tmp_path / "out" / "before_after.png")
