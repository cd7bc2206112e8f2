"""Every state that a folder is in while a command writes to it: what a killed process leaves."""

from __future__ import annotations

import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import two_stage.scoring.run_metrics
import two_stage.scoring.selection
from forked import fork
from matplotlib.figure import Figure

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}
TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Recorder:
    """Copies a folder before each change below it, which Python itself reports to a hook."""

    def __init__(self, folder: Path, states: Path) -> None:
        self.folder = folder
        self.states = states
        self.seen: list[dict[str, bytes]] = []
        self.busy = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.busy:
            return
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(path, (str, os.PathLike)) and bool(flags & TO_WRITE)
        else:
            path, changes = (arguments or ("",))[0], event in CHANGES
        if changes and str(path).startswith(str(self.folder)):
            self.busy = True
            self._copy(None)
            if event == "open":
                # Whoever is killed while writing leaves a file half-written.
                self._copy(Path(path).relative_to(self.folder))
            self.busy = False

    def _copy(self, half_written: Path | None) -> None:
        state = contents(self.folder) if self.folder.exists() else {}
        if half_written is not None:
            state[str(half_written)] = b"half of i"
        if state in self.seen:
            return
        self.seen.append(state)
        target = self.states / f"{len(self.seen):03d}"
        target.mkdir(parents=True)
        for name, content in state.items():
            if content == FOLDER:
                (target / name).mkdir()
            else:
                (target / name).write_bytes(content)


FOLDER = b"a folder"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else FOLDER
        for path in sorted(folder.rglob("*"))
    }


def states_of(action: Callable[[], object], folder: Path, states: Path) -> list[Path]:
    """Copies of the folder as it was before each change, each state once.

    The action runs in a copy of this process: a hook stays until its process ends.
    """
    states.mkdir()
    child = fork()
    if child == 0:
        try:
            sys.addaudithook(Recorder(folder, states))
            action()
        except BaseException:
            (states / "failed").write_text(traceback.format_exc())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert not (states / "failed").exists(), (states / "failed").read_text()
    return sorted(states.iterdir())


def replace(folder: Path, state: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(state, folder)


def hasten(patch: pytest.MonkeyPatch) -> None:
    """Times are all 0 and figures are not drawn: two runs leave the same bytes, and soon."""
    patch.setattr(time, "perf_counter", lambda: 0.0)
    patch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"a figure"))
    here = dict.fromkeys(("date", "host", "system", "torch"), "here")
    patch.setattr(two_stage.scoring.run_metrics, "when_and_where", lambda: here)
    patch.setattr(two_stage.scoring.selection, "PAINTINGS", 1)
