"""A run's folder belongs to one process at a time, however that process ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from two_stage.run.errors import UserError
from two_stage.run.folder import make_run_folder, open_run_folder
from two_stage.run.lock import LOCK, InUseError, held
from two_stage.run.settings import Settings

HOLD = (
    "import sys, time, pathlib; from two_stage.run.lock import held\n"
    "with held(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)
    process.communicate(timeout=30)


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    process = holder(tmp_path / "run")
    try:
        words = rf"run is in use: process {process.pid} on .*, since \d{{4}}-.* writes to it; wait"
        with pytest.raises(InUseError, match=words) as caught, held(tmp_path / "run"):
            pass
        assert "\n" not in str(caught.value)
        # Who was refused has taken nothing away.
        with pytest.raises(InUseError, match=words), held(tmp_path / "run"):
            pass
    finally:
        end(process, signal.SIGKILL)
    assert (tmp_path / "run" / LOCK).exists()
    with held(tmp_path / "run"):
        assert f"process {os.getpid()} " in (tmp_path / "run" / LOCK).read_text()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    with held(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / LOCK).exists()
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["result"]


def test_a_fault_lets_go_of_the_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a fault"), held(tmp_path):
            raise RuntimeError("a fault")
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "thesis.tex")
    with held(tmp_path / "run"):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_lock_that_its_holder_has_just_removed_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened before it was removed and locked afterwards, it would be in nobody's way."""
    from two_stage.run import lock

    is_free, tries = lock._is_free, []

    def removed_at_first(file: object) -> bool:
        if not tries:
            (tmp_path / LOCK).unlink()
        tries.append(file)
        return is_free(file)

    monkeypatch.setattr(lock, "_is_free", removed_at_first)
    with held(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert len(tries) == 2


def test_of_two_runs_that_begin_together_each_has_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = Settings.of(seed=1), Settings.of(seed=2)
    with open_run_folder(first) as one, open_run_folder(second) as other:
        assert [one.name, other.name] == ["brick-demo-001", "brick-demo-002"]
        for settings, folder in ((first, one), (second, other)):
            make_run_folder(settings, folder)
        # The same command twice.
        with pytest.raises(UserError, match="brick-demo-001 is in use"), open_run_folder(first):
            pass
        with (
            pytest.raises(UserError, match="brick-demo-002 is in use"),
            open_run_folder(second.changed(overwrite=True)),
        ):
            pass
        assert (other / "settings.yaml").exists()


def test_a_folder_without_settings_yet_is_another_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held by a process that has not come as far as to say what it trains."""
    monkeypatch.chdir(tmp_path)
    with held(Path("runs/brick-demo-001")), open_run_folder(Settings()) as folder:
        assert folder == Path("runs/brick-demo-002")
    with (
        held(tmp_path / "named"),
        pytest.raises(UserError, match="named is in use"),
        open_run_folder(Settings.of(run_folder=tmp_path / "named")),
    ):
        pass


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_many_processes_that_begin_together(tmp_path: Path) -> None:
    """None is lost, and no two of them share a folder."""
    code = (
        "import sys, time; from two_stage.run.folder import *\n"
        "from two_stage.run.settings import Settings\n"
        "settings = Settings.of(seed=int(sys.argv[1]))\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "with open_run_folder(settings) as folder:\n"
        "    make_run_folder(settings, folder); (folder / 'result').write_text(sys.argv[1])\n"
        "    time.sleep(1)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    start = time.time() + 6
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(seed), str(start)], cwd=tmp_path, env=environment,
            stderr=subprocess.PIPE, text=True,
        )
        for seed in range(5)
    ]  # fmt: skip
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    found = {}
    for folder in (tmp_path / "runs").iterdir():
        saved = (folder / "settings.yaml").read_text()
        found[(folder / "result").read_text()] = re.search(r"seed: (\d)", saved)[1]
    assert found == {str(seed): str(seed) for seed in range(5)}
