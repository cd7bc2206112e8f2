"""The emulator and Triton's interpreter agree to the bit where compiled code joins nothing."""

from __future__ import annotations

import pytest

from .requirements import require_emulator

require_emulator()

from .cases import BOTH, Case, Outcome, compare  # noqa: E402
from .interpreted import interpreted  # noqa: E402
from .launcher import EmulatedGPU  # noqa: E402

# Small: the interpreter is slow.
CASES = {
    "additive": Case((1, 1, 6, 9), 3, "same", gradients=BOTH),
    "masked": Case((1, 1, 8, 10), 3, "same", masked=True, gradients=BOTH),
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return dict(zip(CASES, interpreted(list(CASES.values())), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits(outcomes: dict[str, Outcome], name: str) -> None:
    case = CASES[name]
    assert compare(case, EmulatedGPU(fusion=False)).same_bits(outcomes[name])
    # As it is launched it rounds otherwise, which the interpreter cannot show.
    assert not compare(case, EmulatedGPU()).same_bits(outcomes[name])
