"""What the commands that train have in common: settings from a command line, by category."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import TypeVar

import tyro
from accelerate import PartialState

from ..pictures.demo import TEXTURES
from ..pictures.layouts import default_category, parse_categories
from ..run.errors import FaultsError, UserError
from ..run.groups import category_names
from ..run.settings import PRESETS, Settings
from ..training.data import check_data

Options = TypeVar("Options")


def read_settings(arguments: Sequence[str]) -> Settings:
    """Settings from the command line; the preset only moves the defaults of the others."""
    return parse(Settings, "train", arguments, preset_of(arguments))


def each_category(
    options: type[Options],
    command: str,
    arguments: Sequence[str],
    *,
    folder: str,
    with_test: bool = True,
) -> Iterator[tuple[Options, Path]]:
    """The options of `ablate` or `tune` for one category after the other, with its folder.

    The files of all categories are checked first, those of test sets if they are used. Below
    ./runs, where the settings name none, a folder starts with the word `folder`.
    """
    read = parse(options, command, arguments, options(settings=preset_of(arguments)))
    for settings in checked_categories(read.settings, with_test=with_test):
        default = Path(f"runs/{folder}-{settings.data.category}-{settings.preset}")
        yield dataclasses.replace(read, settings=settings), settings.running.run_folder or default


def parse(
    options: type[Options], command: str, arguments: Sequence[str], default: Options | None = None
) -> Options:
    """A command's options, with its own name in its help."""
    # An option is --width, not --network.width.
    return tyro.cli(
        options,
        prog=f"python examples/mvtec_two_stage.py {command}",
        args=arguments,
        default=default,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def distinct(name: str, values: Sequence[object]) -> None:
    """Raise a UserError where a list of runs is empty or names one twice."""
    repeated = [value for number, value in enumerate(values) if value in values[:number]]
    if not values or repeated:
        got = f"{repeated[0]} again" if repeated else "none"
        raise UserError(f"expected one or more {name}, each once, got {got}")


def say(text: str) -> None:
    """Once, however many processes share the work."""
    PartialState().print(text)


def say_how_long(
    runs: Sequence[Settings], is_done: Callable[[Settings], bool]
) -> Iterator[Settings]:
    """The runs of one command; between them a line says how many are to come, and how long."""
    seconds: list[float] = []
    say(f"{len(runs)} runs, {sum(map(is_done, runs))} of them done already")
    for number, settings in enumerate(runs, start=1):
        done, started = is_done(settings), time.perf_counter()
        yield settings
        if not done:
            seconds.append(time.perf_counter() - started)
        left = sum(not is_done(other) for other in runs[number:])
        if seconds and left:
            minutes = left * mean(seconds) / 60
            say(f"{number} of {len(runs)} runs done, about {minutes:.0f} minutes to go")


def preset_of(arguments: Sequence[str]) -> Settings:
    """The preset that the arguments name; without one, the demo, or `quick` on own data."""
    first_look = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # What is wrong with these is left to the second look, which says what is allowed.
    first_look.add_argument("--preset", nargs="?")
    first_look.add_argument("--data-root", "--data_root", nargs="?", type=Path)
    first_look.add_argument("--category", nargs="?")
    known, _ = first_look.parse_known_args(arguments)
    default = PRESETS["demo" if known.data_root is None else "quick"]
    preset = PRESETS.get(known.preset, default)
    if known.data_root is None or not known.data_root.is_dir() or known.category is not None:
        return preset
    if {"-h", "--help"} & {*arguments}:
        return preset
    return preset.changed(category=default_category(known.data_root, preset.data.category))


def checked_categories(settings: Settings, *, with_test: bool = True) -> list[Settings]:
    """Settings for each category, after every file of all of them was checked.

    Raises:
        FaultsError: the faults of all categories.
    """
    faults: list[str] = []
    checked = []
    for one in by_category(settings):
        try:
            checked.append(check_data(one, with_test=with_test))
        except UserError as error:
            faults += error.faults
    if faults:
        raise FaultsError(faults)
    return checked


def by_category(settings: Settings) -> list[Settings]:
    """One copy of the settings for each category, with a folder of its own if there are more."""
    data, parent = settings.data, settings.running.run_folder
    if data.data_root is not None:
        categories = parse_categories(data.category, data.data_root)
    elif data.category == "all":
        categories = list(TEXTURES)
    else:
        categories = category_names(data.category)
    for category in categories:
        if data.data_root is None and category not in TEXTURES:
            raise UserError(
                f"the demo has the categories {', '.join(TEXTURES)}, got {category!r}; pass "
                "--data-root for your own"
            )
    if len(categories) == 1:
        return [settings.changed(category=categories[0])]
    return [
        settings.changed(category=name, run_folder=None if parent is None else parent / name)
        for name in categories
    ]
