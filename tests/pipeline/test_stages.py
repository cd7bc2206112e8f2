"""Training: both stages, interrupted and continued, on one process and on two."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import SETTINGS, train_in
from torch import Tensor, nn
from two_stage.run.checkpoint import CURRENT, PREVIOUS
from two_stage.run.errors import UserError
from two_stage.run.run import leave_processes
from two_stage.run.settings import Settings
from two_stage.training.batch_norm import measure_batch_norm
from two_stage.training.facts import LATER, describe_training
from two_stage.training.losses import stages_of
from two_stage.training.patches import PatchStream
from two_stage.training.stages import learning_rate, training_seconds

# 6 images x 3 patches in batches of 4.
STEPS_PER_EPOCH = 4


class StoppedError(Exception):
    pass


def stop_before(step: int, stage: int, monkeypatch: pytest.MonkeyPatch, action: Any) -> None:
    batch = PatchStream.batch

    def interrupted(self: PatchStream, number: int) -> tuple[Tensor, ...]:
        if (self.stage_number, number) == (stage, step):
            action()
        return batch(self, number)

    monkeypatch.setattr(PatchStream, "batch", interrupted)


def raise_stopped() -> None:
    raise StoppedError


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "training_log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train_in(folder)
    return folder


def assert_same_weights_and_log(folder: Path, other: Path) -> None:
    for name in ("stage_1.safetensors", "stage_2.safetensors", "training_log.csv"):
        # Compared outside of the assertion: pytest would work on a diff of such bytes for hours.
        same = (folder / name).read_bytes() == (other / name).read_bytes()
        assert same, name


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    settings = SETTINGS.changed(arm="fixed-sigma", stage_1_epochs=20, stage_2_epochs=20)
    train_in(tmp_path, settings)
    for stage in ("1", "2"):
        losses = [float(row["loss"]) for row in read_log(tmp_path) if row["stage"] == stage]
        first, last = losses[:STEPS_PER_EPOCH], losses[-STEPS_PER_EPOCH:]
        assert sum(last) < 0.8 * sum(first), stage


def test_a_training_leaves_nothing_unfinished(whole: Path) -> None:
    assert len(read_log(whole)) == 4 * STEPS_PER_EPOCH
    assert sorted(path.name for path in whole.iterdir()) == [
        "seconds.json", "stage_1.csv", "stage_1.safetensors", "stage_2.csv", "stage_2.safetensors",
        "training_log.csv",
    ]  # fmt: skip


def test_the_time_of_each_stage_is_kept(whole: Path, tmp_path: Path) -> None:
    seconds = training_seconds(whole)
    assert set(seconds) == {"stage_1", "stage_2"}
    assert all(0 < value < 60 for value in seconds.values())
    train_in(tmp_path, first_stage=whole)
    assert set(training_seconds(tmp_path)) == {"stage_2"}


def test_sigma_grows_with_each_step_and_starts_again_with_each_epoch(whole: Path) -> None:
    rows = read_log(whole)
    assert [float(row["sigma"]) for row in rows] == pytest.approx([0.5, 1.0, 1.5, 2.0] * 4)
    assert [int(row["epoch"]) for row in rows] == [*[0] * 4, *[1] * 4] * 2
    assert [int(row["stage"]) for row in rows] == [1] * 8 + [2] * 8


def test_a_complete_training_is_loaded_not_repeated(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train_in(whole)
    stop_before(0, 1, monkeypatch, raise_stopped)
    again = train_in(whole)
    for name, value in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("stage", "step"), [(1, 3), (1, 4), (1, 6), (2, 0), (2, 2), (2, 5), (2, 7)]
)
def test_an_interrupted_training_ends_with_the_same_bits(
    whole: Path, tmp_path: Path, stage: int, step: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_before(step, stage, patch, raise_stopped)
        with pytest.raises(StoppedError):
            train_in(tmp_path)
    assert not (tmp_path / f"stage_{stage}.safetensors").exists()
    # What happened to the global generator in between must not matter.
    torch.rand(17)
    train_in(tmp_path)
    assert_same_weights_and_log(tmp_path, whole)


def test_interrupted_twice_and_with_the_newest_checkpoint_cut_short(
    whole: Path, tmp_path: Path
) -> None:
    settings = SETTINGS.changed(checkpoint_steps=2)
    for step in (3, 7):
        with pytest.MonkeyPatch.context() as patch:
            stop_before(step, 2, patch, raise_stopped)
            with pytest.raises(StoppedError):
                train_in(tmp_path, settings)
    os.truncate(tmp_path / CURRENT, 1000)
    with pytest.warns(UserWarning, match=f"continuing from {PREVIOUS}"):
        train_in(tmp_path, settings)
    assert_same_weights_and_log(tmp_path, whole)


def test_killed_outright_it_goes_on_with_the_same_bits(whole: Path, tmp_path: Path) -> None:
    assert run_this_file(tmp_path, "kill").returncode == -signal.SIGKILL
    assert (tmp_path / CURRENT).exists()
    assert not (tmp_path / "training_log.csv").exists()
    assert run_this_file(tmp_path, "train").returncode == 0
    assert_same_weights_and_log(tmp_path, whole)


def test_two_processes_train_like_one(whole: Path, tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    result = run_this_file(tmp_path, "train", launcher=launcher)
    assert result.returncode == 0, result.stderr[-3000:]
    together, alone = read_log(tmp_path), read_log(whole)
    assert [row["sigma"] for row in together] == [row["sigma"] for row in alone]
    # The order of sums differs, and 16 steps of Adam through BatchNorm amplify that.
    for row, expected in zip(together, alone, strict=True):
        assert float(row["loss"]) == pytest.approx(float(expected["loss"]), rel=0.02)
    assert float(together[0]["loss"]) == pytest.approx(float(alone[0]["loss"]), rel=1e-4)


# The facts of a weights file of version 0.1, before the settings had groups.
STORED = (
    '{"stages": [{"epochs": 2, "structural": "aw-ssim", "partner": "none", "mix": 1.0, "weights": '
    '[1.0, 2.0, 3.0], "sigma": [0.5, 2.5], "noise": 0.05, "defect_probability": 0.0}, {"epochs": '
    '1, "structural": "aw-ssim", "partner": "lpips", "mix": 0.8, "weights": [1.0, 2.0, 3.0], '
    '"sigma": [0.5, 2.5], "noise": 0.0, "defect_probability": 0.5}], "settings": {"data_root": '
    '"../data", "category": "pill", "seed": 0, "image_size": 96, "patch_size": 32, "channels": 3, '
    '"validation_share": 0.1, "width": 4, "latent_channels": 64, "skips": "all", "patches": '
    '"grid", "crops_per_image": 2, "flips": "both", "batch_size": 4, "learning_rate": 0.001, '
    '"defect_count": [1, 4], "defect_side": [0.03, 0.4], "defect_opacity": [0.5, 1.0], '
    '"defect_feather": [0.5, 2.0], "defect_sources": ["same", "noise", "categories"], '
    '"texture_folder": null, "foreground_only": null, "mixed_precision": "no", "compile": false}}'
)


def test_runs_of_earlier_versions_can_be_continued() -> None:
    settings = Settings.from_dict(
        json.loads(STORED)["settings"]
        | {"preset": "quick", "stage_1_epochs": 2, "stage_2_epochs": 1, "weights": [1.0, 2.0, 3.0]}
        | {"test_stride": 16, "run_folder": "pill", "checkpoint_steps": 3}
    )
    # As the weights' file gives them back, whatever their order.
    described = json.loads(json.dumps(describe_training(settings, stages_of(settings))))
    assert described == json.loads(STORED)


def test_later_fields_are_left_out_only_where_they_change_nothing() -> None:
    settings = Settings.of()
    stages = [dataclasses.asdict(stage) for stage in stages_of(settings)]
    for name, unchanged in LATER.items():
        values = [stage[name] for stage in stages if name in stage]
        assert (values or [settings.to_dict()[name]]) == [unchanged] * max(1, len(values))
    changed = settings.changed(architecture="dilated", pixel_weight=1.0)
    facts = describe_training(changed, stages_of(changed))
    assert facts["settings"]["architecture"] == "dilated"
    assert [stage["pixel_weight"] for stage in facts["stages"]] == [1.0, 1.0]


def test_weights_of_other_settings_are_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stage_1\.safetensors was trained with other settings"):
        train_in(tmp_path, SETTINGS.changed(learning_rate=1e-4), first_stage=whole)


def test_a_stage_of_another_run_is_shared(whole: Path, tmp_path: Path) -> None:
    train_in(tmp_path, first_stage=whole)
    assert_same_weights_and_log(tmp_path, whole)


def test_the_learning_rate_falls_along_a_cosine() -> None:
    assert learning_rate(2.0, 0, 10) == 2.0
    assert learning_rate(2.0, 5, 10) == pytest.approx(1.0)
    assert 0 < learning_rate(2.0, 9, 10) < 0.1


def test_batch_norm_statistics_are_those_of_clean_patches() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1))
    model[0].running_mean.fill_(100.0)
    patches = [torch.full((4, 1, 8, 8), 0.25), torch.full((4, 1, 8, 8), 0.75)]
    measure_batch_norm(model, patches)
    assert float(model[0].running_mean) == pytest.approx(0.5)
    assert model[0].momentum == 0.1


def run_this_file(
    folder: Path, action: str, launcher: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        # As many threads as this process, whose bits are compared.
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    return subprocess.run(
        [sys.executable, *launcher, __file__, str(folder), action],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[2] == "kill":
        stop_before(6, 2, pytest.MonkeyPatch(), lambda: os.kill(os.getpid(), signal.SIGKILL))
    train_in(Path(sys.argv[1]))
    leave_processes()
    assert not torch.distributed.is_initialized()
