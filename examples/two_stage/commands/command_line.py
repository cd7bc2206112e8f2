"""What the commands that train have in common: settings from a command line, by category."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import tyro

from ..pictures.category import parse_categories
from ..pictures.demo import TEXTURES
from ..run.errors import UserError
from ..run.settings import PRESETS, Settings

Options = TypeVar("Options")


def read_settings(arguments: Sequence[str]) -> Settings:
    """Settings from the command line; the preset only moves the defaults of the others."""
    return parse(Settings, "train", arguments, preset_of(arguments))


def each_category(
    options: type[Options], command: str, arguments: Sequence[str], *, folder: str
) -> Iterator[tuple[Options, Path]]:
    """The options of `ablate` or `tune` for one category after the other, with its folder.

    Below ./runs, where the settings name none, it starts with the word `folder`.
    """
    read = parse(options, command, arguments, options(settings=preset_of(arguments)))
    for settings in by_category(read.settings):
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


def preset_of(arguments: Sequence[str]) -> Settings:
    """The preset that the arguments name; without one, the demo, or `quick` on own data."""
    first_look = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first_look.add_argument("--preset", choices=tuple(PRESETS))
    first_look.add_argument("--data-root", "--data_root")
    known, _ = first_look.parse_known_args(arguments)
    return PRESETS[known.preset or ("demo" if known.data_root is None else "quick")]


def by_category(settings: Settings) -> list[Settings]:
    """One copy of the settings for each category, with a folder of its own if there are more."""
    data, parent = settings.data, settings.running.run_folder
    if data.data_root is not None:
        categories = parse_categories(data.category, data.data_root)
    elif data.category == "all":
        categories = list(TEXTURES)
    else:
        categories = data.category.split(",")
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
