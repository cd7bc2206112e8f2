"""The kernel's compiled code against the float64 oracle, with threads that run ahead of others."""

from __future__ import annotations

import pytest

from .requirements import require_emulator

require_emulator()

from tolerances import COMPILED_GRADIENT, TOLERANCES  # noqa: E402

from .cases import CASES, compare, errors  # noqa: E402
from .launcher import EmulatedGPU  # noqa: E402

# Half a minute and more than a minute of compiling: `python -m emulator every`.
BY_HAND = ("window 33", "window 33, everything")


@pytest.mark.parametrize("name", [name for name in CASES if name not in BY_HAND])
def test_every_schedule_gives_the_oracles_numbers(name: str) -> None:
    case = CASES[name]
    gpus = [EmulatedGPU(schedule=schedule) for schedule in ("in order", "bursts", "splits")]
    outcomes = [compare(case, gpu) for gpu in gpus]
    assert [problem for gpu in gpus for problem in gpu.problems] == []
    found = errors(case, outcomes[0])
    assert found.value <= TOLERANCES[case.dtype].value
    assert found.gradient <= COMPILED_GRADIENT[case.dtype]
    assert all(outcome.same_bits(outcomes[0]) for outcome in outcomes)


@pytest.mark.parametrize("name", ["default", "everything"])
def test_an_older_chip_gives_the_oracles_numbers(name: str) -> None:
    """In bits of its own: for sm_80 the compiler joins other products with sums."""
    case, gpu = CASES[name], EmulatedGPU(80, "single")
    found = errors(case, compare(case, gpu))
    assert gpu.problems == []
    assert found.value <= TOLERANCES[case.dtype].value
    assert found.gradient <= COMPILED_GRADIENT[case.dtype]


def test_programs_take_several_tiles() -> None:
    gpu = EmulatedGPU()
    compare(CASES["two images, one program"], gpu)
    (launch,) = gpu.launches
    assert launch.programs == 1
    assert launch.tiles == 6


def test_approximate_instructions_may_be_off() -> None:
    """A GPU's quotients and roots are off by a unit or two in the last place."""
    case = CASES["two images, one program"]
    exact, noisy = (compare(case, EmulatedGPU(noise=noise)) for noise in (0, 2))
    assert not noisy.same_bits(exact)
    assert errors(case, noisy).gradient <= COMPILED_GRADIENT[case.dtype]
