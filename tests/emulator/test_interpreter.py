"""The emulator and Triton's interpreter agree to the bit where compiled code joins nothing."""

from __future__ import annotations

from .requirements import require_emulator

require_emulator()

from .cases import BOTH, Case, compare  # noqa: E402
from .interpreted import interpreted  # noqa: E402
from .launcher import EmulatedGPU  # noqa: E402

# Maps alone: the interpreter sums the losses of a tile in another order. Small: it is slow.
CASE = Case((1, 1, 6, 9), 3, "same", maps=True, gradients=BOTH)


def test_the_same_bits() -> None:
    found = interpreted(CASE)
    assert compare(CASE, EmulatedGPU(fusion=False)).same_bits(found)
    # As it is launched it rounds otherwise, which the interpreter cannot show.
    assert not compare(CASE, EmulatedGPU()).same_bits(found)
