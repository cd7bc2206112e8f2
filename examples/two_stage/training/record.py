"""Which pictures a run works on, by name and content, so that no change goes unnoticed.

`data.json` in the run's folder holds them. A run that goes on, or is evaluated, keeps the pictures
and the held-out split it began with, whatever was added since.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..pictures.category import CategoryFiles, Sample
from ..pictures.files import in_threads
from ..pictures.notes import Note, count, some
from ..run.checks import fits
from ..run.errors import UserError
from ..run.folder import RECORD, parse_json, save_json

Hashes = dict[str, str]


@dataclasses.dataclass(frozen=True)
class Record:
    """Names are relative to the category's folder; hashes are SHA-256 of the files."""

    normal: Hashes
    """In the order in which images are numbered."""
    held_out: list[str]
    """Those of `normal` that training never sees."""
    test: Hashes | None
    """Test pictures and masks; None where the run had no need of them."""

    def save(self, folder: Path, notes: Sequence[Note]) -> None:
        values = dataclasses.asdict(self)
        save_json(values | {"notes": [dataclasses.asdict(note) for note in notes]}, folder / RECORD)

    @classmethod
    def of(cls, folder: Path) -> Record | None:
        """What the run in `folder` recorded; None if it has not come so far."""
        path = folder / RECORD
        if not path.is_file():
            return None
        values = parse_json(path.read_bytes(), path)
        normal, held_out, test = (values.get(name) for name in ("normal", "held_out", "test"))
        if not (
            _are_hashes(normal)
            and (test is None or _are_hashes(test))
            and isinstance(held_out, list)
            and fits(tuple(held_out), tuple[str, ...])
            and set(held_out) < set(normal)
        ):
            raise UserError(f"{path} is damaged, it does not hold the pictures of a run")
        return cls(normal, held_out, test)


def _are_hashes(values: object) -> bool:
    return isinstance(values, dict) and all(isinstance(v, str) for v in values.values())


def hashes_of(paths: Sequence[Path], folder: Path) -> Hashes:
    """By name below the category's folder."""
    digests = in_threads(_digest, paths, "noting pictures")
    names = (path.relative_to(folder).as_posix() for path in paths)
    return dict(zip(names, digests, strict=True))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def files_of(samples: Sequence[Sample]) -> list[Path]:
    """Test pictures and masks."""
    return [path for sample in samples for path in sample.files]


def recall(
    known: Record, files: CategoryFiles, now: Hashes, folder: Path
) -> tuple[list[Path], list[Note]]:
    """The run's own normal pictures, in its order, and what is to be said of the others.

    A picture is found by its name, or by its content if it was renamed.

    Raises:
        UserError: some of them are gone, or hold something else by now.
    """
    renamed = {digest: name for name, digest in now.items()}
    names = [
        name if now.get(name) == digest else renamed.get(digest)
        for name, digest in known.normal.items()
    ]
    lost = [name for name, found in zip(known.normal, names, strict=True) if found is None]
    if lost:
        changed = sum(name in now for name in lost)
        raise UserError(
            f"{len(lost)} of the {len(known.normal)} normal pictures that the run began with are "
            f"gone ({len(lost) - changed}) or were changed ({changed}): {some(lost)}; put them "
            "back, or train anew with --overwrite or another --run-folder"
        )
    found = {name for name in names if name is not None}
    new = [name for name in now if name not in found]
    notes = []
    if new:
        notes.append(
            Note(
                f"{count(len(new), 'normal picture')} came after the run began ({some(new)}) and "
                "are not used: it keeps its own and what it held out; train anew to use all",
                tuple(new),
            )
        )
    return [folder / name for name in names if name is not None], notes


def notes_on_test_change(known: Record, test: Hashes | None) -> list[Note]:
    """How the test set differs from the one the run recorded."""
    if known.test is None or test is None or known.test == test:
        return []
    new = [name for name in test if name not in known.test]
    gone = [name for name in known.test if name not in test]
    changed = [name for name in test if name in known.test and test[name] != known.test[name]]
    words = [
        f"{len(names)} {what} ({some(names)})"
        for names, what in ((new, "new"), (gone, "gone"), (changed, "changed"))
        if names
    ]
    return [
        Note(
            f"the test set is not the one the run began with: {', '.join(words)}",
            (*new, *gone, *changed),
        )
    ]


def notes_on_copies(record: Record) -> list[Note]:
    """Pictures that training sees and that are also held out, or tested on."""
    held_out = set(record.held_out)
    trained = {digest: name for name, digest in record.normal.items() if name not in held_out}
    notes = []
    for where, hashes in (
        ("among those held out", {name: record.normal[name] for name in record.held_out}),
        ("in the test set", record.test or {}),
    ):
        copies = [name for name, digest in hashes.items() if digest in trained]
        if copies:
            notes.append(
                Note(
                    f"{where} are copies of pictures that are trained on ({some(copies)}): what is "
                    "measured on them is better than true",
                    tuple(copies),
                )
            )
    return notes
