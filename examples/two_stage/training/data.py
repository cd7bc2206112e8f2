"""All that one run works on: normal images in memory, split, and the files of the test set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from ..defects.sources import SourceBank, build_source_bank
from ..pictures.category import MVTEC, PLAIN, Sample, categories_in, find_category
from ..pictures.demo import NORMALS, write_demo_dataset
from ..pictures.files import load_images, pictures_in
from ..pictures.foreground import estimate_foreground
from ..run.errors import UserError
from ..run.groups import Data, Defects
from ..run.run import Run
from ..run.seeds import seeded
from ..run.settings import Settings

# Enough variety to cut defects from, and little memory.
PICTURES_PER_SOURCE = 64


@dataclasses.dataclass(frozen=True)
class RunData:
    """Images are uint8, N x C x S x S, on the device that trains."""

    train: Tensor
    held_out: Tensor
    """Normal images that training never sees: choices and thresholds are made on them."""
    foregrounds: Tensor | None
    """Of `train`, N x S x S bool; None where the whole image is the product."""
    held_out_foregrounds: Tensor | None
    bank: SourceBank
    """What artificial defects are cut from."""
    test: tuple[Sample, ...]


def prepare_data(run: Run, *, with_test: bool = True) -> RunData:
    """The data of a run, and its folder; faulty data leaves no folder behind and deletes no run."""
    demo = run.settings.data.data_root is None
    if demo:
        # Its pictures are written into the run's folder.
        check_demo(run.settings)
        run.make_folder()
    data = load_data(run, with_test=with_test)
    if not demo:
        run.make_folder()
    run.print(
        f"{run.settings.data.category}, {run.settings.stages.arm}: {len(data.train)} normal images "
        f"to train on, {len(data.held_out)} held out, {len(data.test)} to test on; {run.folder}"
    )
    return data


def load_data(run: Run, *, with_test: bool = True) -> RunData:
    """The main process first: it writes the demo's pictures."""
    with run.main_first():
        return load_run_data(run.settings, run.folder, run.device, with_test=with_test)


def load_run_data(
    settings: Settings, folder: Path, device: torch.device | str = "cpu", *, with_test: bool = True
) -> RunData:
    """Check every file, then read the normal images; the demo's are written to `folder` first.

    Without the test set, `test` is empty and no file of it is opened.
    """
    files, defects, seed = settings.data, settings.defects, settings.training.seed
    data_root = data_root_of(files, folder)
    if files.data_root is None:
        _, apart = split_held_out(NORMALS, files, seed)
        write_demo_dataset(data_root, files.category, seed=seed, held_out=apart.tolist())
    test = test_samples(files, folder) if with_test else ()
    paths = normal_pictures(data_root, files.category)
    train, held_out = split_held_out(len(paths), files, seed)
    images = load_images(paths, files.image_size, files.channels)

    foregrounds = None
    if settings.defects_on_foreground():
        foregrounds = torch.stack([estimate_foreground(image.float() / 255) for image in images])
    normal = images[train].to(device)
    bank = build_source_bank(
        defects.defect_sources,
        normal,
        other_categories=_other_categories(defects, files, data_root),
        textures=_textures(defects, files),
        generator=seeded(seed, 0, "sources", 0),
    )
    return RunData(
        train=normal,
        held_out=images[held_out].to(device),
        foregrounds=None if foregrounds is None else foregrounds[train].to(device),
        held_out_foregrounds=None if foregrounds is None else foregrounds[held_out].to(device),
        bank=bank,
        test=test,
    )


def check_demo(settings: Settings) -> None:
    """Raise a UserError for what would otherwise fail once the demo's pictures are written."""
    split_held_out(NORMALS, settings.data, settings.training.seed)
    if "categories" in settings.defects.defect_sources:
        raise UserError(
            "the defect source categories needs other categories, and the demo has only one; "
            "leave it out, or pass --data-root for your own"
        )
    _textures(settings.defects, settings.data)


def normal_pictures(data_root: Path, category: str) -> list[Path]:
    """The normal pictures of a category; they are listed, not opened.

    Raises:
        UserError: the category has none.
    """
    folder = data_root / category
    folder /= (MVTEC if MVTEC.is_in(folder) else PLAIN).train
    paths = pictures_in(folder) if folder.is_dir() else []
    if not paths:
        raise UserError(f"expected normal pictures, found none in {folder}")
    return paths


def test_samples(data: Data, folder: Path) -> tuple[Sample, ...]:
    """The test set of the run in `folder`; every file of the category is checked."""
    return find_category(data_root_of(data, folder), data.category).test


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


def _other_categories(defects: Defects, data: Data, data_root: Path) -> Tensor | None:
    if "categories" not in defects.defect_sources:
        return None
    others = [name for name in categories_in(data_root) if name != data.category]
    if not others:
        raise UserError(
            f"the defect source categories needs other categories in {data_root}, there are none"
        )
    paths = [path for name in others for path in normal_pictures(data_root, name)]
    return load_images(_spread_paths(paths), data.image_size, data.channels)


def _textures(defects: Defects, data: Data) -> Tensor | None:
    folder = defects.texture_folder
    if folder is None:
        return None
    paths = pictures_in(folder) if folder.is_dir() else []
    if not paths:
        raise UserError(f"expected pictures to cut defects from, found none in {folder}")
    return load_images(_spread_paths(paths), data.image_size, data.channels)


def spread(images: Tensor, most: int) -> Tensor:
    """At most so many of the images, evenly spread."""
    return images[torch.linspace(0, len(images) - 1, min(most, len(images))).long()]


def _spread_paths(paths: list[Path]) -> list[Path]:
    step = max(1, len(paths) // PICTURES_PER_SOURCE)
    return paths[::step][:PICTURES_PER_SOURCE]
