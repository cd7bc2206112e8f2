"""What is said of pictures that are read all the same: no fault, but not to be kept quiet."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Note:
    text: str
    """A sentence that names a few of the files."""
    files: tuple[str, ...] = ()
    """All of them."""

    def __str__(self) -> str:
        return self.text


def count(number: int, thing: str) -> str:
    """A number with its noun, in the plural unless it is 1."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def some(files: Sequence[Path | str]) -> str:
    """A few of the names, and how many others there are."""
    others = len(files) - SHOWN
    shown = ", ".join(map(str, files[:SHOWN]))
    return f"{shown} and {others} more" if others > 0 else shown
