"""Threads and memory of the machine, a few lines of PTX at a time."""

from __future__ import annotations

import pytest
import torch

from .requirements import require_emulator

require_emulator()

from . import machine  # noqa: E402
from .machine import SCHEDULES  # noqa: E402
from .ptx import UnknownInstructionError  # noqa: E402
from .small_kernels import kernel, kinds, launch  # noqa: E402


def test_vectors_shuffles_and_predicates() -> None:
    source = torch.arange(32 * 4, dtype=torch.int32).view(32, 4)
    body = """
    ld.global.v4.b32 {%r10, %r11, %r12, %r13}, [%rd3 + 0];
    shfl.sync.bfly.b32 %r14, %r10, 5, 31, -1;
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
        assert torch.equal(result[:, 0], source[torch.arange(32) ^ 5, 0])
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


@pytest.mark.parametrize(
    ("distance", "scope"), [(1, "between lanes of a warp"), (32, "between warps")]
)
def test_a_write_after_a_read(distance: int, scope: str) -> None:
    """After all threads have read, some write what others have read."""
    body = f"""
    st.global.b32 [%rd4], {{%r1}};
    bar.sync 0;
    xor.b32 %r8, %r1, {distance};
    mad.wide.u32 %rd6, %r8, 16, %rd2;
    ld.global.b32 {{%r9}}, [%rd6];
    BARRIER
    st.global.b32 [%rd4], {{%r9}};
    """
    _, found = launch(body.replace("BARRIER", ""), threads=64)
    assert ("write after read without a barrier", scope) in kinds(found)
    _, found = launch(body.replace("BARRIER", "bar.sync 0;"), threads=64)
    assert found.findings == []


def test_a_write_after_a_read_of_another_program() -> None:
    body = "mad.wide.u32 %rd6, %r2, 16, %rd2;\nld.global.b32 {%r9}, [%rd6 + 512];\n"
    _, found = launch(body + "st.global.b32 [%rd4], {%r1};", programs=2)
    assert ("write after read without a barrier", "between programs") in kinds(found)


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
