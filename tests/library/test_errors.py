"""Bad input: the exception's type, and a text with what was expected and what came."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from triton_release import require_triton

from aw_ssim import (
    AWSSIMLoss,
    SigmaSchedule,
    SSIMLoss,
    aw_ssim,
    category_weights,
    ssim,
    ssim_components,
)

X = torch.linspace(0, 1, 3 * 16 * 17).reshape(1, 3, 16, 17)
MASK = torch.ones(1, 1, 16, 17)
FUNCTIONS: list[Callable[..., Any]] = [
    aw_ssim,
    ssim,
    ssim_components,
    lambda x, y, mask=None: AWSSIMLoss()(x, y, mask),
    lambda x, y, mask=None: SSIMLoss()(x, y, mask),
]
NAMES = ["aw_ssim", "ssim", "ssim_components", "AWSSIMLoss", "SSIMLoss"]

# images: exception, fragments of the message in order (as regular expressions)
IMAGES: dict[str, tuple[Any, Any, type[Exception], tuple[str, ...]]] = {
    "array": (np.zeros((1, 3, 16, 17)), X, TypeError, ("Tensor", "ndarray")),
    "second is a list": (X, [0.5], TypeError, ("Tensor", "list")),
    "none": (X, None, TypeError, ("Tensor", "None")),
    "no batch": (X[0], X[0], ValueError, (r"N x C x H x W", r"3\D+16\D+17")),
    "video": (X[None], X[None], ValueError, ("videos", "depth", r"1\D+1\D+3\D+16\D+17")),
    "six dimensions": (X[None, None], X[None, None], ValueError, ("N x C x D x H x W", "6|1, 1")),
    "shapes": (X, X[..., :16], ValueError, (r"16\D+17", r"16\D+16")),
    "channels": (X, X[:, :1], ValueError, (r"1\D+3\D+16\D+17", r"1\D+1\D+16\D+17")),
    "uint8": (X.byte(), X.byte(), TypeError, ("uint8", "255")),
    "second is uint8": (X, X.byte(), TypeError, ("uint8", "255")),
    "int64": (X.long(), X.long(), TypeError, ("float", "int64")),
    "bool": (X.bool(), X.bool(), TypeError, ("float", "bool")),
    "complex": (X.cfloat(), X.cfloat(), TypeError, ("float", "complex64")),
    "devices": (X, X.to("meta"), ValueError, ("device", "cpu", "meta")),
    "empty batch": (X[:0], X[:0], ValueError, (r"0\D+3\D+16\D+17",)),
    "no channels": (X[:, :0], X[:, :0], ValueError, (r"1\D+0\D+16\D+17",)),
    "small": (X[..., :10], X[..., :10], ValueError, ("window_size", "11", r"16\D+10")),
}
MASKS: dict[str, tuple[Any, type[Exception], tuple[str, ...]]] = {
    "not a tensor": (np.ones((1, 1, 16, 17)), TypeError, ("mask", "Tensor", "ndarray")),
    "rank": (MASK[0], ValueError, ("mask", r"1\D+1\D+16\D+17", r"1\D+16\D+17")),
    "size": (MASK[..., :16], ValueError, ("mask", r"1\D+1\D+16\D+17", r"1\D+1\D+16\D+16")),
    "channels": (X[:, :2], ValueError, ("mask", r"1\D+3\D+16\D+17", r"1\D+2\D+16\D+17")),
    "batch": (MASK.expand(2, 1, 16, 17), ValueError, ("mask", r"2\D+1\D+16\D+17")),
    "int64": (MASK.long(), TypeError, ("mask", "bool", "int64")),
    "uint8": (MASK.byte(), TypeError, ("mask", "bool", "uint8")),
    "complex": (MASK.cfloat(), TypeError, ("mask", "float", "complex64")),
    "device": (MASK.to("meta"), ValueError, ("mask", "cpu", "meta")),
    "all zero": (0 * MASK, ValueError, ("mask",)),
    "negative": (-MASK, ValueError, ("mask", "negative")),
}
NUMBERS: list[tuple[Any, type[Exception]]] = [
    (math.nan, ValueError),
    (math.inf, ValueError),
    (-1.0, ValueError),
    ("1", TypeError),
    (None, TypeError),
    ([1.0], TypeError),
]
# options shared by the functions and the modules: name, value, exception, fragments
OPTIONS: list[tuple[str, Any, type[Exception], tuple[str, ...]]] = [
    *(("data_range", value, error, ("data_range", "number")) for value, error in NUMBERS),
    ("data_range", 0, ValueError, ("data_range", "0")),
    *(("sigma", value, error, ("sigma", "number")) for value, error in NUMBERS),
    ("sigma", 0.0, ValueError, ("sigma", "0")),
    ("sigma", torch.tensor([1.0, 2.0]), ValueError, ("sigma", "2")),
    ("sigma", torch.tensor(2), TypeError, ("sigma", "float", "int64")),
    *(("k1", value, error, ("k1", "number")) for value, error in NUMBERS),
    *(("k2", value, error, ("k2", "number")) for value, error in NUMBERS),
    ("window_size", 10, ValueError, ("window_size", "odd", "10")),
    ("window_size", 0, ValueError, ("window_size", "0")),
    ("window_size", -3, ValueError, ("window_size", "-3")),
    ("window_size", 11.0, TypeError, ("window_size", "11.0|float")),
    ("window_size", "11", TypeError, ("window_size", "'11'|str")),
    ("window_size", True, TypeError, ("window_size", "True|bool")),
    ("padding", "reflect", ValueError, ("padding", "valid", "same", "reflect")),
    ("padding", None, ValueError, ("padding", "valid", "same", "None")),
    ("backend", "cuda", ValueError, ("backend", "auto", "torch", "analytic", "cuda")),
]
REDUCED: list[tuple[str, Any, type[Exception], tuple[str, ...]]] = [
    ("reduction", "average", ValueError, ("reduction", "mean", "sum", "none", "average")),
    ("reduction", None, ValueError, ("reduction", "mean", "sum", "none", "None")),
]
WEIGHTS: list[tuple[str, Any, type[Exception], tuple[str, ...]]] = [
    ("weights", (-1, 1, 1), ValueError, ("weights", "-1")),
    ("weights", (0, 0, 0), ValueError, ("weights", "0")),
    ("weights", (1, 1), ValueError, ("weights", "three|3", "2")),
    ("weights", (1, 1, 1, 1), ValueError, ("weights", "three|3", "4")),
    ("weights", (1, math.nan, 1), ValueError, ("weights", "finite", "nan")),
    ("weights", (1, 1, math.inf), ValueError, ("weights", "finite", "inf")),
    ("weights", (1, "a", 1), TypeError, ("weights", "'a'|str")),
    ("weights", 1.0, TypeError, ("weights", "three|3", "1.0|float")),
    ("weights", None, TypeError, ("weights", "three|3", "None")),
    ("weights", "capret", ValueError, ("capret", "carpet")),
    ("weights", "Tiles", ValueError, ("Tiles", "tile")),
]


def option_id(case: tuple[str, Any, type[Exception], tuple[str, ...]]) -> str:
    return f"{case[0]}={case[1]}"


def assert_says(caught: pytest.ExceptionInfo[Exception], fragments: tuple[str, ...]) -> None:
    """All fragments, in any order, in a sentence a reader can use."""
    message = str(caught.value)
    for fragment in fragments:
        assert re.search(fragment, message), f"{fragment!r} is not in {message!r}"


@pytest.mark.parametrize("function", FUNCTIONS, ids=NAMES)
@pytest.mark.parametrize("case", IMAGES.values(), ids=IMAGES)
def test_images(
    case: tuple[Any, Any, type[Exception], tuple[str, ...]], function: Callable[..., Any]
) -> None:
    x, y, error, fragments = case
    with pytest.raises(error) as caught:
        function(x, y)
    assert_says(caught, fragments)


def test_losses_name_their_own_arguments() -> None:
    with pytest.raises(TypeError, match="prediction"):
        AWSSIMLoss()(X.byte(), X)
    with pytest.raises(TypeError, match="target"):
        SSIMLoss()(X, X.byte())


@pytest.mark.parametrize(("padding", "least"), [("valid", 11), ("same", 6), ("zeros", 1)])
def test_image_smaller_than_the_window(padding: str, least: int, backend: str) -> None:
    """What fits, or can be mirrored, is compared; one pixel less is an error."""
    small = X[..., :least, : least + 1]
    assert float(aw_ssim(small, small, padding=padding, backend=backend)) == pytest.approx(1)
    if least > 1:
        smaller = X[..., : least - 1, :]
        with pytest.raises(ValueError, match=f"at least {least} .window_size"):
            aw_ssim(smaller, smaller, padding=padding, backend=backend)


@pytest.mark.parametrize("function", FUNCTIONS, ids=NAMES)
@pytest.mark.parametrize("case", MASKS.values(), ids=MASKS)
def test_masks(
    case: tuple[Any, type[Exception], tuple[str, ...]], function: Callable[..., Any]
) -> None:
    mask, error, fragments = case
    with pytest.raises(error) as caught:
        function(X, X, mask=mask)
    assert_says(caught, fragments)


@pytest.mark.parametrize("case", OPTIONS + REDUCED + WEIGHTS, ids=option_id)
def test_options_of_the_function(case: tuple[str, Any, type[Exception], tuple[str, ...]]) -> None:
    name, value, error, fragments = case
    with pytest.raises(error) as caught:
        aw_ssim(X, X, **{name: value})
    assert_says(caught, fragments)


@pytest.mark.parametrize("function", [ssim, ssim_components])
@pytest.mark.parametrize("case", OPTIONS, ids=option_id)
def test_shared_options(
    case: tuple[str, Any, type[Exception], tuple[str, ...]], function: Callable[..., Any]
) -> None:
    name, value, error, fragments = case
    with pytest.raises(error) as caught:
        function(X, X, **{name: value})
    assert_says(caught, fragments)


@pytest.mark.parametrize("case", OPTIONS + REDUCED + WEIGHTS, ids=option_id)
def test_a_module_refuses_its_options_at_once(
    case: tuple[str, Any, type[Exception], tuple[str, ...]],
) -> None:
    name, value, error, fragments = case
    with pytest.raises(error) as caught:
        AWSSIMLoss(**{name: value})
    assert_says(caught, fragments)
    if name != "weights":
        with pytest.raises(error):
            SSIMLoss(**{name: value})


def test_triton_says_why_it_refuses_the_cpu() -> None:
    require_triton()
    with pytest.raises(ValueError, match="on the CPU") as caught:
        aw_ssim(X, X, backend="triton")
    assert_says(caught, ("'triton'", "TRITON_INTERPRET=1", "backend='torch'"))


@pytest.mark.parametrize("option", ["sigma", "mask"])
def test_the_closed_form_refuses_gradients_that_it_does_not_have(option: str) -> None:
    value = {"sigma": torch.tensor(1.5), "mask": MASK}[option].clone().requires_grad_()
    with pytest.raises((ValueError, RuntimeError), match=r"backend=.torch."):
        aw_ssim(X.clone().requires_grad_(), X, **{option: value}, backend="analytic")


@pytest.mark.parametrize(
    ("name", "nearest"), [("hazlenut", "hazelnut"), ("Leather", "leather"), ("woods", "wood")]
)
def test_unknown_categories_name_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=nearest) as caught:
        category_weights(name)
    assert name in str(caught.value)


def test_a_category_like_no_other_is_told_all_of_them() -> None:
    with pytest.raises(ValueError, match="zzz") as caught:
        category_weights("zzz")
    assert_says(caught, ("carpet", "leather", "wood", "tile", "hazelnut", "pill"))


@pytest.mark.parametrize(
    ("arguments", "error", "fragments"),
    [
        ({"start": 0.0, "increment": 0.1}, ValueError, ("start", "0")),
        ({"start": -1.0, "increment": 0.1}, ValueError, ("start", "-1")),
        ({"start": math.nan, "increment": 0.1}, ValueError, ("start", "nan")),
        ({"start": "a", "increment": 0.1}, TypeError, ("start", "'a'|str")),
        ({"start": 0.5, "increment": -0.1}, ValueError, ("increment", "-0.1")),
        ({"start": 0.5, "increment": math.inf}, ValueError, ("increment", "inf")),
        ({"start": 0.5, "increment": None}, TypeError, ("increment", "None")),
        ({"start": 0.5, "increment": 0.1, "maximum": 0.4}, ValueError, ("maximum", "0.4", "0.5")),
        ({"start": 0.5, "increment": 0.1, "maximum": math.nan}, ValueError, ("maximum", "nan")),
        ({"start": 0.5, "increment": 0.1, "eval_sigma": 0.0}, ValueError, ("eval_sigma", "0")),
    ],
)
def test_schedules(
    arguments: dict[str, Any], error: type[Exception], fragments: tuple[str, ...]
) -> None:
    with pytest.raises(error) as caught:
        SigmaSchedule(**arguments)
    assert_says(caught, fragments)


@pytest.mark.parametrize(
    ("arguments", "error", "fragments"),
    [
        ((0.5, 2.5, 0), ValueError, ("steps_per_epoch", "0")),
        ((0.5, 2.5, -4), ValueError, ("steps_per_epoch", "-4")),
        ((0.5, 2.5, 1.5), TypeError, ("steps_per_epoch", "1.5|float")),
        ((0.0, 2.5, 10), ValueError, ("start", "0")),
        ((2.5, 0.5, 10), ValueError, ("start|end", "2.5", "0.5")),
        ((0.5, math.inf, 10), ValueError, ("end", "inf")),
    ],
)
def test_schedules_per_epoch(
    arguments: tuple[Any, Any, Any], error: type[Exception], fragments: tuple[str, ...]
) -> None:
    with pytest.raises(error) as caught:
        SigmaSchedule.per_epoch(*arguments)
    assert_says(caught, fragments)
