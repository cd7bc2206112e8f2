"""What sections of a report are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from .tables import Table

# What a run folder may hold; panels of one kind of defect are panels_KIND.png.
CAPTIONS = {
    "artificial_defects.png": "Artificial defects (ADGA) as training sees them.",
    "image_scores.png": "Scores of the test pictures and the threshold for pictures.",
    "curves.png": "ROC and PRO curves of every score.",
    "training_curves.png": "Loss and sigma of the window at every optimiser step; the dotted line "
    "is the start of stage 2.",
    "arms.png": "The arms of the ablation on the same pictures.",
}


@dataclasses.dataclass(frozen=True)
class Picture:
    path: Path
    caption: str

    @property
    def link(self) -> str:
        return quote(self.path.name)


@dataclasses.dataclass(frozen=True)
class Section:
    title: str
    texts: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    code: str = ""


def pictures_of(folder: Path, *stems: str) -> list[Picture]:
    paths = [folder / f"{stem}.png" for stem in stems]
    return [Picture(path, CAPTIONS[path.name]) for path in paths if path.is_file()]


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
