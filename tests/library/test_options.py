"""One object holds the options: what repeats them agrees with it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from cases import PAIRS

from aw_ssim import AWSSIMLoss, MSAWSSIMLoss, MSSSIMLoss, SSIMLoss, aw_ssim, ssim, ssim_components
from aw_ssim.backends.operators import compare
from aw_ssim.options import Options

# What a signature leaves out, beside `product`, which tells the two families apart, and `l1`, which
# is `CombinedL1Loss`.
PUBLIC: dict[Callable[..., Any], set[str]] = {
    AWSSIMLoss: set(),
    SSIMLoss: {"weights"},
    MSAWSSIMLoss: set(),
    MSSSIMLoss: {"weights"},
    aw_ssim: set(),
    ssim: {"weights"},
    ssim_components: {"weights", "reduction"},
}


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)
def test_public_signatures_have_the_options_in_order_with_their_defaults(
    function: Callable[..., Any],
) -> None:
    left_out = PUBLIC[function] | {"product", "l1"}
    expected = {k: v for k, v in Options._field_defaults.items() if k not in left_out}
    parameters = inspect.signature(function).parameters
    found = {name: p.default for name, p in parameters.items() if name in Options._fields}
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize("kind", [AWSSIMLoss, SSIMLoss])
def test_a_loss_has_every_option_as_a_typed_attribute(kind: type[AWSSIMLoss | SSIMLoss]) -> None:
    assert set(Options._fields) <= set(get_type_hints(kind))
    assert kind().options() == Options(product=kind is SSIMLoss)


def test_the_operator_takes_every_option_by_its_name() -> None:
    names = [argument.name for argument in compare._schema.arguments]
    assert tuple(names[-len(Options._fields) :]) == Options._fields


def test_changed_attributes_are_checked_and_used() -> None:
    loss = AWSSIMLoss()
    loss.reduction = "none"
    assert loss(*PAIRS["noisy"]).dim() == 4
    loss.padding = "reflect"
    with pytest.raises(
        ValueError, match="padding: expected one of 'valid', 'same', 'zeros', got 'reflect'"
    ):
        loss(*PAIRS["noisy"])
