"""The one exception for what its user can put right, and how it is shown."""

from __future__ import annotations


class UserError(ValueError):
    """A fault of a file, a folder or a setting; the message is one line that names it."""


def one_line(error: Exception) -> str:
    """An error's words without the line breaks that parsers put in."""
    return " ".join(line.strip() for line in str(error).splitlines()) or type(error).__name__
