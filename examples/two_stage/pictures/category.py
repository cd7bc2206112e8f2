"""The files of a category, MVTec AD's layout or plain folders, all checked before training."""

from __future__ import annotations

import dataclasses
import difflib
from pathlib import Path

from ..run.errors import UserError
from .files import check_pictures, pictures_in

NORMAL = "good"


@dataclasses.dataclass(frozen=True)
class Sample:
    """One picture of the test set; `mask_path` is None for a normal one."""

    image_path: Path
    mask_path: Path | None
    defect: str

    @property
    def name(self) -> str:
        return f"{self.defect}_{self.image_path.stem}"


@dataclasses.dataclass(frozen=True)
class CategoryFiles:
    """The files of one category: normal pictures to train on, and the test set, maybe empty."""

    train: tuple[Path, ...]
    test: tuple[Sample, ...]


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
EXPECTED = "expected train/good, test and ground_truth (MVTec AD), or normal, defective and masks"


def find_category(data_root: Path, category: str) -> CategoryFiles:
    """List the files of `data_root/category`, pair each defect image with its mask, check all.

    Two layouts are known, `MVTEC` and `PLAIN`; only the normal pictures are needed, and without
    defective ones `test` is empty. A subfolder of the folder of defective
    pictures is a kind of defect, with its masks in the subfolder of that name; those directly in
    it are of the kind "defective". The mask of a.png is a_mask.png or a.png, of any format, as
    large as its image; it may be all black. Hidden files and other kinds of files are ignored.

    Raises:
        UserError: the first fault found, with the number of the others.
    """
    folder = _category_folder(data_root, category)
    layout = MVTEC if MVTEC.is_in(folder) else PLAIN
    train = _pictures(folder / layout.train)
    faults: list[str] = []
    test = _test_samples(folder, layout, faults)
    _check_files(train, test, faults)
    if faults:
        others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UserError(faults[0] + others)
    return CategoryFiles(tuple(train), tuple(test))


def categories_in(data_root: Path) -> list[str]:
    """The folders of `data_root` that are categories of either layout, sorted."""
    if not data_root.is_dir():
        raise UserError(f"the data root {data_root} is not a folder; pass --data-root")
    return [path.name for path in _subfolders(data_root) if MVTEC.is_in(path) or PLAIN.is_in(path)]


def parse_categories(text: str, data_root: Path) -> list[str]:
    """The categories meant by one name, several as "a,b,c", or "all"."""
    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        names = categories_in(data_root)
        if not names:
            raise UserError(f"no category in {data_root}: {EXPECTED} in each of its folders")
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UserError(f"expected each category once, got {sorted(repeated)} again in {text!r}")
    for name in names:
        _category_folder(data_root, name)
    return names


def _category_folder(data_root: Path, category: str) -> Path:
    present = categories_in(data_root)
    folder = data_root / category
    if category in present:
        if MVTEC.is_in(folder) and PLAIN.is_in(folder):
            raise UserError(f"{folder} mixes two layouts: {EXPECTED}, not both")
        return folder
    if folder in _subfolders(data_root):
        raise UserError(f"{folder} is not a category: {EXPECTED} in it")
    nearest = difflib.get_close_matches(category, present, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    if MVTEC.is_in(data_root) or PLAIN.is_in(data_root):
        hint = f"; it is a category itself: pass --data-root {data_root.resolve().parent}"
    raise UserError(
        f"no category {category!r} in {data_root}, which has {', '.join(present) or 'none'}{hint}"
    )


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"expected a folder of pictures, there is no {folder}")
    if paths := pictures_in(folder):
        return paths
    raise UserError(f"expected pictures, got none in the folder {folder}")


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in visible if path.is_dir())


def _test_samples(folder: Path, layout: Layout, faults: list[str]) -> list[Sample]:
    """The test set; what cannot be paired is left out of it and added to `faults`."""
    normal, defective, masks = (
        folder / name for name in (layout.test_normal, layout.defective, layout.masks)
    )
    samples = [Sample(path, None, NORMAL) for path in _pictures(normal)] if normal.is_dir() else []
    folders = [path for path in _subfolders(defective) if path != normal]
    kinds = [(path.name, path, masks / path.name) for path in folders]
    if defective.is_dir() and pictures_in(defective):
        kinds.append(("defective", defective, masks))
    if not kinds and (samples or defective.is_dir()):
        raise UserError(f"expected defective pictures in {defective}, got none")
    for name, images, kind_masks in kinds:
        if name == NORMAL:
            raise UserError(f"{images} is named like normal pictures; move them to {normal}")
        samples += _pair(name, images, kind_masks, faults)
    faults += _masks_without_image(masks, {kind_masks: images for _, images, kind_masks in kinds})
    named: dict[str, Path] = {}
    for sample in samples:
        other = named.setdefault(sample.name, sample.image_path)
        if other != sample.image_path:
            faults.append(
                f"{other} and {sample.image_path} are both {sample.name!r} here; rename one"
            )
    return samples


def _pair(kind: str, images: Path, masks: Path, faults: list[str]) -> list[Sample]:
    mask_paths = pictures_in(masks) if masks.is_dir() else []
    samples = []
    for path in _pictures(images):
        # Some tools name the mask like its image, MVTec AD itself appends "_mask".
        found = [mask for mask in mask_paths if mask.stem in {f"{path.stem}_mask", path.stem}]
        if len(found) == 1:
            samples.append(Sample(path, found[0], kind))
        elif found:
            names = " and ".join(mask.name for mask in found)
            faults.append(f"{path} has more than one mask in {masks}: {names}")
        else:
            faults.append(f"{path} has no mask: expected {masks / path.stem}_mask.png")
    return samples


def _masks_without_image(masks: Path, images: dict[Path, Path]) -> list[str]:
    """Most often one of the pair was renamed; `images` is the folder for each folder of masks."""
    faults = []
    for folder in (masks, *_subfolders(masks)) if masks.is_dir() else ():
        stems = {path.stem for path in pictures_in(images[folder])} if folder in images else set()
        faults += [
            f"the mask {path} belongs to no defect image; rename or remove it"
            for path in pictures_in(folder)
            if not {path.stem, path.stem.removesuffix("_mask")} & stems
        ]
    return faults


def _check_files(train: list[Path], test: list[Sample], faults: list[str]) -> None:
    """Decode every file once and compare the sizes of masks and images."""
    masked = {sample.mask_path: sample.image_path for sample in test if sample.mask_path}
    paths = [*train, *(sample.image_path for sample in test), *masked]
    sizes = dict(zip(paths, check_pictures(paths), strict=True))
    faults += [str(size) for size in sizes.values() if isinstance(size, UserError)]
    for mask, image in masked.items():
        one, other = sizes[mask], sizes[image]
        if isinstance(one, tuple) and isinstance(other, tuple) and one != other:
            faults.append(
                f"the mask {mask} is {one[0]} x {one[1]} pixels, its image {image} is "
                f"{other[0]} x {other[1]}; they must be equal"
            )
