"""The one exception for what its user can put right, and how any fault of no code is shown."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import torch

# Windows has no quotas.
EDQUOT = getattr(errno, "EDQUOT", errno.ENOSPC)
# A console shows so many faults; who has more has one cause for most of them.
MOST_FAULTS = 50


class UserError(ValueError):
    """A fault of a file, a folder or a setting; the message is one line that names it."""

    @property
    def faults(self) -> list[str]:
        """Each fault in one line: a file's name may have two."""
        return [one_line(self)]


class FaultsError(UserError):
    """Several faults, each a line of the message."""

    def __init__(self, faults: Sequence[str]) -> None:
        self._faults = [" ".join(fault.split("\n")) for fault in faults]
        super().__init__("\n".join(self._faults))

    @property
    def faults(self) -> list[str]:
        return self._faults


def shown(error: UserError) -> str:
    """An error for the console, a line for each fault."""
    lines = [f"error: {fault}" for fault in error.faults]
    rest = len(lines) - MOST_FAULTS
    return "\n".join(lines[:MOST_FAULTS] + [f"error: and {rest} more"] * (rest > 0))


def one_line(error: BaseException) -> str:
    """An error's words without the line breaks that parsers put in."""
    return " ".join(line.strip() for line in str(error).splitlines()) or type(error).__name__


ADVICE = {
    errno.ENOSPC: "make room and give the same command again",
    EDQUOT: "make room and give the same command again",
    errno.EACCES: "name a folder that you may write to",
    errno.EPERM: "name a folder that you may write to",
    errno.EROFS: "name a folder that you may write to",
    errno.ENAMETOOLONG: "give the file or its folder a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}
OUT_OF_MEMORY = (
    "a smaller --batch-size, --patch-size, --width or --image-size needs less; so does a GPU that "
    "nobody else uses"
)


def explain(error: BaseException) -> str | None:
    """For the console: a fault of files, settings or the machine; None for a fault of the code."""
    if isinstance(error, UserError):
        return shown(error)
    line = _line_of(error)
    return None if line is None else f"error: {line}"


def _line_of(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.errno is not None:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        parts = [error.strerror or type(error).__name__, *([" -> ".join(names)] if names else [])]
        advice = ADVICE.get(error.errno)
        return ": ".join(parts) + (f"; {advice}" if advice else "")
    text = one_line(error)
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "allocate memory" in text
    ):
        return f"out of memory ({text.partition('. ')[0]}); {OUT_OF_MEMORY}"
    # Of a driver or a card that fails; torch gives it a class of its own from 2.8 on.
    if isinstance(error, RuntimeError) and any(
        words in text for words in ("CUDA error", "NVIDIA driver", "CUDA driver", "NCCL error")
    ):
        return f"the device failed: {text.partition('. ')[0]}"
    return None
