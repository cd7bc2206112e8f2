"""Whether the numba kernel can be used here, and if not, why; numba is imported only to ask."""

from __future__ import annotations

import functools

OLDEST = (0, 61)
# Rows of sums have room for windows up to this.
LARGEST_WINDOW = 33


def why_not_numba() -> str:
    """The reason why images cannot go through the kernel; empty if they can."""
    return _why_not()


# As in `triton_support`: a constant to torch.compile.
why_not_numba._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def _why_not() -> str:
    try:
        import numba
    except ImportError as error:
        return f"numba cannot be imported ({error}); the extra aw_ssim[cpu] brings it"
    release = tuple(int(part) for part in numba.__version__.split(".")[:2])
    if release < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return f"the kernel needs numba {oldest} or later, and {numba.__version__} is installed"
    return ""
