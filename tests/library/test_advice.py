"""What an error of an image advises, followed: the call then works."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aw_ssim import aw_ssim

X = torch.linspace(0, 1, 3 * 16 * 17).reshape(1, 3, 16, 17)
GREY = torch.linspace(0, 1, 16 * 17).reshape(16, 17)
# What is passed, the advice in the error, and what comes of following it.
ADVICE: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "grey": (GREY, "x[None, None]", lambda x: x[None, None]),
    "unbatched": (X[0], "x[None]", lambda x: x[None]),
    "grey batch": (GREY.expand(5, 16, 17), "x[:, None]", lambda x: x[:, None]),
    "H x W x C": (
        X[0].permute(1, 2, 0),
        "x.permute(2, 0, 1)[None]",
        lambda x: x.permute(2, 0, 1)[None],
    ),
    "N x H x W x C": (
        X.permute(0, 2, 3, 1),
        "x.permute(0, 3, 1, 2)",
        lambda x: x.permute(0, 3, 1, 2),
    ),
    "volume D x H x W": (
        GREY.expand(12, 16, 17),
        "for a volume D x H x W x[None, None]",
        lambda x: x[None, None],
    ),
    "volume of few slices": (
        X[:, :, None].expand(1, 3, 7, 16, 17),
        "x.transpose(1, 2).flatten(0, 1)",
        lambda x: x.transpose(1, 2).flatten(0, 1),
    ),
    "N x D x H x W x C": (
        X.permute(0, 2, 3, 1)[:, None].expand(1, 12, 16, 17, 3),
        "x.permute(0, 4, 1, 2, 3)",
        lambda x: x.permute(0, 4, 1, 2, 3),
    ),
    "video N x T x C x H x W": (
        X[:, None].expand(1, 5, 3, 16, 17),
        "use x.flatten(0, 1)",
        lambda x: x.flatten(0, 1),
    ),
    "volumes over time": (
        X[:, None, :, None].expand(1, 5, 3, 12, 16, 17),
        "N x T x C x D x H x W use x.flatten(0, 1)",
        lambda x: x.flatten(0, 1),
    ),
    "array": (X.numpy(), "torch.as_tensor(x)", torch.as_tensor),
    "colour picture": (
        Image.fromarray((255 * X[0].permute(1, 2, 0)).byte().numpy()),
        "torch.as_tensor(numpy.array(x)) / 255, then .permute(2, 0, 1)[None]",
        lambda x: (torch.as_tensor(np.array(x)) / 255).permute(2, 0, 1)[None],
    ),
    "uint8": ((255 * X).byte(), "x.float() / 255", lambda x: x.float() / 255),
    "float8": (X.to(torch.float8_e4m3fn), "x.float()", lambda x: x.float()),
    "bool": (X > 0.5, "x.float()", lambda x: x.float()),
    "complex": (X.cfloat(), "x.abs()", lambda x: x.abs()),
    "sparse": (X.to_sparse(), "x.to_dense()", lambda x: x.to_dense()),
    "nested": (
        torch.nested.nested_tensor([X, X], layout=torch.jagged),
        "x.unbind()",
        lambda x: x.unbind()[0],
    ),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("case", ADVICE.values(), ids=ADVICE)
def test_advice_works(case: tuple[Any, str, Callable[[Any], Any]]) -> None:
    given, advice, follow = case
    with pytest.raises((TypeError, ValueError), match=re.escape(advice)):
        aw_ssim(given, given)
    image = follow(given)
    assert float(aw_ssim(image, image)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "given", "advice", "followed"),
    [
        ("window_size", (11, 7), "use one value, such as window_size=11", 11),
        ("window_size", 10, "use 9 or 11", 9),
        ("sigma", [1.5, 0.5], "use one value, such as sigma=1.5", 1.5),
    ],
)
def test_advice_on_windows_works(name: str, given: Any, advice: str, followed: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(advice)):
        aw_ssim(X, X, **{name: given})
    assert float(aw_ssim(X, X, **{name: followed})) == pytest.approx(1)
