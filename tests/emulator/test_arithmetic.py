"""What the machine computes, against torch and Python."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from .requirements import require_emulator

require_emulator()

from .small_kernels import computed  # noqa: E402


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
