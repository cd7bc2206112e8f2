"""The command `train`: one run for each category that the command line names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate import PartialState

from ..report.tables import category_table, format_summary
from ..run.folder import load_metrics
from ..run.settings import Settings
from .command_line import by_category, read_settings


def main(arguments: Sequence[str], train: Callable[[Settings], Path]) -> None:
    """`train` makes one run and returns its folder."""
    folders = [train(settings) for settings in by_category(read_settings(arguments))]
    if PartialState().is_main_process:
        print_scores(folders)


def print_scores(folders: Sequence[Path]) -> None:
    """The figures of each run, and with several categories a table over all of them."""
    runs = [load_metrics(folder) for folder in folders]
    for folder, metrics in zip(folders, runs, strict=True):
        print(f"\n{format_summary(metrics)}")
        print(f"see {folder / 'report.html'}")
    if len(runs) > 1:
        print(f"\n{category_table(runs)}")
