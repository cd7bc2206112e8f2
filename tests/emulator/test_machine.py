"""The machine itself: a few lines of PTX at a time, against torch and Python."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from .requirements import require_emulator

require_emulator()

from . import machine  # noqa: E402
from .machine import SCHEDULES, Buffer, Result  # noqa: E402
from .ptx import Program, UnknownInstructionError  # noqa: E402

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


def floats(count: int = 4096) -> Tensor:
    """All sizes that half precision has, what is rounded to infinity or to 0, and NaN."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(count, generator=generator) * 2.0 ** torch.randint(
        -30, 20, (count,), generator=generator
    )
    # Half way between two neighbours in half precision and in bfloat16.
    ties = 1 + (2 * torch.arange(64) + 1) * 2.0**-11
    wide = 1 + (2 * torch.arange(64) + 1) * 2.0**-8
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 65504, 65519.9, 65520])
    small = torch.arange(64) * 2.0**-25
    return torch.cat([values, ties, wide, special, small])


@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "f16"), (torch.bfloat16, "bf16")])
def test_half_precision_is_torchs(dtype: torch.dtype, name: str) -> None:
    values = floats()
    rounded = computed(f"cvt.rn.{name}.f32 %rs1, %r5;\ncvt.f32.{name} %r7, %rs1;", values[:, None])
    torch.testing.assert_close(rounded, values.to(dtype).float(), rtol=0, atol=0, equal_nan=True)
    every = torch.arange(65536, dtype=torch.int32)
    widened = computed(f"cvt.u16.u32 %rs1, %r5;\ncvt.f32.{name} %r7, %rs1;", every[:, None])
    wanted = every.to(torch.int16).view(dtype).float()
    torch.testing.assert_close(widened.view(torch.float32), wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("add.f32", lambda a, b: a + b),
        ("mul.f32", lambda a, b: a * b),
        ("div.full.f32", lambda a, b: a / b),
        ("max.NaN.f32", torch.maximum),
        ("max.f32", torch.fmax),
        ("min.f32", torch.fmin),
    ],
)
def test_arithmetic_is_torchs(name: str, function: object) -> None:
    assert callable(function)
    a, b = floats(), floats().flip(0)
    found = computed(f"{name} %r7, %r5, %r6;", torch.stack([a, b], 1))
    torch.testing.assert_close(found, function(a, b), rtol=0, atol=0, equal_nan=True)


