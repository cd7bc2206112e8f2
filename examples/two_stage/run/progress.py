"""How far a loop has come: a bar on a terminal, a line every minute in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 60
LINE = "{desc}: {n_fmt} of {total_fmt}, {elapsed} gone, {remaining} to go{postfix}"


class _Lines:
    """Takes what is meant to be written over and over again on one line; writes lines."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.last = ""

    def write(self, text: str) -> None:
        line = text.strip()
        if line and line != self.last:
            self.last = line
            self.file.write(line + "\n")

    def flush(self) -> None:
        self.file.flush()


def progress(
    items: Iterable[Item] | None = None,
    title: str = "",
    total: int | None = None,
    *,
    quiet: bool = False,
    **options: Any,
) -> tqdm[Item]:
    """A bar of tqdm on the console's stderr; `quiet` where another process has it."""
    if not sys.stderr.isatty():
        # Nothing at all of what is over within the first minute.
        every = SECONDS_BETWEEN_LINES
        options |= {"delay": every, "mininterval": every, "maxinterval": every}
        options |= {"file": _Lines(sys.stderr), "bar_format": LINE}
    return tqdm(items, title, total, disable=quiet, **options)
