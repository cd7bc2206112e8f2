"""One run: its settings, its folder, and the processes that share its work."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from .device import accelerator_is_there
from .errors import UserError, one_line
from .folder import is_complete, make_run_folder, open_run_folder
from .groups import Training
from .settings import Settings


@dataclasses.dataclass(frozen=True)
class Run:
    """Every process has one; only the main process writes and prints."""

    settings: Settings
    folder: Path
    processes: Accelerator
    first_stage: Path | None = None
    """Folder of another run with the same first stage, which is then copied."""

    @property
    def is_main(self) -> bool:
        return self.processes.is_main_process

    @property
    def device(self) -> torch.device:
        return self.processes.device

    @property
    def is_complete(self) -> bool:
        return is_complete(self.folder) and not self.settings.running.overwrite

    def print(self, text: str) -> None:
        self.processes.print(text)

    def together(self) -> None:
        """Wait until every process has come this far."""
        self.processes.wait_for_everyone()

    def main_first(self) -> AbstractContextManager[None]:
        """What the main process does first: the others then find its files."""
        return self.processes.main_process_first()

    def make_folder(self) -> None:
        if self.is_main:
            make_run_folder(self.settings, self.folder)
        self.together()


@contextlib.contextmanager
def open_run(settings: Settings, first_stage: Path | None = None) -> Iterator[Run]:
    """The run with these settings, new or begun already; its folder is held meanwhile."""
    processes = find_processes(settings.training)
    with contextlib.ExitStack() as stack:
        # The main process opens the folder, the others are told.
        main = processes.is_main_process
        folder = [stack.enter_context(open_run_folder(settings)) if main else None]
        yield Run(settings, broadcast_object_list(folder)[0], processes, first_stage)


def find_processes(training: Training) -> Accelerator:
    """The device, the precision and, where a launcher started several, the processes."""
    try:
        # Told nothing, accelerate lets each process on a machine without a GPU believe it is alone.
        return Accelerator(cpu=not accelerator_is_there(), mixed_precision=training.mixed_precision)
    except ValueError as error:
        raise UserError(
            f"mixed_precision {training.mixed_precision} does not work on this machine: "
            f"{one_line(error)}; pass --mixed-precision no"
        ) from error


def leave_processes() -> None:
    """End the group of processes that a launcher started, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
