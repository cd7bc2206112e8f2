"""Reads a kernel's PTX into the instructions that the machine runs.

PTX is the assembler that Triton writes for NVIDIA's chips. Only what Triton makes of this kernel is
known; anything else is an error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import build

# In the order of launch.h.
OPERATIONS = (
    *("compute", "parameter", "load", "store", "branch"),
    *("barrier", "butterfly", "indexed", "exit"),
)
INSTRUCTION = np.dtype(
    [
        *(("operation", "i4"), ("computation", "i4"), ("predicate", "i4"), ("negated", "i4")),
        *(("to", "i4", 4), ("from", "i4", 3), ("target", "i4"), ("width", "i4"), ("count", "i4")),
        *(("shared", "i4"), ("approximate", "i4"), ("divides", "i4"), ("offset", "i8")),
    ],
    align=True,
)
CONSTANT = np.dtype([("value", "u8"), ("slot", "i4")], align=True)
# In the order in which the machine fills them.
SPECIAL = ("%tid.x", "%ctaid.x", "%ntid.x", "%nctaid.x")

# Instructions that move or combine bits alike, whatever they stand for.
SAME_BITS = {
    **{f"{op}.{kind}{bits}": f"{op}.b{bits}" for op in ("mov", "selp") for kind in "us"
       for bits in (16, 32, 64)},
    **{f"{op}.rn.f32": f"{op}.f32" for op in ("add", "sub", "mul")},
    **{"mov.f32": "mov.b32", "selp.f32": "selp.b32", "shr.b32": "shr.u32", "shr.b64": "shr.u64"},
    **{f"{op}.u{bits}": f"{op}.s{bits}" for op in ("add", "sub", "mul.lo", "mad.lo")
       for bits in (32, 64)},
}  # fmt: skip
APPROXIMATE = ("div.full.f32", "sqrt.approx.ftz.f32")
DIVIDES = re.compile(r"(div|rem)\.[su](32|64)")
MEMORY = re.compile(r"(ld|st)\.(global|shared|shared::cta)(?:\.v([24]))?\.[bsuf](16|32|64)")
ADDRESS = re.compile(r"\[\s*(%?[\w.$]+)\s*(?:\+\s*(-?\w+)\s*)?\]")
NUMBER = re.compile(r"-?\d+|0x[0-9A-Fa-f]+|0f[0-9A-Fa-f]{8}")
REGISTER = re.compile(r"%(p|rs|r|rd|f)\d+")
BARRIERS = ("bar.sync", "barrier.sync.aligned")
SHUFFLES = {"shfl.sync.bfly.b32": "butterfly", "shfl.sync.idx.b32": "indexed"}


class Statement(NamedTuple):
    """Where an instruction comes from."""

    line: int
    """Of the PTX."""
    text: str
    source: str
    """The line of Triton's source that it stands for."""

    def __str__(self) -> str:
        return f"PTX line {self.line}, {self.source}: {self.text}"


class UnknownInstructionError(NotImplementedError):
    """PTX that the machine does not know."""


