"""`evaluate`: a trained run scored otherwise, and used so."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from mvtec_two_stage import two_stages
from tiny_run import TINY
from two_stage.commands import evaluate, predict, train
from two_stage.pictures.demo import write_demo_dataset
from two_stage.run.errors import UserError
from two_stage.run.folder import load_metrics
from two_stage.scoring.trained_run import load_trained_run


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_demo_dataset(root, "brick", normals=8, test_normals=2, per_defect=1)
    return root


@pytest.fixture(scope="module")
def run(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two_stage") / "run"
    options = ("--data-root", str(data_root), "--category", "brick", *TINY)
    train.main([*options, "--run-folder", str(folder)], two_stages)
    return folder


def test_evaluate_scores_a_run_anew_and_leaves_it_alone(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "metrics.json").read_bytes()
    out = tmp_path / "out"
    evaluate.main([str(run), "--out", str(out), "--residual", "l1", "--smoothing", "2"])
    metrics = load_metrics(out)
    chosen = metrics["chosen_on_held_out_normals"]
    assert (chosen["residual"], chosen["smoothing"]) == ("l1", 2.0)
    first = load_metrics(run)
    assert metrics["scores"]["plain l1"] == first["scores"]["plain l1"]
    assert (out / "report.html").exists()
    assert (run / "metrics.json").read_bytes() == before
    assert "chosen" in capsys.readouterr().out


def test_an_evaluation_is_used_in_place_of_its_run(
    run: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By predict and by export, as the command says; further ones get folders of their own."""
    scored = ("--residual", "l1", "--smoothing", "2", "--test-stride", "16")
    evaluate.main([str(run), *scored, "--pictures-per-type", "2"])
    folder = run / "evaluation"
    assert f"predict or export with --run {folder}" in capsys.readouterr().out
    many = len(list((folder / "pictures").iterdir()))
    # The same, but for the pictures: no stale ones are left, and a note of the user's is.
    (folder / "notes.txt").write_text("mine")
    evaluate.main([str(run), *scored, "--pictures-per-type", "1"])
    few = len(list((folder / "pictures").iterdir()))
    assert many - few == 4  # Of normal pictures alone there are two.
    assert (folder / "notes.txt").read_text() == "mine"
    before = (folder / "metrics.json").read_bytes()
    evaluate.main([str(run), *scored, "--threshold-quantile", "0.5"])
    assert (folder / "metrics.json").read_bytes() == before
    other = run / "evaluation_2"

    rows = {}
    for one in (run, folder, other):
        out = tmp_path / one.name
        predict.main([str(data_root / "brick" / "test"), "--run", str(one), "--out", str(out)])
        with (out / "scores.csv").open(newline="", encoding="utf-8-sig") as file:
            rows[one] = list(csv.DictReader(file))
    assert rows[run][0]["score"] != rows[folder][0]["score"] == rows[other][0]["score"]
    thresholds = [load_metrics(one)["thresholds"] for one in (folder, other)]
    assert float(rows[other][0]["threshold"]) == thresholds[1]["image"]
    assert thresholds[1]["pixel"] < thresholds[0]["pixel"]
    trained = load_trained_run(folder, "cpu")
    assert (trained.scorer.residual, trained.settings.scoring.test_stride) == ("l1", 16)


def test_an_evaluation_replaces_nothing_else(run: Path, tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("mine")
    for out in (tmp_path, run, run / "pictures"):
        with pytest.raises(UserError, match="holds something already that is not this evaluation"):
            evaluate.main([str(run), "--out", str(out)])
    assert (tmp_path / "report.md").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1
