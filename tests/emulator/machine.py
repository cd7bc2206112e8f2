"""Hands a launch to the machine and brings back what it found."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from . import build
from .ptx import Program, Statement

# In the order of launch.h.
SCHEDULES = ("in order", "bursts", "splits", "single")
SCOPES = ("", "between lanes of a warp", "between warps", "between programs")
MOST_FINDINGS = 1000
MOST_WARPS = 8
# Of a program; some minutes.
MOST_STEPS = 10**9

BUFFER = np.dtype(
    [
        *(("base", "u8"), ("size", "u8"), ("data", "u8"), ("writes", "u8")),
        *(("element", "i4"), ("written", "i4")),
    ],
    align=True,
)
FINDING = np.dtype(
    [
        *((name, "i4") for name in ("kind", "scope", "earlier", "later", "buffer")),
        *((name, "i4") for name in ("earlier_thread", "later_thread", "program", "barriers")),
        *(("place", "u8"), ("count", "u8")),
    ],
    align=True,
)


class _Launch(ctypes.Structure):
    _fields_ = (
        *(("code", ctypes.c_void_p), ("instructions", ctypes.c_int), ("registers", ctypes.c_int)),
        *(("parameters", ctypes.c_void_p), ("constants", ctypes.c_void_p)),
        *(("constants_count", ctypes.c_int), ("special", ctypes.c_void_p)),
        *(("buffers", ctypes.c_void_p), ("buffers_count", ctypes.c_int)),
        *((name, ctypes.c_int) for name in ("warps", "programs", "schedule")),
        *(("seed", ctypes.c_uint64), ("most_steps", ctypes.c_uint64), ("noise", ctypes.c_int)),
        *(("findings", ctypes.c_void_p), ("most_findings", ctypes.c_int)),
    )


class Buffer(NamedTuple):
    """Memory that a kernel is handed."""

    name: str
    storage: torch.UntypedStorage
    element: int
    """Bytes of one."""
    written: bool
    """Whether the kernel fills it; it may not read there before, nor write anywhere else."""


class Finding(NamedTuple):
    """What is wrong, with the first of the times that it was."""

    kind: str
    scope: str
    """Of a race: how far apart its threads are."""
    buffer: str
    element: int
    earlier: Statement | None
    later: Statement
    threads: tuple[int, int]
    program: int
    count: int

    def __str__(self) -> str:
        text = f"{self.kind}{' ' if self.scope else ''}{self.scope}"
        if self.buffer:
            text += f", {self.buffer}[{self.element}]"
        text += f" ({self.count} times)"
        if self.earlier is not None:
            text += f"\n  thread {self.threads[0]}, {self.earlier}"
        return text + f"\n  thread {self.threads[1]}, {self.later}\n  program {self.program}"


class Result(NamedTuple):
    """Of a launch."""

    findings: list[Finding]
    writes: list[NDArray[np.uint32]]
    """Of each buffer, how often each element was written."""


def run(
    program: Program,
    arguments: Sequence[float | tuple[int, int]],
    buffers: Sequence[Buffer],
    *,
    programs: int,
    warps: int,
    shared: int = 0,
    schedule: str = "in order",
    seed: int = 1,
    noise: int = 0,
) -> Result:
    """Runs a kernel.

    Args:
        arguments: numbers, and pointers as (number of a buffer, byte in it).
        shared: bytes of shared memory.
        noise: by how many units in the last place an approximate result may be off.
    """
    if warps > MOST_WARPS:
        raise ValueError(f"the emulator's programs have at most {MOST_WARPS} warps, not {warps}")
    # Shared memory is the last; what its programs leave unwritten is nobody's concern.
    scratchpad = np.zeros(max(shared, 1), np.uint8)
    table = np.zeros(len(buffers) + 1, BUFFER)
    writes = [
        np.zeros(-(-buffer.storage.nbytes() // buffer.element), np.uint32) for buffer in buffers
    ] + [np.zeros(-(-len(scratchpad) // 4), np.uint32)]
    for number, buffer in enumerate(buffers):
        size, data = buffer.storage.nbytes(), buffer.storage.data_ptr()
        table[number] = (
            _base(number),
            size,
            data,
            _at(writes[number]),
            buffer.element,
            buffer.written,
        )
    table[-1] = (_base(len(buffers)), shared, _at(scratchpad), _at(writes[-1]), 4, 1)
    parameters = _packed(program, arguments)
    found = np.zeros(MOST_FINDINGS, FINDING)
    launch = _Launch(
        *(_at(program.instructions), len(program.instructions), program.registers),
        *(_at(parameters), _at(program.constants), len(program.constants), _at(program.special)),
        *(_at(table), len(table), warps, programs, SCHEDULES.index(schedule), seed),
        *(MOST_STEPS, noise),
        *(_at(found), MOST_FINDINGS),
    )
    count = min(build.library().run(ctypes.byref(launch)), MOST_FINDINGS)
    findings = [_finding(row, program, buffers) for row in found[:count]]
    return Result(findings, writes[:-1])


def _base(number: int) -> int:
    """So far apart that no index leads from one buffer into another; divisible by 4096."""
    return number + 1 << 40


def _at(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)


def _packed(program: Program, arguments: Sequence[Any]) -> NDArray[np.uint8]:
    if len(arguments) != len(program.parameters):
        raise ValueError(
            f"the kernel has {len(program.parameters)} parameters, not {len(arguments)}"
        )
    packed = bytearray(max(program.parameter_bytes, 1))
    for argument, (at, kind) in zip(arguments, program.parameters.values(), strict=True):
        if isinstance(argument, tuple):
            struct.pack_into("<Q", packed, at, _base(argument[0]) + argument[1])
        elif kind == "f32":
            struct.pack_into("<f", packed, at, argument)
        else:
            size = int(kind[1:]) // 8
            packed[at : at + size] = (int(argument) % 256**size).to_bytes(size, "little")
    return np.frombuffer(bytes(packed), np.uint8).copy()


def _finding(row: Any, program: Program, buffers: Sequence[Buffer]) -> Finding:
    number = int(row["buffer"])
    name, element = "", 1
    if number == len(buffers):
        name, element = "shared memory", 4
    elif number >= 0:
        name, element = buffers[number].name, buffers[number].element
    return Finding(
        build.library().kind_of_finding(int(row["kind"])).decode(),
        SCOPES[row["scope"]],
        name,
        int(row["place"]) // element,
        program.statements[row["earlier"]] if row["earlier"] >= 0 else None,
        program.statements[row["later"]],
        (int(row["earlier_thread"]), int(row["later_thread"])),
        int(row["program"]),
        int(row["count"]),
    )
