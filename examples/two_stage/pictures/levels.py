"""How bright pictures are, and what counts as white in files of more than 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .files import DEEPEST_WHITE, Facts
from .notes import Note, count, some

# Of 8, 10, 12, 14 and 16 bits: cameras write 10 to 14 bits into files of 16.
WHITES = (255, 1023, 4095, 16383, DEEPEST_WHITE)
# Normal pictures whose brightest pixel lies below this share of white use few levels of grey.
DARK = 0.25


def recognised_white(brightest: int) -> int:
    """White of the camera that wrote a value: the smallest of `WHITES` that is as large."""
    return next(white for white in WHITES if brightest <= white)


def notes_on_levels(
    normal: Mapping[Path, Facts], every: Mapping[Path, Facts], white: int | None, folder: Path
) -> list[Note]:
    """What to know of the levels of a category's pictures; `every` includes its test set."""

    def note(paths: list[Path], text: str) -> list[Note]:
        if not paths:
            return []
        names = tuple(path.relative_to(folder).as_posix() for path in paths)
        return [Note(text.format(n=count(len(names), "picture"), some=some(names)), names)]

    deep = [path for path, fact in every.items() if fact.deep]
    shallow = [path for path, fact in every.items() if not fact.deep]
    limit = white or DEEPEST_WHITE
    brightest = max((normal[path].brightest for path in deep if path in normal), default=0)
    notes = note(
        deep,
        f"{{n}} of more than 8 bits ({{some}}): white is {limit}, and the brightest of "
        f"the normal ones is {brightest}; pass --white for another",
    )
    if deep:
        notes += note(
            shallow,
            f"{{n}} of 8 bits beside {len(deep)} deeper ones ({{some}}): white is 255 in the "
            f"former, {limit} in the latter",
        )
    notes += note(
        [path for path in deep if every[path].brightest > limit],
        f"{{n}} with pixels above white, {limit}, which count as white ({{some}})",
    )
    notes += note(
        [path for path, fact in every.items() if fact.cut],
        "{n} of 16-bit colour ({some}), of which only the upper 8 bits are read: save them as "
        "16-bit grey, or scaled to 8 bits, if the camera has less than 16",
    )
    notes += note(
        [path for path, fact in normal.items() if fact.blank],
        "{n} of one colour throughout among the normal ones ({some}): a lens cap, a lamp that was "
        "off? They are learned as normal; remove them if they are not",
    )
    share = max(
        (fact.brightest / (limit if fact.deep else 255) for fact in normal.values()), default=1.0
    )
    if share < DARK:
        advice = "pass the camera's --white, such as 4095 for 12 bits" if deep else "expose longer"
        text = f"the brightest pixel of all normal pictures is {100 * share:.0f} % of white: "
        notes.append(Note(f"{text}few levels of grey are in use; {advice}"))
    return notes
