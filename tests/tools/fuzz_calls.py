"""Random calls of the public functions for `fuzz_backends`: most valid, some not, all hostile."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64)
NOT_FLOATS = (torch.uint8, torch.int64, torch.bool, torch.complex64)
SIDES = (1, 2, 3, 4, 5, 7, 10, 11, 12, 16, 23, 40)


class Call(NamedTuple):
    function: str
    x: Tensor
    y: Tensor
    mask: Tensor | None
    options: dict[str, Any]
    story: str

    def __repr__(self) -> str:
        shapes = f"{tuple(self.x.shape)} {self.x.dtype}, {tuple(self.y.shape)} {self.y.dtype}"
        mask = None if self.mask is None else f"{tuple(self.mask.shape)} {self.mask.dtype}"
        return f"{self.function}({shapes}, mask={mask}, {self.options}) {self.story}"


def random_call(draw: random.Random) -> Call:
    generator = torch.Generator().manual_seed(draw.getrandbits(62))
    valid = draw.random() < 0.85
    shape = (draw.randint(1, 3), draw.choice((1, 2, 3, 4)), draw.choice(SIDES), draw.choice(SIDES))
    if draw.random() < 0.15:
        # A volume.
        shape = (*shape[:2], *(draw.choice(SIDES[:-3]) for _ in range(3)))
    data_range = draw.choice((1.0, 1.0, 1, 255.0, 255, 2.0, 65535.0, 1e-6, 1e6, 1e-20, 1e20))
    if draw.random() < 0.02:
        data_range = draw.choice((1e-44, 1e-50, 1e-300, 5e-324, 1e38, 1e50, 1e300))
    kinds = [draw.choice(IMAGES), draw.choice(IMAGES)]
    x, y = (image(kind, shape, generator) * data_range for kind in kinds)
    if draw.random() < 0.15:
        y, kinds[1] = x.clone(), "the same"
    elif draw.random() < 0.15:
        y = x + draw.choice((1e-7, 1e-4, 0.1)) * data_range * torch.randn(
            shape, generator=generator
        )
        kinds[1] = "the same and noise"
    poison = draw.choice((None,) * 12 + (float("nan"), float("inf"), -float("inf")))
    if poison is not None:
        x.view(-1)[draw.randrange(x.numel())] = poison
    dtype = draw.choice(FLOATS)
    dtypes = (dtype, dtype) if draw.random() < 0.8 else (dtype, draw.choice(FLOATS))
    layouts = (draw.choice(LAYOUTS), draw.choice(LAYOUTS))
    x, y = (
        laid_out(picture.to(kind), layout)
        for picture, kind, layout in zip((x, y), dtypes, layouts, strict=True)
    )
    size = min(shape[2:])
    fitting = [s for s in (1, 3, 5, 7, 11) if s <= size]
    options: dict[str, Any] = {
        "data_range": data_range,
        "window_size": draw.choice(fitting),
        "sigma": draw.choice(
            (1.5, 1.5, 0.3, 0.8, 2.5, 8.0, 1e-3, 1e3, 1e-30, 1e-60, 1e60, torch.tensor(1.1))
        ),
        "padding": draw.choice(("valid", "same")),
    }
    if draw.random() < 0.2:
        options["k1"] = draw.choice((0.01, 1e-3, 1.0))
        options["k2"] = draw.choice((0.03, 1e-2, 1.0))
    function = draw.choice(("aw_ssim", "ssim", "ssim_components", "AWSSIMLoss", "SSIMLoss"))
    if function != "ssim_components":
        options["reduction"] = draw.choice(("mean", "sum", "none"))
    if function.lower().startswith("aw"):
        options["weights"] = draw.choice(
            ((1, 1, 1), (0.2, 0.3, 0.5), (1, 0, 0), (0, 1, 0), (0, 0, 1), "carpet", (1e-30, 1, 1))
        )
    mask = None
    if draw.random() < 0.3:
        mask = random_mask(draw, shape, generator)
    call = Call(function, x, y, mask, options, f"{kinds} {poison} {layouts}")
    return call if valid else spoilt(call, draw)


IMAGES = ("noise", "flat", "black", "white", "binary", "ramp", "tiny deviation", "bright", "dot",
          "denormal", "negative", "large", "huge")  # fmt: skip


def image(kind: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """An image in units of the data range; the last kinds leave [0, 1]."""
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    level = uniform.flatten()[0].item()
    dot = torch.zeros_like(uniform)
    dot[(0, 0, *(side // 2 for side in shape[2:]))] = 1
    return {
        "noise": uniform,
        "flat": torch.full_like(uniform, level),
        "black": torch.zeros_like(uniform),
        "white": torch.ones_like(uniform),
        "binary": (uniform < level).double(),
        "ramp": torch.linspace(0, 1, shape[-1], dtype=torch.float64).expand(shape).clone(),
        "tiny deviation": level + 1e-6 * uniform,
        "bright": 0.9 + 1e-3 * uniform,
        "dot": dot,
        "denormal": 1e-40 * uniform,
        "negative": -uniform,
        "large": 1e3 * uniform,
        "huge": 1e30 * uniform,
    }[kind]


LAYOUTS = ("contiguous", "contiguous", "channels_last", "transposed", "strided", "offset",
           "expanded")  # fmt: skip


def laid_out(picture: Tensor, layout: str) -> Tensor:
    """The same numbers in other strides; `expanded` repeats the first image instead."""
    if layout == "channels_last":
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        return picture.contiguous(memory_format=formats[picture.dim()])
    if layout == "transposed":
        return picture.transpose(2, 3).contiguous().transpose(2, 3)
    if layout == "strided":
        return picture.repeat_interleave(2, dim=-1)[..., ::2]
    if layout == "offset":
        return torch.nn.functional.pad(picture, (3, 1, 2, 0))[..., 2:, 3:-1]
    if layout == "expanded":
        return picture[:1].expand_as(picture)
    return picture.contiguous()


def random_mask(draw: random.Random, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    channels = draw.choice((1, shape[1]))
    uniform = torch.rand((shape[0], channels, *shape[2:]), generator=generator)
    kind = draw.choice(("bool", "soft", "sparse", "one", "huge", "tiny", "half"))
    return {
        "bool": uniform > 0.5,
        "soft": uniform,
        "sparse": (uniform > 0.95).float(),
        "one": torch.ones_like(uniform),
        "huge": 1e6 * uniform,
        "tiny": 1e-6 * uniform,
        "half": (uniform > 0.3).half(),
    }[kind]


def spoilt(call: Call, draw: random.Random) -> Call:
    """The call with one thing wrong."""
    wrong_options: dict[str, tuple[Any, ...]] = {
        "data_range": (0, -1.0, float("nan"), float("inf"), "255", None, True),
        "window_size": (0, -3, 2, 4, 2.5, "11", 99, None, True),
        "sigma": (0, -1.0, float("nan"), "1.5", torch.ones(2), torch.tensor(1), None),
        "padding": ("reflect", "", None, 1),
        "k1": (-1.0, float("nan"), "0.01"),
        "k2": (-1.0, float("inf"), None),
    }
    if call.function != "ssim_components":
        wrong_options["reduction"] = ("average", None, "")
    if call.function.lower().startswith("aw"):
        wrong_options["weights"] = (
            (1, 1),
            (0, 0, 0),
            (1, -1, 1),
            "carpets",
            None,
            1.0,
            ("1", 1, 1),
        )
    way = draw.choice(("option", "option", "dtype", "shape", "mask", "not a tensor"))
    if way == "option":
        name = draw.choice(sorted(wrong_options))
        return call._replace(options={**call.options, name: draw.choice(wrong_options[name])})
    if way == "dtype":
        return call._replace(x=call.x.nan_to_num(0, 0, 0).to(draw.choice(NOT_FLOATS)))
    if way == "shape":
        return call._replace(
            y=draw.choice((call.y[0], call.y[..., :0], call.y[:0], call.y[:, :0], call.y[None],
                           torch.cat([call.y, call.y])))
        )  # fmt: skip
    if way == "mask":
        n, c, h, *others = call.x.shape
        one = torch.ones(n, 1, h, *others)
        wrong: tuple[Any, ...] = (
            0 * one, -one, torch.ones(n, c + 1, h, *others), torch.ones(h, *others),
            one.to(torch.uint8), float("nan") * one, [[1]], torch.ones(n, 1, h + 1, *others),
        )  # fmt: skip
        return call._replace(mask=draw.choice(wrong))
    return call._replace(y=draw.choice((None, 1.0, call.y.tolist())))
