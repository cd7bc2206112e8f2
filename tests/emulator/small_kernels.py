"""Kernels of a few lines of PTX, on which the machine itself is tested."""

from __future__ import annotations

import torch
from torch import Tensor

from . import machine
from .machine import Buffer, Result
from .ptx import Program

# The thread's number among all, in %r1, and the places of its 16 bytes in both buffers.
START = """
mov.u32 %r2, %tid.x;
mov.u32 %r3, %ctaid.x;
mov.u32 %r4, %ntid.x;
mad.lo.s32 %r1, %r3, %r4, %r2;
ld.param.b64 %rd1, [source];
ld.param.b64 %rd2, [result];
mad.wide.u32 %rd3, %r1, 16, %rd1;
mad.wide.u32 %rd4, %r1, 16, %rd2;
"""
LOAD = "ld.global.b32 {%r5}, [%rd3];\nld.global.b32 %r6, [%rd3+4];\n"
STORE = "st.global.b32 [ %rd4 + 0 ], { %r7 };\n"


def kernel(body: str) -> Program:
    parameters = ".param .u64 .ptr .global .align 1 source,\n.param .u64 .ptr .global result"
    return Program(f".visible .entry test(\n{parameters}\n)\n{{\n{START}{body}\nret;\n}}\n")


def launch(
    body: str,
    source: Tensor | None = None,
    *,
    threads: int = 32,
    programs: int = 1,
    schedule: str = "in order",
    shared: int = 0,
) -> tuple[Tensor, Result]:
    """Runs the body for each thread; `result` holds four 32-bit numbers of each."""
    total = threads * programs
    if source is None:
        source = torch.zeros(total, 4, dtype=torch.int32)
    assert source.dtype.itemsize == 4
    result = torch.full((total, 4), -1, dtype=source.dtype)
    buffers = [
        Buffer("source", source.untyped_storage(), 4, False),
        Buffer("result", result.untyped_storage(), 4, True),
    ]
    found = machine.run(
        kernel(body),
        [(0, 0), (1, 0)],
        buffers,
        programs=programs,
        warps=threads // 32,
        shared=shared,
        schedule=schedule,
    )
    return result, found


def kinds(result: Result) -> set[tuple[str, str]]:
    return {(finding.kind, finding.scope) for finding in result.findings}


def computed(instructions: str, source: Tensor) -> Tensor:
    """%r7 of each row, from %r5 and %r6, its first two numbers."""
    padded = torch.zeros(-(-len(source) // 32) * 32, 4, dtype=source.dtype)
    padded[: len(source), : source.shape[1]] = source
    result, found = launch(
        f"{LOAD}{instructions}\n{STORE}", padded, programs=len(padded) // 32, threads=32
    )
    assert found.findings == []
    return result[: len(source), 0]
