"""Ctrl-C and SIGTERM that wait until a step is over, so that its result can be saved."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end, and what was done is saved."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number


class Signals:
    """The first signal that came; the second one is not kept waiting."""

    def __init__(self) -> None:
        self.came: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.came is not None:
            raise Interrupted(number)
        self.came = number


@contextlib.contextmanager
def postponed_signals(wanted: bool = True) -> Iterator[Signals]:
    """While this lasts, SIGINT and SIGTERM are only noted; whoever asks for it must end."""
    signals = Signals()
    # Python lets no other thread handle signals.
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, signals.handle)
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
