"""Files in a category's folder that nothing reads, so that none is left out in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from .files import PICTURE_SUFFIXES
from .notes import Note, count

# They lie beside pictures and hold none.
COMPANIONS = frozenset(
    {".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".html", ".ini", ".log", ".db"}
)


def notes_on_unread(where: Path, read: Collection[Path], folder: Path) -> list[Note]:
    """One note that names the files below `where` which are not among `read`."""
    unread = [path for path in _files_below(where) if path not in read]
    if not unread:
        return []
    names = tuple(path.relative_to(folder).as_posix() for path in unread)
    text = f"{count(len(unread), 'file')} of {folder.name} not read: {_groups(unread, folder)}"
    return [Note(text, names)]


def hint_at_unread(folder: Path) -> str:
    """What an error about a folder without pictures adds, if there are files in it all the same."""
    unread = list(_files_below(folder))
    if not unread:
        return ""
    return (
        f"; it holds {_groups(unread, folder)}: pictures lie directly in it, in a format that "
        "Pillow reads, such as PNG"
    )


def _groups(paths: list[Path], folder: Path) -> str:
    """Each folder with the number of its pictures, or of its files of another kind."""
    groups = Counter(
        (
            path.parent.relative_to(folder).as_posix(),
            "pictures" if path.suffix.lower() in PICTURE_SUFFIXES else path.suffix or path.name,
        )
        for path in paths
    )
    words = []
    for (where, kind), number in groups.items():
        kind = "picture" if kind == "pictures" and number == 1 else kind
        words.append(f"{number} {kind}" + ("" if where == "." else f" in {where}"))
    return ", ".join(words)


def _files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Files in a folder and its subfolders, linked ones too, but for hidden ones and companions."""
    real = folder.resolve()
    if real in above:
        # A link to a folder that holds it.
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files_below(path, (*above, real))
        elif path.suffix.lower() not in COMPANIONS:
            yield path
