"""Where the categories of a data root lie, and in which layout each keeps its pictures."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ..run.errors import UserError
from ..run.groups import category_names
from .files import pictures_in


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a category keeps its pictures; only the folder `train` must be there."""

    train: str
    test_normal: str
    defective: str
    masks: str

    def is_in(self, folder: Path) -> bool:
        return any((folder / name).is_dir() for name in dataclasses.astuple(self))


MVTEC = Layout("train/good", "test/good", "test", "ground_truth")
PLAIN = Layout("normal", "normal_test", "defective", "masks")
# Which of the normal ones are for the test says a table beside the categories.
VISA = Layout("Data/Images/Normal", "Data/Images/Normal", "Data/Images/Anomaly",
              "Data/Masks/Anomaly")  # fmt: skip
VISA_SPLIT = Path("split_csv", "1cls.csv")
LAYOUTS = (MVTEC, VISA, PLAIN)
EXPECTED = (
    "expected train/good, test and ground_truth (MVTec AD), Data/Images and Data/Masks (VisA), or "
    "normal, defective and masks"
)


def layout_of(folder: Path) -> Layout:
    """The layout of a category's folder; the plain one if it has none."""
    return next((layout for layout in LAYOUTS if layout.is_in(folder)), PLAIN)


def normal_pictures_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """The normal pictures of a category: those to train on and those to test on; not opened."""
    layout = layout_of(folder)
    train, test = folder / layout.train, folder / layout.test_normal
    pictures = pictures_in(train) if train.is_dir() else []
    if layout is not VISA:
        return pictures, pictures_in(test) if test.is_dir() else []
    to_test = _visa_test_normals(folder)
    return (
        [path for path in pictures if path.name not in to_test],
        [path for path in pictures if path.name in to_test],
    )


def categories_in(data_root: Path) -> list[str]:
    """The folders of `data_root` that are categories of any layout, sorted."""
    if not data_root.is_dir():
        raise UserError(f"the data root {data_root} is not a folder; pass --data-root")
    return [path.name for path in subfolders(data_root) if _is_category(path)]


def parse_categories(text: str, data_root: Path) -> list[str]:
    """The categories meant by one name, several as "a,b,c", or "all"."""
    names = category_names(text)
    if names == ["all"]:
        names = categories_in(data_root)
        if not names:
            raise UserError(_no_category(data_root))
    names = [category_folder(data_root, name).name for name in names]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UserError(f"expected each category once, got {sorted(repeated)} again in {text!r}")
    return names


def default_category(data_root: Path, usual: str) -> str:
    """The category meant where none was named: `usual` if it is there, else the only one."""
    names = categories_in(data_root)
    if usual in names:
        return usual
    if len(names) == 1:
        return names[0]
    if not names:
        raise UserError(_no_category(data_root))
    raise UserError(
        f"{data_root} has several categories: pass --category with one of {', '.join(names)}, "
        'several as a,b,c, or "all"'
    )


def category_folder(data_root: Path, category: str) -> Path:
    """The folder of a category, whose name may be composed of other characters of Unicode."""
    present = {same_name(name): name for name in categories_in(data_root)}
    if same_name(category) in present:
        folder = data_root / present[same_name(category)]
        if sum(layout.is_in(folder) for layout in LAYOUTS) > 1:
            raise UserError(f"{folder} mixes layouts: {EXPECTED}, only one of them")
        return folder
    folder = data_root / category
    if folder in subfolders(data_root):
        raise UserError(f"{folder} is not a category: {EXPECTED} in it{_advice(folder)}")
    if not present or _is_category(data_root):
        raise UserError(_no_category(data_root, category))
    nearest = difflib.get_close_matches(category, present.values(), n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise UserError(
        f"no category {category!r} in {data_root}, which has {', '.join(present.values())}{hint}"
    )


def subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in visible if path.is_dir())


def same_name(name: str) -> str:
    """Equal for names that look the same: an umlaut is one character or two, by file system."""
    return unicodedata.normalize("NFC", name)


def named(folder: Path, name: str) -> Path:
    """The subfolder that looks like this name; it need not be there."""
    alike = [path for path in subfolders(folder) if same_name(path.name) == same_name(name)]
    return alike[0] if alike else folder / name


def _is_category(folder: Path) -> bool:
    return any(layout.is_in(folder) for layout in LAYOUTS)


def _no_category(data_root: Path, category: str = "") -> str:
    words = f"no category {category!r}" if category else "no category"
    if _is_category(data_root):
        root = data_root.resolve()
        return (
            f"{words} in {data_root}; it is a category itself: pass --data-root {root.parent} "
            f"--category {root.name}"
        )
    if pictures_in(data_root):
        return f"{words} in {data_root}{_advice(data_root, 'NAME')}"
    return f"{words} in {data_root}: {EXPECTED} in each of its folders"


def _advice(folder: Path, category: str = "") -> str:
    """What to do with a folder that holds pictures and no layout."""
    pictures: Sequence[Path] = pictures_in(folder)
    if not pictures:
        return ""
    normal = folder / category / PLAIN.train
    return f"; it holds {len(pictures)} pictures: put the good ones into {normal}" + (
        f" and pass --category {category}" if category else ""
    )


def _visa_test_normals(folder: Path) -> set[str]:
    """Names of the normal pictures that VisA's own split keeps for the test."""
    path = folder.parent / VISA_SPLIT
    if not path.is_file():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return {
            Path(row["image"]).name
            for row in rows
            if (row["object"], row["split"], row["label"]) == (folder.name, "test", "normal")
        }
    except KeyError as error:
        raise UserError(f"{path} is not VisA's split: it has no column {error}") from error
