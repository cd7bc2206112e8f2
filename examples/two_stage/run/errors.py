"""The one exception for what its user can put right, and how any fault of no code is shown."""

from __future__ import annotations

import errno

import torch

# Windows has no quotas.
EDQUOT = getattr(errno, "EDQUOT", errno.ENOSPC)


class UserError(ValueError):
    """A fault of a file, a folder or a setting; the message is one line that names it."""


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
    """One line for a fault of a file, a setting or the machine; None for a fault of the code."""
    if isinstance(error, UserError):
        return one_line(error)
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
