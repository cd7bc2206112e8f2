"""The example scripts as a user runs them: every file they promise, and strict JSON."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from mvtec_two_stage import two_stages
from PIL import Image
from safetensors.torch import load_file
from tiny_run import TINY
from two_stage.commands import ablate, evaluate, predict, train, tune
from two_stage.pictures.demo import PAINTERS, write_demo_dataset

REPOSITORY = Path(__file__).parents[2]


def run_script(name: str, *arguments: str, expect: int = 0, launcher: tuple[str, ...] = ()) -> str:
    """Run an example in a fresh interpreter, in which warnings are errors too."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    result = subprocess.run(
        [sys.executable, "-W", "error", *launcher, str(REPOSITORY / "examples" / name), *arguments],
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
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in the MVTec AD layout."""
    root = tmp_path_factory.mktemp("data")
    write_demo_dataset(root, "brick", normals=8, test_normals=2, per_defect=1)
    return root


@pytest.fixture(scope="module")
def run(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one tiny run, trained as a user would."""
    folder = tmp_path_factory.mktemp("two_stage") / "run"
    output = run_script(
        "mvtec_two_stage.py", "train", *on(data_root), *TINY, "--run-folder", str(folder)
    )
    assert "input only: gradient" in output
    # So little training teaches a network nothing, and that is said before the figures.
    said = json.loads((folder / "metrics.json").read_text())["doubts"]
    assert "careful: The network has hardly learned" in output.split("input only: gradient")[0]
    assert all(f"careful: {text}\n" in output for text in said)
    assert str(folder / "report.html") in output
    return folder


def on(data_root: Path) -> tuple[str, ...]:
    return "--data-root", str(data_root), "--category", "brick"


def test_metrics_are_strict_json_with_every_score(run: Path) -> None:
    metrics = read_strict_json(run / "metrics.json")
    assert set(metrics["scores"]) == {
        "chosen", "plain l1", "l1", "aw_ssim", "gradient",
        "input only: constant reconstruction", "input only: gradient",
        "input only: distance to mean",
    }  # fmt: skip
    for table in metrics["scores"].values():
        assert all(0 <= value <= 1 for value in table["all"].values())
        assert set(table["by_defect"]) == set(PAINTERS)
        assert table["foreground"] is None
    assert metrics["images"] == {
        "train": 6, "validation": 2, "test": {"good": 2, **dict.fromkeys(PAINTERS, 1)},
    }  # fmt: skip
    assert metrics["model"]["parameters"] == sum(
        value.numel()
        for name, value in load_file(run / "stage_2.safetensors").items()
        if "running" not in name and "tracked" not in name
    )
    assert metrics["thresholds"]["quantile"] == 0.995
    assert set(metrics["seconds"]) == {"stage_1", "stage_2", "evaluation"}
    assert 0 < metrics["reconstruction_of_normals"]["ssim"] < 1


def test_the_choice_is_the_best_on_held_out_normals(run: Path) -> None:
    chosen = read_strict_json(run / "metrics.json")["chosen_on_held_out_normals"]
    best = max(chosen["candidates"], key=lambda row: row["criterion"])
    assert (chosen["residual"], chosen["smoothing"]) == (best["residual"], best["smoothing"])
    assert len(chosen["candidates"]) == 7 * 3


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


def test_every_picture_is_there_and_shows_something(run: Path) -> None:
    kinds = ("heat_map", "overlay", "predicted_mask", "reconstruction")
    shown = {f"{defect}_000_{kind}" for defect in (*PAINTERS, "good") for kind in kinds}
    assert {path.stem for path in (run / "pictures").iterdir()} == shown
    for name in ("artificial_defects", "training_curves", "panels", "curves", "image_scores"):
        assert has_more_than_one_colour(run / f"{name}.png")
    for path in (run / "pictures").glob("*_overlay.png"):
        assert has_more_than_one_colour(path)


def test_the_report_holds_the_figures_and_every_picture(run: Path) -> None:
    page = (run / "report.html").read_text()
    chosen = read_strict_json(run / "metrics.json")["scores"]["chosen"]["all"]
    assert f"{100 * chosen['pixel_auroc']:.1f}" in page
    assert page.count("data:image/png;base64,") >= 4
    assert 'src="http' not in page


def test_no_partial_files_are_left(run: Path) -> None:
    assert not list(run.rglob("*.partial"))
    assert not list(run.glob("checkpoint*"))


def test_a_complete_run_is_shown_and_another_s_folder_refused(run: Path, data_root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.glob("*.safetensors")}
    arguments = ("train", *on(data_root), *TINY, "--run-folder", str(run))
    assert "is complete" in run_script("mvtec_two_stage.py", *arguments)
    errors = run_script("mvtec_two_stage.py", *arguments, "--seed", "1", expect=1)
    assert errors.startswith("error: ")
    assert "seed 0 -> 1" in errors
    assert "Traceback" not in errors
    assert {path: path.stat().st_mtime_ns for path in run.glob("*.safetensors")} == before


