"""Killed at any of its file operations, the same command goes on and leaves the same files."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from forked import fork
from killed import contents, hasten, replace, states_of
from mvtec_two_stage import two_stages
from PIL import Image
from two_stage.commands import ablate, evaluate, predict, tune
from two_stage.commands.train import main as train
from two_stage.run.checkpoint import CURRENT
from two_stage.run.errors import UserError
from two_stage.run.lock import LOCK
from two_stage.training import stages

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills copies of this process")

# Two steps for each stage, one picture of each kind.
OPTIONS = (
    "--category", "plate", "--preset", "quick", "--image-size", "32", "--patch-size", "32",
    "--test-stride", "16", "--channels", "1", "--width", "1", "--latent-channels", "1",
    "--stage-1-epochs", "1", "--stage-2-epochs", "1", "--crops-per-image", "2",
    "--batch-size", "2", "--checkpoint-steps", "1", "--residual", "l1", "--smoothing", "1",
    "--pictures-per-type", "0",
)  # fmt: skip
PICTURES = ("--pictures-per-type", "1")
NO_LPIPS = ("--arm", "no-lpips")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    pictures = [f"normal/{number}.png" for number in range(4)]
    for name in (*pictures, "normal_test/4.png", "defective/5.png", "masks/5.png"):
        path = root / "plate" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (32, 32), dtype=np.uint8)).save(path)
    return root


def commands(data: Path, run: Path, folder: Path) -> dict[str, Callable[[], object]]:
    """Each writes below `folder`; all but the first use a finished run."""
    on = ("--data-root", str(data), *OPTIONS, "--run-folder", str(folder))
    normals = str(data / "plate" / "normal")
    return {
        "train": partial(train, (*on, *NO_LPIPS), two_stages),
        "train --overwrite": partial(train, (*on, *NO_LPIPS, "--overwrite"), two_stages),
        "evaluate": partial(evaluate.main, (str(run), "--out", str(folder), *PICTURES)),
        "predict": partial(predict.main, (normals, "--run", str(run), "--out", str(folder))),
        "ablate": partial(ablate.main, (*on, "--arms", "aw-ssim"), two_stages),
        "tune": partial(tune.main, (*on, *NO_LPIPS, "--candidates", "1", "1", "1")),
    }


@pytest.fixture(scope="module", autouse=True)
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run; made here and not in a copy, which would import all packages each time."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        commands(data, folder, folder)["train"]()
        yield folder


# Every state of a training, and of the others as many as show where each stands.
EVERY = {
    "train": 9, "train --overwrite": 15, "evaluate": 15, "predict": 5, "ablate": 40, "tune": 40,
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_killed_at_any_file_operation_it_goes_on(
    name: str, data: Path, run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    command = commands(data, run, folder)[name]
    if name == "train --overwrite":
        shutil.copytree(run, folder)
    states = states_of(command, folder, tmp_path / "states")
    whole = contents(folder)
    assert len(states) > 10
    # The last ones always: what is nearly complete must not be taken for complete.
    for state in dict.fromkeys(states[:: EVERY[name]] + states[-3:]):
        replace(folder, state)
        if name == "predict" and (state / "scores.csv").exists():
            # Its results are complete, and are never written over.
            with pytest.raises(UserError, match="holds something already"):
                command()
            continue
        command()
        after = contents(folder)
        assert after.keys() == whole.keys(), state.name
        assert [key for key in whole if after[key] != whole[key]] == [], state.name


def test_interrupted_while_it_overwrites_a_run_is_a_run_still(
    data: Path, run: Path, tmp_path: Path
) -> None:
    """Neither refused as no run's folder, nor taken for complete."""
    folder = tmp_path / "folder"
    shutil.copytree(run, folder)
    states = states_of(
        commands(data, run, folder)["train --overwrite"], folder, tmp_path / "states"
    )
    whole = contents(folder)
    deleting = [state for state in states if (state / "settings.yaml").exists()][1:20:4]
    assert len({len(contents(state)) for state in deleting}) == len(deleting)
    for state in deleting:
        replace(folder, state)
        commands(data, run, folder)["train"]()
        after = contents(folder)
        assert after.keys() == whole.keys(), state.name
        # Two files say whether it was told to overwrite; the report repeats the settings.
        told = {"settings.yaml", "report.md", "report.html"}
        assert [key for key in whole.keys() - told if after[key] != whole[key]] == [], state.name


def test_a_process_of_its_own_is_killed_outright(data: Path, run: Path, tmp_path: Path) -> None:
    """As above, with the real thing: its lock is left over and blocks nobody."""
    folder = tmp_path / "folder"
    train_it = commands(data, run, folder)["train"]
    child = fork()
    if child == 0:
        stages.measure_batch_norm = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        train_it()
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert (folder / LOCK).exists()
    assert (folder / CURRENT).exists()
    train_it()
    train_again = contents(folder)
    shutil.rmtree(folder)
    train_it()
    assert contents(folder) == train_again
