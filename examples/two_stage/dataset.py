"""Pictures in the MVTec AD layout, checked and read into memory before training starts."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

IMAGE_SUFFIXES = frozenset(
    suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN
)


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
    """The files of one category: normal pictures to train on, and the test set."""

    train: tuple[Path, ...]
    test: tuple[Sample, ...]


def find_category(data_root: Path, category: str) -> CategoryFiles:
    """List the files of `data_root/category` and pair each defect image with its own mask.

    Raises:
        FileNotFoundError: a folder, its images or a mask are missing.
        ValueError: a mask and its image differ in size, or a file is not a readable image.
    """
    folder = _category_folder(data_root, category)
    train = _images_in(folder / "train" / "good")
    test = [Sample(path, None, "good") for path in _images_in(folder / "test" / "good")]
    defects = sorted(path for path in (folder / "test").iterdir() if path.is_dir())
    for defect in defects:
        if defect.name != "good":
            masks = folder / "ground_truth" / defect.name
            test += [
                Sample(path, _mask_of(path, masks), defect.name) for path in _images_in(defect)
            ]
    if all(sample.mask_path is None for sample in test):
        raise FileNotFoundError(
            f"expected a folder of images for each kind of defect in {folder / 'test'}, "
            "found only 'good'"
        )
    for path in train:
        _check_readable(path)
    for sample in test:
        _check_sample(sample)
    return CategoryFiles(tuple(train), tuple(test))


def load_image(path: Path, size: int, channels: int) -> Tensor:
    """Read a picture of 8 or 16 bits as a float32 tensor `channels x size x size` in [0, 1]."""
    with Image.open(path) as image:
        if image.mode.startswith("I") or image.mode == "F":
            if image.mode == "F":
                raise ValueError(f"{path} holds floats of unknown range; save it as 8 or 16 bits")
            plane = torch.from_numpy(np.asarray(image, dtype=np.float32) / 65535)
            resized = torch.nn.functional.interpolate(
                plane[None, None], (size, size), mode="bilinear", antialias=True
            )[0]
            return resized.clamp(0, 1).expand(channels, -1, -1).clone()
        # Transparency and palettes are dropped, grey is repeated, colour is weighted to grey.
        image = image.convert("RGB" if channels == 3 else "L")
        image = image.resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.array(image, dtype=np.float32).reshape(size, size, channels) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def load_mask(path: Path | None, size: int) -> Tensor:
    """Read a mask as a boolean tensor `size x size`; no path means no defect."""
    if path is None:
        return torch.zeros(size, size, dtype=torch.bool)
    with Image.open(path) as image:
        resized = image.convert("L").resize((size, size), Image.Resampling.NEAREST)
        return torch.from_numpy(np.array(resized) > 0)


def load_normal_images(paths: Sequence[Path], size: int, channels: int) -> Tensor:
    """Read pictures into one uint8 tensor `N x channels x size x size`, a quarter of float32."""
    images = torch.empty(len(paths), channels, size, size, dtype=torch.uint8)
    for slot, path in zip(images, paths, strict=True):
        slot.copy_(load_image(path, size, channels).mul(255).round())
    return images


def _category_folder(data_root: Path, category: str) -> Path:
    if not data_root.is_dir():
        raise FileNotFoundError(f"the data root {data_root} is not a folder; pass --data-root")
    folder = data_root / category
    if folder.is_dir():
        return folder
    present = sorted(path.parent.parent.name for path in data_root.glob("*/train/good"))
    nearest = difflib.get_close_matches(category, present, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise FileNotFoundError(
        f"no category {category!r} in {data_root}, which has "
        f"{', '.join(present) or 'no category (folders with train/good)'}{hint}"
    )


def _images_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"expected a folder of images, there is no {folder}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"expected images, got none in the folder {folder}")
    return paths


def _mask_of(image_path: Path, masks: Path) -> Path:
    files = sorted(masks.iterdir()) if masks.is_dir() else []
    # Some tools name the mask like its image, MVTec AD itself appends "_mask".
    for name in (f"{image_path.stem}_mask", image_path.stem):
        for path in files:
            if path.stem == name and path.suffix.lower() in IMAGE_SUFFIXES:
                return path
    raise FileNotFoundError(
        f"the defect image {image_path} has no mask: expected {masks / image_path.stem}_mask.png"
    )


def _check_readable(path: Path) -> tuple[int, int]:
    """Decode a file once, so that a damaged one stops the run before training, not during it."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size
    except (OSError, SyntaxError) as error:
        # Pillow raises SyntaxError for some damaged PNG files.
        raise ValueError(f"{path} is not an image that Pillow can read: {error}") from error


def _check_sample(sample: Sample) -> None:
    size = _check_readable(sample.image_path)
    if sample.mask_path is None:
        return
    mask_size = _check_readable(sample.mask_path)
    if mask_size != size:
        raise ValueError(
            f"the mask {sample.mask_path} is {mask_size[0]} x {mask_size[1]} pixels, its image "
            f"{sample.image_path} is {size[0]} x {size[1]}; they must be equal"
        )
