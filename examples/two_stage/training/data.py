"""All that one run works on: normal images in memory, split, and the files of the test set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from ..defects.sources import SourceBank, build_source_bank
from ..pictures.category import CategoryFiles, Sample, find_category
from ..pictures.demo import NORMALS, write_demo_dataset
from ..pictures.files import allow_megapixels, load_images, pictures_in
from ..pictures.foreground import estimate_foreground
from ..pictures.layouts import categories_in, category_folder, layout_of, normal_pictures_of
from ..pictures.levels import recognised_white
from ..pictures.notes import Note
from ..pictures.stored import as_floats
from ..run.errors import UserError
from ..run.groups import Data, Defects
from ..run.run import Run
from ..run.seeds import seeded
from ..run.settings import Settings
from .record import (
    Record,
    files_of,
    hashes_of,
    notes_on_copies,
    notes_on_test_change,
    recall,
)

# Enough variety to cut defects from, and little memory.
PICTURES_PER_SOURCE = 64


@dataclasses.dataclass(frozen=True)
class RunData:
    """Images N x C x S x S as `two_stage.pictures.stored` keeps them, on the device that trains."""

    train: Tensor
    held_out: Tensor
    """Normal images that training never sees: choices and thresholds are made on them."""
    foregrounds: Tensor | None
    """Of `train`, N x S x S bool; None where the whole image is the product."""
    held_out_foregrounds: Tensor | None
    bank: SourceBank
    """What artificial defects are cut from."""
    test: tuple[Sample, ...]
    notes: tuple[Note, ...] = ()
    """What its user should know of the files."""
    record: Record | None = None
    """The files themselves; None for the demo, which draws the same ones from its seed."""


def check_data(settings: Settings, *, with_test: bool = True) -> Settings:
    """Check all that a run will read; returns its settings with the white level of its pictures.

    Raises:
        UserError: what would otherwise end the run later; of several faults a `FaultsError`.
    """
    data = settings.data
    if data.data_root is None:
        check_demo(settings)
        return settings
    allow_megapixels(settings.running.max_megapixels)
    files = find_category(data.data_root, data.category, white=data.white, with_test=with_test)
    split_held_out(len(files.train), data, settings.training.seed)
    _other_pictures(settings.defects, data, data.data_root)
    _texture_pictures(settings.defects)
    if data.white is None and files.brightest:
        return settings.changed(white=recognised_white(files.brightest))
    return settings


def prepare_data(run: Run, *, with_test: bool = True) -> RunData:
    """The data of a run, and its folder; faulty data leaves no folder behind and deletes no run."""
    demo = run.settings.data.data_root is None
    if demo:
        # Its pictures are written into the run's folder.
        check_demo(run.settings)
        run.make_folder()
    anew = run.settings.running.overwrite
    data = load_data(run, with_test=with_test, known=None if anew else Record.of(run.folder))
    if not demo:
        run.make_folder()
    if run.is_main and data.record is not None:
        data.record.save(run.folder, data.notes)
    run.print(
        f"{run.settings.data.category}, {run.settings.stages.arm}: {len(data.train)} normal images "
        f"to train on, {len(data.held_out)} held out, {len(data.test)} to test on; {run.folder}"
    )
    return data


def load_data(run: Run, *, with_test: bool = True, known: Record | None = None) -> RunData:
    """The main process first: it writes the demo's pictures. Notes are printed."""
    with run.main_first():
        data = load_run_data(run.settings, run.folder, run.device, with_test=with_test, known=known)
    for note in data.notes:
        run.print(f"note: {note}")
    return data


def load_data_again(run: Run) -> RunData:
    """The data of a run that was trained, with the split it had then."""
    known = Record.of(run.folder)
    data = load_data(run, known=known)
    if known is not None or run.settings.data.data_root is None:
        return data
    count = len(data.train) + len(data.held_out)
    note = Note(
        f"the run is of a version that kept no record of its pictures: the split is that of the "
        f"{count} normal pictures there are now, and the run's own only if they are the same"
    )
    run.print(f"note: {note}")
    return dataclasses.replace(data, notes=(*data.notes, note))


