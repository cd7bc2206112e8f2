"""The files of a category, all checked before training: pictures, masks, and which are pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from ..run.errors import FaultsError, UserError
from .files import Facts, check_pictures, in_threads, pictures_in
from .layouts import (
    Layout,
    category_folder,
    layout_of,
    named,
    normal_pictures_of,
    same_name,
    subfolders,
)
from .levels import notes_on_levels
from .masks import MaskFacts, check_mask
from .notes import Note
from .surprises import notes_on_masks, notes_on_test_set
from .unread import hint_at_unread, notes_on_unread

NORMAL = "good"


@dataclasses.dataclass(frozen=True)
class Sample:
    """One picture of the test set."""

    image_path: Path
    mask_path: Path | None
    """A file, or a folder of several that are united; None for a normal picture, and for a
    defective one whose mask is not known."""
    defect: str

    @property
    def name(self) -> str:
        return f"{self.defect}_{self.image_path.stem}"

    @property
    def mask_is_known(self) -> bool:
        return self.defect == NORMAL or self.mask_path is not None

    @property
    def files(self) -> list[Path]:
        """The picture, and its masks."""
        if self.mask_path is None:
            return [self.image_path]
        folder = self.mask_path
        return [self.image_path, *(pictures_in(folder) if folder.is_dir() else [folder])]


@dataclasses.dataclass(frozen=True)
class CategoryFiles:
    """The files of one category: normal pictures to train on, and the test set, maybe empty."""

    train: tuple[Path, ...]
    test: tuple[Sample, ...]
    notes: tuple[Note, ...] = ()
    """What its user should know of the files, though they can be read."""
    brightest: int = 0
    """Largest value of the normal pictures of more than 8 bits; 0 without any."""


def find_category(
    data_root: Path, category: str, *, white: int | None = None, with_test: bool = True
) -> CategoryFiles:
    """List the files of `data_root/category`, pair each defect image with its mask, check all.

    The layouts are those of `layouts`; only the normal pictures are needed. A subfolder of the
    folder of defective pictures is a kind of defect, with its masks in the subfolder of that name;
    those directly in it are of the kind "defective". The mask of a.png is a_mask.png or a.png, of
    any format, as large as its image, or all masks in a folder a; it may be all black or missing.
    Hidden files are ignored, and `notes` name what else is not read.

    Without the test set, `test` is empty and no file of it is opened. `white` is that of deeper
    pictures, which the notes compare with what the files hold.

    Raises:
        FaultsError: every fault found.
    """
    folder = category_folder(data_root, category)
    layout = layout_of(folder)
    train, test_normals = normal_pictures_of(folder)
    if not train:
        raise UserError(_no_pictures(folder / layout.train))
    faults: list[str] = []
    test = _test_samples(folder, layout, test_normals, faults) if with_test else []
    facts = _check_files([*train, *(sample.image_path for sample in test)], faults)
    masks = _check_masks(test, facts, faults)
    if faults:
        raise FaultsError(faults)
    normal = {path: facts[path] for path in train}
    read = {path for sample in test for path in sample.files} | set(train)
    defective = [sample.image_path for sample in test if sample.defect != NORMAL]
    unmasked = [sample.image_path for sample in test if not sample.mask_is_known]
    notes = [
        *notes_on_levels(normal, facts, white, folder),
        *notes_on_unread(folder if with_test else folder / layout.train, read, folder),
        *notes_on_masks(masks, folder),
        *notes_on_test_set(len(test) - len(defective), defective, unmasked, folder),
    ]
    brightest = max((fact.brightest for fact in normal.values() if fact.deep), default=0)
    return CategoryFiles(tuple(train), tuple(test), tuple(notes), brightest)


def _no_pictures(folder: Path) -> str:
    if not folder.is_dir():
        return f"expected a folder of pictures, there is no {folder}"
    return f"expected pictures, got none in the folder {folder}{hint_at_unread(folder)}"


def _pictures(folder: Path) -> list[Path]:
    if folder.is_dir() and (paths := pictures_in(folder)):
        return paths
    raise UserError(_no_pictures(folder))


def _test_samples(
    folder: Path, layout: Layout, test_normals: list[Path], faults: list[str]
) -> list[Sample]:
    """The test set; what cannot be paired is left out of it and added to `faults`."""
    normal, defective, masks = (
        folder / name for name in (layout.test_normal, layout.defective, layout.masks)
    )
    if normal.is_dir():
        _pictures(normal)
    samples = [Sample(path, None, NORMAL) for path in test_normals]
    folders = [path for path in subfolders(defective) if path != normal]
    kinds = [(path.name, path, named(masks, path.name)) for path in folders]
    if defective.is_dir() and pictures_in(defective):
        kinds.append(("defective", defective, masks))
    # In MVTec AD's layout the normal test pictures lie in the same folder.
    normal_alone = bool(samples) and normal.is_relative_to(defective)
    if not kinds and defective.is_dir() and not normal_alone:
        raise UserError(f"expected defective pictures in {defective}, got none")
    used: set[Path] = set()
    for name, images, kind_masks in kinds:
        if name == NORMAL:
            raise UserError(f"{images} is named like normal pictures; move them to {normal}")
        others = {path for _, _, path in kinds} - {kind_masks}
        by_stem = _masks_by_stem(kind_masks, others)
        for path in _pictures(images):
            found = by_stem.get(same_name(path.stem), [])
            if len(found) > 1:
                names = " and ".join(mask.name for mask in found)
                faults.append(f"{path} has more than one mask in {kind_masks}: {names}")
            samples.append(Sample(path, found[0] if found else None, name))
            used.update(found)
    stray = [path for path in _masks_below(masks, {path for *_, path in kinds}) if path not in used]
    if stray:
        # Most often one of a pair was renamed, so the other is named too.
        unmasked = (sample for sample in samples if not sample.mask_is_known)
        faults += [f"{sample.image_path} has no mask in {masks}" for sample in unmasked]
    faults += [
        f"{path} belongs to no defect image as its mask; rename or remove it" for path in stray
    ]
    faults += _same_names(samples)
    return samples


def _masks_by_stem(masks: Path, others: set[Path]) -> dict[str, list[Path]]:
    """The masks of a kind by the name of their picture; `others` are folders of other kinds."""
    by_stem: dict[str, list[Path]] = {}
    for mask in _masks_in(masks):
        if mask not in others:
            # Some tools name the mask like its image, MVTec AD itself appends "_mask".
            stem = mask.name if mask.is_dir() else mask.stem
            for name in {stem, stem.removesuffix("_mask")}:
                by_stem.setdefault(same_name(name), []).append(mask)
    return by_stem


def _masks_in(folder: Path) -> list[Path]:
    """The masks directly in a folder, and its subfolders that hold some."""
    if not folder.is_dir():
        return []
    return [*pictures_in(folder), *(path for path in subfolders(folder) if pictures_in(path))]


def _masks_below(masks: Path, kinds: set[Path]) -> list[Path]:
    """Every mask, and every folder of masks of one picture."""
    folders = [masks, *(path for path in subfolders(masks) if path in kinds)]
    found = (path for folder in folders for path in _masks_in(folder))
    return [path for path in dict.fromkeys(found) if path not in kinds]


def _same_names(samples: list[Sample]) -> Iterable[str]:
    """Results are named after kind and picture."""
    first: dict[str, Path] = {}
    for sample in samples:
        other = first.setdefault(same_name(sample.name), sample.image_path)
        if other != sample.image_path:
            yield f"{other} and {sample.image_path} are both {sample.name!r} here; rename one"


def _check_files(paths: list[Path], faults: list[str]) -> dict[Path, Facts]:
    """Decode every picture once."""
    checked = dict(zip(paths, check_pictures(paths), strict=True))
    faults += [str(fact) for fact in checked.values() if isinstance(fact, UserError)]
    return {path: fact for path, fact in checked.items() if isinstance(fact, Facts)}


def _check_masks(
    samples: list[Sample], facts: dict[Path, Facts], faults: list[str]
) -> dict[Path, MaskFacts]:
    """Read every mask once and compare its size with its image's."""

    def check(path: Path) -> MaskFacts | UserError:
        try:
            return check_mask(path)
        except UserError as error:
            return error

    images = {sample.mask_path: sample.image_path for sample in samples if sample.mask_path}
    masks = {}
    for path, mask in zip(images, in_threads(check, list(images), "checking masks"), strict=True):
        if isinstance(mask, UserError):
            faults.append(str(mask))
            continue
        masks[path] = mask
        image = images[path]
        if image in facts and facts[image].size != mask.size:
            (width, height), other = mask.size, facts[image].size
            faults.append(
                f"the mask {path} is {width} x {height} pixels, its image {image} is "
                f"{other[0]} x {other[1]}; they must be equal"
            )
    return masks
