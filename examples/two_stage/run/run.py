"""One run: its settings, its folder, and the processes that share its work."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from .folder import find_run_folder, make_run_folder
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
        return (self.folder / "metrics.json").exists() and not self.settings.running.overwrite

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


def open_run(settings: Settings, first_stage: Path | None = None) -> Run:
    """The run with these settings, new or begun already; nothing is written yet."""
    processes = find_processes(settings.training)
    # The main process looks for the folder, the others are told.
    folder = [find_run_folder(settings) if processes.is_main_process else None]
    return Run(settings, broadcast_object_list(folder)[0], processes, first_stage)


def find_processes(training: Training) -> Accelerator:
    """The device, the precision and, where a launcher started several, the processes."""
    # Told nothing, accelerate lets each process on a machine without a GPU believe it is alone.
    gpu = torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available()
    return Accelerator(cpu=not gpu, mixed_precision=training.mixed_precision)


def leave_processes() -> None:
    """End the group of processes that a launcher started, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
