"""What is unusual in a test set: masks that hold something else than they seem to, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from .masks import MaskFacts
from .notes import Note, some

# As many regions of so few pixels are dust: what shrinking or sharpening left of one region.
DUST_REGIONS = 10


def notes_on_masks(masks: Mapping[Path, MaskFacts], folder: Path) -> Iterator[Note]:
    """What to know of the masks of a test set."""
    for unusual, text in MASKS:
        found = [path for path, mask in masks.items() if unusual(mask)]
        if found:
            names = [path.relative_to(folder).as_posix() for path in found]
            yield Note(f"{len(found)} of {len(masks)} masks {text}: {some(names)}", tuple(names))


MASKS: tuple[tuple[Callable[[MaskFacts], bool], str], ...] = (
    (lambda mask: mask.kind == "labels", "hold labels, each of which counts as a defect"),
    (
        lambda mask: mask.kind == "grey",
        "hold other values than black and white (saved as JPEG, blurred or resized?), and what is "
        "brighter than half counts as a defect",
    ),
    (
        lambda mask: mask.share == 0,
        "are all black, so that their defective pictures count only as pictures",
    ),
    (
        lambda mask: mask.share > 0.5,
        "mark more than half of their picture as defective (are they inverted?)",
    ),
    (
        lambda mask: mask.tiny >= max(DUST_REGIONS, mask.regions / 2),
        "fall into many regions of a few pixels, each of which AUPRO counts as one defect",
    ),
)


def notes_on_test_set(
    normal: int, defective: Sequence[Path], unmasked: Sequence[Path], folder: Path
) -> Iterator[Note]:
    """Which figures a test set cannot give, and why.

    Args:
        normal: number of normal pictures.
        defective: all defective ones.
        unmasked: those without a mask.
        folder: of the category.
    """
    names = tuple(path.relative_to(folder).as_posix() for path in unmasked)
    if normal and not defective:
        yield Note(
            "no defective test pictures: the share of good ones flagged is measured, every other "
            'figure is "-"'
        )
    elif defective and not normal:
        yield Note('no normal test pictures: the AUROC of pictures is "-"')
    if names and len(names) == len(defective):
        yield Note('no defective picture has a mask: the figures of pixels are "-"', names)
    elif names:
        yield Note(
            f"{len(names)} of {len(defective)} defective pictures have no mask and count only as "
            f"pictures: {some(names)}",
            names,
        )