def test_faulty_data_ends_in_one_line_before_training(tmp_path: Path) -> None:
    write_demo_dataset(tmp_path, "brick", normals=4, test_normals=1, per_defect=1)
    (tmp_path / "brick" / "train" / "good" / "001.png").write_bytes(b"no picture")
    arguments = (*on(tmp_path), *TINY, "--run-folder", str(tmp_path / "run"))
    errors = run_script("mvtec_two_stage.py", *arguments, expect=1)
    assert re.match(r"error: .*001\.png is not a picture", errors)
    assert errors.count("\n") == 1
    assert not (tmp_path / "run" / "stage_1.safetensors").exists()


def test_two_processes_count_every_test_image_once(data_root: Path, tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    arguments = (*on(data_root), *TINY, "--run-folder", str(tmp_path / "run"))
    run_script("mvtec_two_stage.py", *arguments, launcher=launcher)
    evaluate.main([str(tmp_path / "run"), "--out", str(tmp_path / "alone")])
    together, alone = (read_strict_json(tmp_path / n / "metrics.json") for n in ("run", "alone"))
    assert together["images"] == alone["images"]
    assert together["at_threshold"] == alone["at_threshold"]
    for name, table in together["scores"].items():
        assert table["all"] == pytest.approx(alone["scores"][name]["all"], abs=1e-3), name
    shown = {path.name for path in (tmp_path / "run" / "pictures").iterdir()}
    assert shown == {path.name for path in (tmp_path / "alone" / "pictures").iterdir()}


def test_predict_scores_the_test_folder_as_the_evaluation_did(
    run: Path, data_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict.main([str(data_root / "brick" / "test"), "--run", str(run), "--out", str(out)])
    with (out / "scores.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 + len(PAINTERS)
    defective = [row for row in rows if "good" not in row["file"]]
    found = sum(row["defective"] == "yes" for row in defective) / len(defective)
    shares = read_strict_json(run / "metrics.json")["at_threshold"]
    assert found == shares["defective_images_found"]


def test_an_ablation_shares_stages_and_compares_its_arms(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ablation"
    arms = ("two-stage", "no-lpips", "ssim+l1")
    arguments = [*on(data_root), *TINY, "--run-folder", str(folder), "--arms", *arms]
    ablate.main(arguments, two_stages)
    assert "no training: constant reconstruction" in capsys.readouterr().out
    table = (folder / "ablation.md").read_text()
    assert re.search(r"^The rows of arms.png:\n\n1. hole", table, flags=re.MULTILINE)
    # These bricks are not the paper's hazelnuts.
    assert "no LPIPS" in table
    assert "98.89" not in table
    shared = [(folder / f"{arm}-seed-0" / "stage_1.safetensors").read_bytes() for arm in arms]
    assert shared[0] == shared[1] != shared[2]
    runs = read_strict_json(folder / "ablation.json")["runs"]
    assert [metrics["arm"] for metrics in runs] == list(arms)
    assert has_more_than_one_colour(folder / "arms.png")


def test_normal_pictures_alone_are_enough_to_train_and_to_predict(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "data" / "screw" / "normal"
    shutil.copytree(data_root / "brick" / "train" / "good", pictures)
    run = tmp_path / "run"
    category = ("--data-root", str(tmp_path / "data"), "--category", "screw")
    train.main([*category, *TINY, "--run-folder", str(run)], two_stages)
    assert read_strict_json(run / "metrics.json")["scores"] == {}
    assert "screw" in (run / "report.html").read_text()
    predict.main([str(pictures), "--run", str(run), "--out", str(tmp_path / "out")])
    assert len((tmp_path / "out" / "scores.csv").read_text().splitlines()) == 1 + 8
    assert str(run / "report.html") in capsys.readouterr().out


def test_tuning_ranks_its_candidates_without_test_images(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    normals_only = tmp_path / "data"
    shutil.copytree(data_root / "brick" / "train", normals_only / "brick" / "train")
    folder = tmp_path / "tuning"
    candidates = ("1", "1", "1", "0", "0", "1")
    tune.main([*on(normals_only), *TINY, "--run-folder", str(folder), "--candidates", *candidates])
    rows = read_strict_json(folder / "tuning.json")["candidates"]
    assert sorted(row["weights"] for row in rows) == [[0, 0, 1], [1, 1, 1]]
    assert rows[0]["mean"] >= rows[1]["mean"]
    best = " ".join(f"{weight:g}" for weight in rows[0]["weights"])
    assert f"--weights {best}" in capsys.readouterr().out


def test_the_quickstart_learns_and_writes_its_picture(tmp_path: Path) -> None:
    output = run_script("quickstart.py", str(tmp_path / "out"))
    before, after = map(float, re.findall(r"(\d\.\d+) before, (\d\.\d+) after", output)[0])
    assert after < 0.3 * before
    assert has_more_than_one_colour(tmp_path / "out" / "before_after.png")