class Program:
    """A kernel, read."""

    def __init__(self, ptx: str) -> None:
        self.ptx = ptx
        self.parameters: dict[str, tuple[int, str]] = {}
        """By name, where it lies and its type."""
        self.parameter_bytes = 0
        self.statements: list[Statement] = []
        """Of each instruction."""
        self._slots: dict[str, int] = {}
        self._constants: dict[int, int] = {}
        self._instructions: list[dict[str, Any]] = []
        self._labels: dict[str, int] = {}
        self._read()
        self.instructions = np.zeros(len(self._instructions), INSTRUCTION)
        for row, instruction in zip(self.instructions, self._instructions, strict=True):
            row["predicate"] = -1
            label = instruction.pop("label", None)
            if label is not None:
                instruction["target"] = self._labels[label]
            for name, value in instruction.items():
                row[name] = (
                    (*value, 0, 0, 0, 0)[: row[name].size] if name in ("to", "from") else value
                )
        self.registers = len(self._slots)
        self.special = np.array([self._slots.get(name, -1) for name in SPECIAL], np.int32)
        self.constants = np.array([(v, s) for s, v in self._constants.items()], CONSTANT)

    def _read(self) -> None:
        source, inside = "no source", False
        for number, raw in enumerate(self.ptx.splitlines(), 1):
            line, _, comment = (text.strip() for text in raw.partition("//"))
            parameter = re.match(r"\.param \.(\w+) .*?(\w+),?$", line)
            if not inside and parameter:
                self._parameter(parameter[1], parameter[2])
            elif line == "{":
                inside = True
            elif line == "}" and inside:
                return
            elif inside and line.startswith(".loc"):
                source = comment or source
            elif inside and (label := re.fullmatch(r"([\w$]+):", line)):
                self._labels[label[1]] = len(self._instructions)
            elif inside and line and not line.startswith("."):
                for text in filter(None, map(str.strip, line.split(";"))):
                    self._statement(Statement(number, text, source))

    def _parameter(self, kind: str, name: str) -> None:
        size = int(kind[1:]) // 8
        at = -(-self.parameter_bytes // size) * size
        self.parameters[name] = at, kind
        self.parameter_bytes = at + size

    def _statement(self, statement: Statement) -> None:
        before = len(self._instructions)
        match = re.fullmatch(r"(?:@(!?)(%p\d+)\s+)?([\w.:]+)\s*(.*)", statement.text)
        try:
            if match is None:
                raise UnknownInstructionError("this form")
            negated, predicate, name, operands = match.groups()
            if predicate and name in SHUFFLES:
                raise UnknownInstructionError(f"{name} of some lanes alone")
            self._instruction(SAME_BITS.get(name, name), _split(operands))
        except UnknownInstructionError as unknown:
            raise UnknownInstructionError(
                f"the emulator does not know {unknown}: {statement}. "
                "Add it to tests/emulator/arithmetic.h or ptx.py"
            ) from None
        for one in self._instructions[before:]:
            if predicate:
                one |= {"predicate": self._slot(predicate), "negated": int(negated == "!")}
            self.statements.append(statement)

    def _instruction(self, name: str, operands: Sequence[str]) -> None:
        if memory := MEMORY.fullmatch(name):
            self._memory(memory, operands)
        elif name.startswith("ld.param."):
            place, offset = _address(operands[1])
            at, _ = self.parameters[place]
            self._emit("parameter", operands[:1], offset=at + offset, width=int(name[-2:]) // 8)
            if name.endswith(".s32") and operands[0].startswith("%rd"):
                self._compute("cvt.s64.s32", [operands[0]] * 2)
        elif name in ("bra", "bra.uni"):
            self._emit("branch", label=operands[0])
        elif name == "ret":
            self._emit("exit")
        elif name in BARRIERS and operands == ["0"]:
            self._emit("barrier")
        elif name in SHUFFLES and operands[3:] == ["31", "-1"]:
            self._emit(SHUFFLES[name], operands[:1], operands[1:3])
        elif name.startswith("mov.") and "{" in "".join(operands):
            self._parts(name, operands)
        else:
            self._compute(name, operands)

    def _memory(self, match: re.Match[str], operands: Sequence[str]) -> None:
        kind, space, count, bits = match.groups()
        values, address = operands if kind == "ld" else reversed(operands)
        base, offset = _address(address)
        self._emit(
            "load" if kind == "ld" else "store",
            _split(values.strip("{} ")),
            [base],
            offset=offset,
            width=int(bits) // 8,
            count=int(count or 1),
            shared=int(space != "global"),
        )

    def _parts(self, name: str, operands: Sequence[str]) -> None:
        """A move between a register and its two halves."""
        half = f"b{int(name[-2:]) // 2}"
        if operands[1].startswith("{"):
            self._compute(f"join.{half}", [operands[0], *_split(operands[1].strip("{} "))])
            return
        low, high = _split(operands[0].strip("{} "))
        # The first must not overwrite what the second reads.
        for part, to in (("low", low), ("high", high)):
            if to != "_":
                self._compute(f"{part}.{half}", [to, operands[1]])

    def _compute(self, name: str, operands: Sequence[str]) -> None:
        computation = build.library().computation(name.encode())
        if computation < 0 or not operands:
            raise UnknownInstructionError(name)
        self._emit(
            "compute",
            operands[:1],
            operands[1:],
            computation=computation,
            approximate=int(name in APPROXIMATE),
            divides=int(DIVIDES.fullmatch(name) is not None),
        )

    def _emit(
        self, operation: str, to: Sequence[str] = (), source: Sequence[str] = (), **fields: Any
    ) -> None:
        slots = {"to": list(map(self._slot, to)), "from": list(map(self._slot, source))}
        self._instructions.append({"operation": OPERATIONS.index(operation), **slots, **fields})

    def _slot(self, name: str) -> int:
        """The register of a name, or one that holds a constant."""
        if name not in self._slots:
            self._slots[name] = len(self._slots)
            if not name.startswith("%"):
                self._constants[self._slots[name]] = _constant(name)
            elif name not in SPECIAL and not REGISTER.fullmatch(name):
                raise UnknownInstructionError(f"the register {name}")
        return self._slots[name]


def _constant(text: str) -> int:
    """The bits of a number, or of an address."""
    if text == "global_smem":
        # Shared memory begins at 0.
        return 0
    if NUMBER.fullmatch(text) is None:
        raise UnknownInstructionError(f"the operand {text}")
    return int(text[2:], 16) if text.startswith("0f") else int(text, 0) % 2**64


def _split(operands: str) -> list[str]:
    """At the commas that stand outside of braces."""
    return [text.strip() for text in re.split(r",(?![^{]*})", operands) if text.strip()]


def _address(text: str) -> tuple[str, int]:
    match = ADDRESS.fullmatch(text)
    if match is None:
        raise UnknownInstructionError(f"the address {text}")
    return match[1], int(match[2] or "0", 0)
