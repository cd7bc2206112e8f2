"""The one exception for what its user can put right, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence

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


def one_line(error: Exception) -> str:
    """An error's words without the line breaks that parsers put in."""
    return " ".join(line.strip() for line in str(error).splitlines()) or type(error).__name__
