"""What settings may be: types and bounds, for command lines and for files you did not write."""

from __future__ import annotations

import dataclasses
import math
import reprlib
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from .errors import UserError


@dataclasses.dataclass(frozen=True)
class Bound:
    """What a value must satisfy, beside the field that holds it."""

    words: str
    holds: Callable[[Any], bool]


def between(low: float, high: float) -> Bound:
    """The largest values lie far above what is useful: neither a typing error nor a file from
    elsewhere should take all memory."""
    return Bound(f"be from {low:,} to {high:,}", lambda value: low <= value <= high)


def inside(low: float, high: float) -> Bound:
    return Bound(f"lie between {low} and {high}", lambda value: low < value < high)


RISING = Bound("be a least and a largest value, both positive", lambda v: 0 < v[0] <= v[1])


class Checked:
    """A frozen dataclass whose fields are of their types, and within the bounds beside them."""

    def __post_init__(self) -> None:
        kinds = typing.get_type_hints(type(self))
        annotations = typing.get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if not fits(value, kinds[name]):
                raise UserError(f"{name} must be {describe(kinds[name])}, got {brief(value)}")
            for bound in getattr(annotations[name], "__metadata__", ()):
                if value is not None and not bound.holds(value):
                    raise UserError(f"{name} must {bound.words}, got {brief(value)}")
        self.check()

    def check(self) -> None:
        """What concerns several fields; a UserError where they do not fit together."""


def brief(value: object) -> str:
    """A value for a message: a few lines of YAML can hold one that would print as gigabytes."""
    shortened = reprlib.Repr()
    shortened.maxlevel = 2
    return shortened.repr(value)


def fits(value: object, expected: Any) -> bool:
    """Whether a value is of an annotation's type; of numbers, whether it is finite too."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if expected in (int, float):
        kinds = (int, float) if expected is float else int
        # To Python, True is an int.
        number = isinstance(value, kinds) and not isinstance(value, bool)
        return number and -math.inf < value < math.inf
    return isinstance(value, expected)


def describe(expected: Any) -> str:
    """An annotation in words."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(one) for one in arguments)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"a list, each {describe(arguments[0])}"
        return f"{len(arguments)} values, each {describe(arguments[0])}"
    words = {int: "a whole number", float: "a finite number", bool: "true or false"}
    words |= {str: "a text", Path: "a path", type(None): "nothing"}
    # A group of settings, which only a file could give another type, has no word here.
    return words.get(expected, expected.__name__)
