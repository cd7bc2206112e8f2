"""The emulated GPU: while it is entered, backend "triton" runs compiled code on CPU tensors."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from triton_compiled import NUMBERS, POINTERS, compiled

from aw_ssim import availability
from aw_ssim.backends.triton_gpu import run as launches
from aw_ssim.backends.triton_gpu.kernel import SIZES, STRIDES

from . import machine
from .machine import Buffer
from .ptx import Program

PARAMETERS = (*POINTERS, *STRIDES, *SIZES, *NUMBERS)
TYPES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}


class Launch(NamedTuple):
    """One of the kernel, after it ran."""

    programs: int
    tiles: int
    warps: int
    problems: list[str]
    """All that is wrong with it."""


class EmulatedGPU:
    """Runs what the kernel's launch is handed, and keeps a record of each launch.

    Args:
        architecture: compute capability, 80 or 90.
        schedule: which threads run ahead of which, one of `machine.SCHEDULES`.
        seed: of the schedule's and the noise's random numbers.
        noise: by how many units in the last place results of approximate instructions are off.
        programs: at most so many at once, so that each has more tiles; 0 for as many as launched.
        fusion: whether the compiler may join products with sums, as it does for a GPU.
        edit: changes the PTX, to break it on purpose.
    """

    def __init__(
        self,
        architecture: int = 90,
        schedule: str = "in order",
        *,
        seed: int = 1,
        noise: int = 0,
        programs: int = 0,
        fusion: bool = True,
        edit: Callable[[str], str] | None = None,
    ) -> None:
        self.architecture = architecture
        self.options: dict[str, Any] = {"schedule": schedule, "seed": seed, "noise": noise}
        self.programs = programs
        self.fusion = fusion
        self.edit = edit
        self.launches: list[Launch] = []
        self._patches = contextlib.ExitStack()

    @property
    def problems(self) -> list[str]:
        return [problem for launch in self.launches for problem in launch.problems]

    def __enter__(self) -> EmulatedGPU:
        for module, name, value in (
            (launches, "tiles_kernel", self),
            (launches, "_compiles_for_nvidia", lambda device: True),
            (availability, "_why_not_triton", lambda device: ""),
        ):
            self._patches.enter_context(mock.patch.object(module, name, value))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        """In the place of the kernel's own, which Triton defines."""
        return functools.partial(self._launch, grid[0])

    def _launch(self, programs: int, *values: Any, **constants: Any) -> None:
        arguments = dict(zip(PARAMETERS, values, strict=True))
        warps, registers = constants.pop("num_warps"), constants.pop("maxnreg")
        for option, expected in (("num_stages", 1), ("enable_fp_fusion", True)):
            assert constants.pop(option) == expected, "launched otherwise than triton_compiled.py"
        kernel = compiled(
            {name: _type(value) for name, value in arguments.items()},
            constants,
            architecture=self.architecture,
            warps=warps,
            registers=registers,
            fusion=self.fusion,
            aligned=tuple(name for name in POINTERS if arguments[name].data_ptr() % 16 == 0),
        )
        ptx = kernel.asm["ptx"]
        program = _read(ptx) if self.edit is None else Program(self.edit(ptx))
        buffers, pointers = _memory(arguments, _filled(constants))
        numbers = [arguments[name] for name in PARAMETERS if name not in pointers]
        # Triton adds two pointers of its own, which this kernel does not use.
        unused = [0] * (len(program.parameters) - len(arguments))
        programs = min(programs, self.programs or programs)
        result = machine.run(
            program,
            [*pointers.values(), *numbers, *unused],
            buffers,
            programs=programs,
            warps=warps,
            shared=kernel.metadata.shared,
            **self.options,
        )
        problems = [str(finding) for finding in result.findings]
        for buffer, writes in zip(buffers, result.writes, strict=True):
            if buffer.written and buffer.name != "scratch" and not (writes == 1).all():
                never, often = np.sum(writes == 0), np.sum(writes > 1)
                problems.append(f"{buffer.name}: {never} never written, {often} more than once")
        self.launches.append(Launch(programs, arguments["tiles"], warps, problems))


_read = functools.cache(Program)


def _type(value: Any) -> str:
    """As Triton specialises what it is handed."""
    if isinstance(value, torch.Tensor):
        return TYPES[value.dtype]
    if isinstance(value, float):
        return "fp32"
    return "i32" if -(2**31) <= value < 2**31 else "i64"


def _filled(constants: dict[str, Any]) -> set[str]:
    """Which of its arguments the kernel writes; the others may be anything."""
    gradients = ("grad_x", "grad_y")[: constants["GRADIENTS"]]
    sums_or_maps = ("maps",) if constants["MAPS"] else ()
    return {"scratch", "sums", *sums_or_maps, *gradients}


def _memory(
    arguments: dict[str, Any], filled: set[str]
) -> tuple[list[Buffer], dict[str, tuple[int, int]]]:
    """The storages of all tensors, each once, and where in them the pointers point."""
    buffers: list[Buffer] = []
    numbers: dict[int, int] = {}
    pointers = {}
    for name in sorted(POINTERS, key=lambda name: name not in filled):
        tensor = arguments[name]
        storage = tensor.untyped_storage()
        start = storage.data_ptr()
        if start not in numbers:
            numbers[start] = len(buffers)
            buffers.append(Buffer(name, storage, tensor.element_size(), name in filled))
        pointers[name] = numbers[start], tensor.data_ptr() - start
    return buffers, {name: pointers[name] for name in POINTERS}
