"""`scores.csv`: a row for each picture, written as it comes, and gone on with after a stop."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any, TextIO

from ..run.errors import UserError
from ..run.folder import PARTIAL, naming, parse_json, save_json
from ..run.lock import LOCK

COLUMNS = (
    "file", "score", "threshold", "defective", "share_above_pixel_threshold", "worst_row",
    "worst_column", "width", "height", "share_not_scored", "error", "verdict",
)  # fmt: skip
GOOD, DEFECTIVE, UNREADABLE = "good", "defective", "unreadable"
TABLE, UNFINISHED, REQUEST = "scores.csv", "scores.csv.partial", "unfinished.json"
# What a command leaves that is killed before its request is written.
BEGINNING = {LOCK, f"{REQUEST}{PARTIAL}"}
# With a byte order mark, by which Excel knows that names are not in the code page of Windows. A
# file's name that is no text is written with backslashes.
TEXT = {"encoding": "utf-8-sig", "errors": "backslashreplace"}

Row = dict[str, Any]


def begin_or_continue(out: Path, request: dict[str, Any]) -> list[Row]:
    """Make the folder, or find what an interrupted command with the same request left in it.

    Returns the rows that are there already.

    Raises:
        UserError: the folder holds something else, or what another request left.
    """
    if (out / TABLE).is_file():
        # Complete; killed before this was removed.
        (out / REQUEST).unlink(missing_ok=True)
    if out.is_dir() and (out / REQUEST).is_file():
        path = out / REQUEST
        earlier = parse_json(path.read_bytes(), path)
        changed = [key for key in request if earlier.get(key) != request[key]]
        if changed:
            raise UserError(
                f"{out} holds the first rows of another command, with another "
                f"{' and '.join(changed)}; repeat that one, or name a new folder with --out"
            )
        return _complete_rows(out / UNFINISHED)
    if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - BEGINNING):
        raise UserError(f"{out} holds something already; name a new folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    save_json(request, out / REQUEST)
    return []


class Table:
    """The table while it grows; an interruption loses no row."""

    def __init__(self, out: Path) -> None:
        self.out = out
        path = out / UNFINISHED
        is_new = not path.exists() or path.stat().st_size == 0
        self.file: TextIO = path.open("a", newline="", **TEXT)
        self.writer = csv.DictWriter(self.file, COLUMNS)
        if is_new:
            self.writer.writeheader()

    def add(self, row: Row) -> None:
        with naming(self.out / UNFINISHED):
            self.writer.writerow(row)
            self.file.flush()

    def close(self) -> None:
        self.file.close()

    def finish(self) -> None:
        """Move the table to its name: all pictures have their row."""
        self.close()
        os.replace(self.out / UNFINISHED, self.out / TABLE)
        (self.out / REQUEST).unlink()


def as_written(name: str) -> str:
    """A file's name as the table has it."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _complete_rows(path: Path) -> list[Row]:
    """The rows of a table that was stopped; what it was stopped in the middle of is cut off."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    # The end of a row; line breaks within one are those of file names, without \r.
    end = content.rfind(b"\r\n") + 2 if b"\r\n" in content else 0
    with path.open("r+b") as file:
        file.truncate(end)
    text = io.StringIO(content[:end].decode("utf-8-sig"), newline="")
    return list(csv.DictReader(text))
