"""Images and weights that hypothesis draws."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

weights = st.tuples(*[st.floats(0, 10)] * 3).filter(lambda triple: sum(triple) > 1e-3)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two images in [0, 1] of one shape: noise of any contrast, flats, ramps, edges, copies."""
    shape = [draw(st.integers(*bounds)) for bounds in ((1, 3), (1, 3), (5, 14), (5, 14))]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def image() -> Tensor:
        kind = draw(st.sampled_from(["noise", "flat", "ramp", "edge", "binary"]))
        level = draw(st.floats(0, 1, width=32))
        deviation = draw(st.sampled_from([1e-7, 1e-5, 1e-3, 1e-1]))
        flat = torch.full(shape, level)
        ramp = torch.linspace(0, 1, shape[-1]).expand(shape)
        return {
            "noise": (flat + deviation * torch.randn(shape, generator=generator)).clamp(0, 1),
            "flat": flat,
            "ramp": (flat + deviation * ramp).clamp(0, 1),
            "edge": torch.where(ramp > 0.5, flat, 1 - flat),
            "binary": (torch.rand(shape, generator=generator) < level).float(),
        }[kind]

    x = image()
    return x, draw(st.sampled_from([x.clone(), image()]))
