"""A folder that one process at a time writes to, and who that is."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from .errors import UserError

if os.name == "nt":
    import msvcrt
else:
    import fcntl

LOCK = "run.lock"

# Windows lets nobody read what is locked: a byte far behind the text.
_FAR = 1 << 30


class InUseError(UserError):
    """Another process is writing to the folder."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder, and be the only one that holds it.

    The system opens the lock when its process ends, however it ends: a file `run.lock` that is
    left over blocks nobody. Folders made here are removed again where nothing was put into them.

    Raises:
        InUseError: another process holds the folder.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    try:
        file = _lock(path)
        try:
            yield
        finally:
            # Windows removes no file that is open; elsewhere nobody may see it open and unlocked.
            if os.name != "nt":
                path.unlink(missing_ok=True)
            file.close()
            if os.name == "nt":
                path.unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()


def _lock(path: Path) -> TextIO:
    if path.is_symlink():
        # What it leads to is nobody's lock.
        path.unlink()
    while True:
        file = path.open("a+", encoding="utf-8")
        if not _is_free(file):
            file.seek(0)
            who = file.read().strip() or "another process"
            file.close()
            raise InUseError(
                f"{path.parent} is in use: {who} writes to it; wait until that has ended, or name "
                "another folder"
            )
        # Its last holder may have removed the file between its opening and its locking here.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {since},\n")
    file.flush()
    return file


def _is_free(file: TextIO) -> bool:
    """Lock it if nobody else has; on a file system without locks everything is free."""
    try:
        if os.name == "nt":
            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True