def test_a_fused_product_is_rounded_once() -> None:
    a = 1 + torch.arange(32)[:, None] * 2.0**-12
    found = computed("neg.f32 %r8, %r6;\nfma.rn.f32 %r7, %r5, %r5, %r8;", torch.cat([a, a * a], 1))
    wanted = (a.double() ** 2 - (a * a).double()).float()[:, 0]
    assert wanted.any()
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("name", ["div", "rem", "min", "mul.lo", "shr"])
@pytest.mark.parametrize("kind", ["s32", "u32"])
def test_integers(name: str, kind: str) -> None:
    draw = random.Random(0)
    pairs = [(draw.randrange(-(2**31), 2**31), draw.randrange(1, 40)) for _ in range(64)]
    bits = 2**32
    wanted = []
    for a, b in pairs:
        a = a % bits if kind == "u32" else a
        quotient = abs(a) // b * (-1 if a < 0 else 1)
        result = {
            "div": quotient,
            "rem": a - quotient * b,
            "min": min(a, b),
            "mul.lo": a * b,
            "shr": a >> min(b, 31 if kind == "s32" else 32),
        }[name]
        wanted.append((result + bits // 2) % bits - bits // 2)
    found = computed(f"{name}.{kind} %r7, %r5, %r6;", torch.tensor(pairs, dtype=torch.int32))
    assert found.tolist() == wanted


def test_vectors_shuffles_and_predicates() -> None:
    source = torch.arange(32 * 4, dtype=torch.int32).view(32, 4)
    body = """
    ld.global.v4.b32 {%r10, %r11, %r12, %r13}, [%rd3 + 0];
    shfl.sync.bfly.b32 %r14, %r10, 16, 31, -1;
    shfl.sync.idx.b32 %r15, %r11, 3, 31, -1;
    setp.lt.u32 %p1, %r1, 8;
    mov.b64 %rd5, {%r12, %r13};
    mov.b64 {%r16, %r17}, %rd5;
    @%p1 mov.b32 %r16, 7;
    @!%p1 bra $L__end;
    mov.b32 %r17, 9;
    $L__end:
    st.global.v4.b32 [%rd4 + 0], {%r14, %r15, %r16, %r17};
    """
    for schedule in SCHEDULES:
        result, found = launch(body, source, schedule=schedule)
        assert torch.equal(result[:, 0], source[:, 0].view(2, 16).flip(0).flatten())
        assert (result[:, 1] == source[3, 1]).all()
        assert result[:8, 2].eq(7).all()
        assert torch.equal(result[8:, 2], source[8:, 2])
        assert result[:8, 3].eq(9).all()
        assert torch.equal(result[8:, 3], source[8:, 3])
        # Where lanes run together the branch parts them; alone each goes its way.
        parted = {("lanes of a warp part at a branch", "")}
        assert kinds(found) <= parted
        if schedule in ("in order", "bursts"):
            assert kinds(found) == parted


NEIGHBOUR = """
mov.b32 %r7, 5;
st.global.b32 [%rd4], {%r7};
BARRIER
xor.b32 %r8, %r1, DISTANCE;
mad.wide.u32 %rd6, %r8, 16, %rd2;
ld.global.b32 {%r9}, [%rd6];
st.global.b32 [%rd4 + 4], {%r9};
"""


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("distance", "scope"), [(1, "between lanes of a warp"), (32, "between warps")]
)
def test_a_race_is_seen_whatever_the_order(schedule: str, distance: int, scope: str) -> None:
    body = NEIGHBOUR.replace("DISTANCE", str(distance))
    _, found = launch(body.replace("BARRIER", ""), threads=64, schedule=schedule)
    assert kinds(found) & {
        ("read after write without a barrier", scope),
        ("write after read without a barrier", scope),
    }
    result, found = launch(body.replace("BARRIER", "bar.sync 0;"), threads=64, schedule=schedule)
    assert found.findings == []
    assert result[:, :2].eq(5).all()


def test_a_race_between_programs() -> None:
    body = NEIGHBOUR.replace("DISTANCE", "32").replace("BARRIER", "bar.sync 0;")
    _, found = launch(body, programs=2)
    assert ("read after write without a barrier", "between programs") in kinds(found)
    (text,) = {str(finding) for finding in found.findings if finding.kind.startswith("read after")}
    assert "result[0]" in text
    assert "ld.global.b32" in text
    assert "st.global.b32" in text


def test_lanes_may_store_one_value_in_one_place() -> None:
    body = "mov.b32 %r7, VALUE;\nst.global.b32 [%rd2], {%r7};"
    _, found = launch(body.replace("VALUE", "5"))
    assert found.findings == []
    _, found = launch(body.replace("VALUE", "%r1"))
    assert kinds(found) == {("write after write without a barrier", "between lanes of a warp")}
    _, found = launch(body.replace("VALUE", "5"), threads=64)
    assert kinds(found) == {("write after write without a barrier", "between warps")}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("st.global.b32 [%rd3], {%r1};", "write to an input"),
        ("ld.global.b32 {%r7}, [%rd4];", "read of what nobody wrote"),
        ("ld.global.b32 {%r7}, [%rd3 + 512];", "access outside of every buffer"),
        ("ld.global.b32 {%r7}, [%rd3 + -4];", "access outside of every buffer"),
        ("ld.global.v2.b32 {%r7, %r8}, [%rd3 + 4];", "misaligned access"),
        ("ld.shared.b32 {%r7}, [%r1];", "misaligned access"),
        ("mov.b32 %r7, global_smem;\nld.shared.b32 %r7, [%r7];", "read of what nobody wrote"),
        ("rem.s32 %r7, %r1, %r1;", "integer division by 0"),
        ("setp.lt.u32 %p1, %r1, 5;\n@%p1 ret;\nbar.sync 0;", "threads have ended while others"),
        (
            "setp.lt.u32 %p1, %r1, 5;\n@%p1 bra $A;\nbar.sync 0;\n$A:\nbar.sync 0;",
            "threads meet at different barriers",
        ),
        (
            "setp.lt.u32 %p1, %r1, 5;\n@%p1 ret;\nshfl.sync.bfly.b32 %r7, %r1, 1, 31, -1;",
            "threads never end",
        ),
        (
            "setp.lt.u32 %p1, %r1, 5;\n@%p1 bar.sync 0;\nshfl.sync.bfly.b32 %r7, %r1, 1, 31, -1;",
            "threads never end",
        ),
    ],
)
def test_what_is_wrong_is_told(body: str, kind: str) -> None:
    _, found = launch(body, shared=128)
    assert any(finding.kind.startswith(kind) for finding in found.findings), kinds(found)


def test_a_loop_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MOST_STEPS", 1000)
    _, found = launch("$A:\nbra $A;", programs=2)
    assert kinds(found) == {("threads never end", "")}


@pytest.mark.parametrize(
    "statement",
    [
        "tanh.approx.f32 %r7, %r1;",
        "ld.global.nc.b32 {%r7}, [%rd3];",
        "ld.global.v8.b32 {%r7, %r8}, [%rd3];",
        "bar.sync 1;",
        "bar.warp.sync -1;",
        "shfl.sync.bfly.b32 %r7, %r1, 1, 15, -1;",
        "shfl.sync.bfly.b32 %r7|%p1, %r1, 1, 31, -1;",
        "@%p1 shfl.sync.bfly.b32 %r7, %r1, 1, 31, -1;",
        "atom.global.add.f32 %r7, [%rd3], %r1;",
        "mov.u32 %r7, %clock;",
        "mov.u64 %rd7, elsewhere;",
    ],
)
def test_what_is_unknown_is_named(statement: str) -> None:
    with pytest.raises(UnknownInstructionError) as raised:
        kernel(statement)
    assert statement.rstrip(";") in str(raised.value)
