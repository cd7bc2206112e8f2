"""The command `train`: one run for each category that the command line names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate import PartialState

from ..report.tables import category_table, format_summary
from ..run.folder import load_metrics, write_text
from ..run.settings import Settings
from .command_line import checked_categories, read_settings


def main(arguments: Sequence[str], train: Callable[[Settings], Path]) -> None:
    """`train` makes one run and returns its folder."""
    folders: list[Path] = []
    for settings in checked_categories(read_settings(arguments)):
        folders.append(train(settings))
        if PartialState().is_main_process:
            print_scores(folders[-1])
    if len(folders) > 1 and PartialState().is_main_process:
        table = category_table([load_metrics(folder) for folder in folders])
        print(f"\n{table}\nsee {save_category_table(table, folders)}")


def print_scores(folder: Path) -> None:
    print(f"\n{format_summary(load_metrics(folder))}\nsee {folder / 'report.html'}")


def save_category_table(table: str, folders: Sequence[Path]) -> Path:
    """Beside the runs, as Markdown with their folders; another command's table is kept."""
    runs = "The runs:\n\n" + "".join(f"- `{folder.name}`\n" for folder in folders)
    text = f"# Several categories, in percent\n\n{table}\n{runs}"
    number, path = 1, folders[0].parent / "categories.md"
    while path.exists() and not path.read_text("utf-8", "replace").endswith(runs):
        number += 1
        path = path.with_name(f"categories_{number}.md")
    write_text(path, text)
    return path