def load_run_data(
    settings: Settings,
    folder: Path,
    device: torch.device | str = "cpu",
    *,
    with_test: bool = True,
    known: Record | None = None,
) -> RunData:
    """Check every file, then read the normal images; the demo's are written to `folder` first.

    Without the test set, `test` is empty and no file of it is opened. With what a run knows of its
    pictures it keeps them and their split; see `record`.
    """
    data, defects, seed = settings.data, settings.defects, settings.training.seed
    data_root = data_root_of(data, folder)
    if data.data_root is None:
        _, apart = split_held_out(NORMALS, data, seed)
        write_demo_dataset(data_root, data.category, seed=seed, held_out=apart.tolist())
    allow_megapixels(settings.running.max_megapixels)
    files = find_category(data_root, data.category, white=data.white, with_test=with_test)
    if data.data_root is None:
        paths, record, notes = list(files.train), None, list(files.notes)
        train, held_out = split_held_out(len(paths), data, seed)
    else:
        paths, record, notes = _recorded(files, known, settings, with_test=with_test)
        names = list(record.normal)
        held_out = torch.tensor([names.index(name) for name in record.held_out])
        train = torch.tensor([n for n, name in enumerate(names) if name not in record.held_out])
    images = load_images(paths, data.image_size, data.channels, data.white)

    foregrounds = None
    if settings.defects_on_foreground():
        foregrounds = torch.stack([estimate_foreground(as_floats(image)) for image in images])
    normal = images[train].to(device)
    bank = build_source_bank(
        defects.defect_sources,
        normal,
        other_categories=_load_spread(_other_pictures(defects, data, data_root), data),
        textures=_load_spread(_texture_pictures(defects), data),
        generator=seeded(seed, 0, "sources", 0),
    )
    return RunData(
        train=normal,
        held_out=images[held_out].to(device),
        foregrounds=None if foregrounds is None else foregrounds[train].to(device),
        held_out_foregrounds=None if foregrounds is None else foregrounds[held_out].to(device),
        bank=bank,
        test=files.test,
        notes=tuple(notes),
        record=record,
    )


def _recorded(
    files: CategoryFiles, known: Record | None, settings: Settings, *, with_test: bool
) -> tuple[list[Path], Record, list[Note]]:
    """The normal pictures in their order, the record of all files, and what is to be said."""
    data = settings.data
    folder = category_folder(data.data_root, data.category)
    now = hashes_of(files.train, folder)
    test = hashes_of(files_of(files.test), folder) if with_test else None
    if known is None:
        names = list(now)
        _, held_out = split_held_out(len(names), data, settings.training.seed)
        record = Record(now, [names[number] for number in held_out.tolist()], test)
        return list(files.train), record, [*files.notes, *notes_on_copies(record)]
    paths, notes = recall(known, files, now, folder)
    record = Record(known.normal, known.held_out, test)
    notes += notes_on_test_change(known, test)
    return paths, record, [*files.notes, *notes, *notes_on_copies(record)]


def check_demo(settings: Settings) -> None:
    """Raise a UserError for what would otherwise fail once the demo's pictures are written."""
    split_held_out(NORMALS, settings.data, settings.training.seed)
    if "categories" in settings.defects.defect_sources:
        raise UserError(
            "the defect source categories needs other categories, and the demo has only one; "
            "leave it out, or pass --data-root for your own"
        )
    _texture_pictures(settings.defects)


def normal_pictures(data_root: Path, category: str) -> list[Path]:
    """The normal pictures of a category; they are listed, not opened.

    Raises:
        UserError: the category has none.
    """
    folder = data_root / category
    paths, _ = normal_pictures_of(folder)
    if not paths:
        raise UserError(
            f"expected normal pictures, found none in {folder / layout_of(folder).train}"
        )
    return paths


def test_samples(data: Data, folder: Path) -> tuple[Sample, ...]:
    """The test set of the run in `folder`; every file of the category is checked."""
    return find_category(data_root_of(data, folder), data.category, white=data.white).test


def data_root_of(data: Data, folder: Path) -> Path:
    """Where the categories lie; the demo's are in the folder of the run."""
    return data.data_root or folder / "demo_data"


def split_held_out(count: int, data: Data, seed: int) -> tuple[Tensor, Tensor]:
    """Numbers of the images to train on and of those held out, drawn once from the seed."""
    held_out = max(2, round(count * data.validation_share))
    if count - held_out < 2:
        raise UserError(
            f"expected at least 4 normal images in {data.category}, got {count}: two or more "
            "are held out to choose thresholds on"
        )
    order = torch.randperm(count, generator=seeded(seed, 0, "held out", 0))
    return order[held_out:].sort().values, order[:held_out].sort().values


def _other_pictures(defects: Defects, data: Data, data_root: Path) -> list[Path] | None:
    """Normal pictures of the other categories, if defects are cut from them; not opened."""
    if "categories" not in defects.defect_sources:
        return None
    others = [name for name in categories_in(data_root) if name != data.category]
    if not others:
        raise UserError(
            f"the defect source categories needs other categories in {data_root}, there are none"
        )
    return [path for name in others for path in normal_pictures(data_root, name)]


def _texture_pictures(defects: Defects) -> list[Path] | None:
    folder = defects.texture_folder
    if folder is None:
        return None
    paths = pictures_in(folder) if folder.is_dir() else []
    if not paths:
        raise UserError(f"expected pictures to cut defects from, found none in {folder}")
    return paths


def _load_spread(paths: list[Path] | None, data: Data) -> Tensor | None:
    """Some of the pictures, evenly spread."""
    if paths is None:
        return None
    step = max(1, len(paths) // PICTURES_PER_SOURCE)
    some = paths[::step][:PICTURES_PER_SOURCE]
    return load_images(some, data.image_size, data.channels, data.white)


def spread(images: Tensor, most: int) -> Tensor:
    """At most so many of the images, evenly spread."""
    return images[torch.linspace(0, len(images) - 1, min(most, len(images))).long()]
