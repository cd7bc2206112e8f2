"""What is wrong with the kernel is found: its code, broken on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable
from unittest import mock

import pytest

from .requirements import require_emulator

require_emulator()

from aw_ssim.backends.triton_gpu import run  # noqa: E402

from .cases import BOTH, CASES, Case, compare, errors  # noqa: E402
from .launcher import EmulatedGPU  # noqa: E402
from .ptx import Program, Statement  # noqa: E402

FOUR_WARPS = CASES["four warps"]
ONE_WARP = Case((1, 1, 17, 30), 3, "same", gradients=BOTH)
# The kernel's own barriers, from top to bottom.
BARRIERS = ("after the zeros", "after the moments", "after the sums")


def statements(ptx: str, start: str, file: str = "kernel.py") -> list[Statement]:
    """Those of a file whose text starts so, in the order of its lines."""
    every = [
        one
        for one in Program(ptx).statements
        if one.source.startswith(f"{file}:") and re.match(start, one.text)
    ]
    return sorted(every, key=lambda one: int(one.source.split(":")[1]))


def replaced(ptx: str, statement: Statement, text: str) -> str:
    lines = ptx.splitlines()
    assert statement.text in lines[statement.line - 1]
    lines[statement.line - 1] = text
    return "\n".join(lines)


def without_barrier(number: int) -> Callable[[str], str]:
    def edit(ptx: str) -> str:
        barriers = statements(ptx, "bar.sync")
        assert len(barriers) == len(BARRIERS)
        return replaced(ptx, barriers[number], "")

    return edit


def broken(case: Case, edit: Callable[[str], str], schedule: str = "in order") -> list[str]:
    """The problems of the edited kernel."""
    gpu = EmulatedGPU(schedule=schedule, edit=edit)
    compare(case, gpu)
    return gpu.problems


@pytest.mark.parametrize("number", range(3), ids=BARRIERS)
@pytest.mark.parametrize("schedule", ["in order", "splits"])
@pytest.mark.parametrize(
    ("case", "scope"),
    [(FOUR_WARPS, "between warps"), (ONE_WARP, "between lanes of a warp")],
    ids=["four warps", "one warp"],
)
def test_every_barrier_of_the_kernel_is_missed(
    case: Case, scope: str, schedule: str, number: int
) -> None:
    problems = broken(case, without_barrier(number), schedule)
    kind = "write after write" if number == 0 else "read after write"
    races = [text for text in problems if text.startswith(f"{kind} without a barrier {scope}")]
    assert races, problems
    assert "scratch[" in races[0]
    # The line of the kernel or of what it calls, so that one finds it.
    assert re.search(r"(kernel|passes|exchange)\.py:\d+", races[0])


def test_lanes_that_run_ahead_spoil_the_numbers_of_one_warp() -> None:
    """Why one warp needs barriers too: lanes are threads of their own."""
    right = compare(ONE_WARP, EmulatedGPU())
    edit = without_barrier(1)
    assert compare(ONE_WARP, EmulatedGPU(schedule="in order", edit=edit)).same_bits(right)
    assert not compare(ONE_WARP, EmulatedGPU(schedule="splits", edit=edit)).same_bits(right)


def test_programs_that_share_scratch() -> None:
    def closer(ptx: str) -> str:
        (place,) = re.findall(r"((?:mul|mad)\.wide\.[su]32\s+%rd\d+, %r\d+, )(\d{4,})", ptx)
        return ptx.replace("".join(place), f"{place[0]}{int(place[1]) - 512}")

    problems = broken(FOUR_WARPS._replace(shape=(1, 2, 24, 128)), closer)
    assert any("between programs, scratch[" in text for text in problems), problems


def test_too_little_scratch() -> None:
    size = run._scratch_size
    with mock.patch.object(run, "_scratch_size", lambda *chosen: size(*chosen) - 4):
        problems = broken(FOUR_WARPS, str)
    assert any(text.startswith("access outside of every buffer") for text in problems), problems


def test_zeros_that_are_not_written() -> None:
    def edit(ptx: str) -> str:
        first = statements(ptx, r"@\S+ st.global")[0]
        return replaced(ptx, first, "")

    problems = broken(FOUR_WARPS, edit)
    assert any(text.startswith("read of what nobody wrote, scratch[") for text in problems)


def test_a_gradient_that_no_mask_holds_back() -> None:
    """Stores of other tiles' pixels too, and of what lies beyond the image."""

    def edit(ptx: str) -> str:
        last = statements(ptx, r"@\S+ st.global.b32")[-2]
        return replaced(ptx, last, last.text.partition(" ")[2] + ";")

    problems = broken(CASES["default"], edit)
    assert any("between programs, grad_x[" in text for text in problems), problems
    assert any("grad_x: " in text and "more than once" in text for text in problems), problems


def test_a_store_that_is_left_out() -> None:
    def edit(ptx: str) -> str:
        last = statements(ptx, r"@\S+ st.global.b32")[-2]
        return replaced(ptx, last, "")

    problems = broken(FOUR_WARPS, edit)
    assert any(text.startswith("grad_x: ") and "never written" in text for text in problems)


def test_a_wrong_sum() -> None:
    """The numbers are compared too."""

    def edit(ptx: str) -> str:
        return re.sub(r"(shfl\.sync\.bfly\.b32\s+%\w+, %\w+), 16,", r"\1, 8,", ptx, count=1)

    assert errors(FOUR_WARPS, compare(FOUR_WARPS, EmulatedGPU(edit=edit))).value > 1e-3


def test_a_barrier_of_tritons_own_is_missed() -> None:
    def edit(ptx: str) -> str:
        inside_the_sum = statements(ptx, "bar.sync", file="standard.py")
        return replaced(ptx, inside_the_sum[-1], "")

    problems = broken(FOUR_WARPS, edit)
    kind = "read after write without a barrier between warps, shared memory["
    assert any(text.startswith(kind) for text in problems), problems
