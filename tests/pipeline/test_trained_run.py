"""A finished run read back: its last stage, and why one cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny_run import write_run
from two_stage.run.errors import UserError
from two_stage.scoring.scorer import Scorer
from two_stage.scoring.trained_run import load_trained_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


def test_a_run_of_one_stage_is_read_by_its_own_last_weights(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", arm="aw-ssim", channels=1)
    with pytest.raises(UserError, match=r"no network, there is no stage_1\.safetensors.*evaluate"):
        load_trained_run(folder, "cpu")
    (folder / "scorer.safetensors").rename(tmp_path / "scorer.safetensors")
    with pytest.raises(UserError, match=r"not finished, there is no stage_1\.safetensors; repeat"):
        load_trained_run(folder, "cpu")
    (tmp_path / "scorer.safetensors").rename(folder / "scorer.safetensors")
    (folder / "stage_2.safetensors").rename(folder / "stage_1.safetensors")
    reconstruction, score_map = load_trained_run(folder, "cpu").score(torch.rand(1, 72, 72))
    assert reconstruction.shape == (1, 72, 72)
    assert score_map.shape == (72, 72)


def test_runs_that_cannot_be_used_say_why(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*settings\.yaml"):
        load_trained_run(tmp_path, "cpu")

    def copy(name: str) -> Path:
        return shutil.copytree(run_folder, tmp_path / name)

    unscored = copy("unscored")
    (unscored / "scorer.safetensors").unlink()
    with pytest.raises(UserError, match=r"not finished, there is no scorer\.safetensors"):
        load_trained_run(unscored, "cpu")

    for name in ("stage_2.safetensors", "scorer.safetensors"):
        folder = copy(f"short_{name}")
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(UserError, match=f"{name} is damaged"):
            load_trained_run(folder, "cpu")

    no_scorer = copy("no_scorer")
    shutil.copy(no_scorer / "stage_2.safetensors", no_scorer / "scorer.safetensors")
    with pytest.raises(UserError, match=r"scorer\.safetensors is damaged or not a run's scorer"):
        load_trained_run(no_scorer, "cpu")

    other_size = copy("other_size")
    shutil.copy(
        write_run(tmp_path / "larger", image_size=80) / "scorer.safetensors",
        other_size / "scorer.safetensors",
    )
    with pytest.raises(UserError, match=r"scores maps of \(80, 80\), .* image_size 72"):
        load_trained_run(other_size, "cpu")

    assert isinstance(load_trained_run(run_folder, "cpu").scorer, Scorer)
