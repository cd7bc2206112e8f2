"""Folders that are written to again: whose they are, so that nobody's files are replaced."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import UserError


def refuse_foreign(folder: Path, own: str, *, proof: bool, holder: str) -> None:
    """Raise a UserError unless the folder is absent, empty, or one that the command made itself.

    Args:
        folder: where files are to be written.
        own: a pattern that the names of all of the command's own files and folders match.
        proof: whether something in the folder shows that the command made it; names alone could
            be anybody's.
        holder: what such a folder is, such as "an export".
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"expected a folder to write to, got the file {folder}; name another")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in names if not re.fullmatch(own, name)]
    if foreign or (names and not proof):
        raise UserError(
            f"{folder} holds files that are not of {holder}, such as {(foreign or names)[0]}; name "
            "a new or empty folder"
        )
