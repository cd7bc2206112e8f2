"""Every choice of a run in one dataclass, its presets, and the folder where a run is kept."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro
import yaml

from aw_ssim.category_weights import PRESETS as CATEGORY_PRESETS

# Their background is plain and never defective, so artificial defects belong on the object alone.
OBJECTS_ON_PLAIN_BACKGROUND = frozenset({"bottle", "capsule", "hazelnut", "hazelnut_toy", "pill"})

PACKAGES = (
    "aw_ssim", "torch", "torchvision", "lpips", "accelerate", "scikit-image", "scikit-learn",
    "pillow", "numpy",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings:
    """Two-stage defect detection: train on normal images of one category, test on its defects."""

    preset: Literal["demo", "quick", "paper"] = "demo"
    """Where the other settings start from: minutes, half an hour, or the paper's sizes."""
    data_root: Path | None = None
    """Folder of the categories in the MVTec AD layout. None: real textures, painted defects."""
    category: str = "brick"
    """Folder name below data_root; of the demo: brick, grass or gravel."""
    run_folder: Path | None = None
    """Where the results go. None: a new numbered folder below ./runs."""
    overwrite: bool = False
    """Write into run_folder even if it holds files already."""
    seed: int = 0
    """Of the weights, the patches, the artificial defects and the demo's pictures."""

    image_size: int = 160
    """Images are resized to this many pixels a side."""
    patch_size: int = 128
    """Side of the patches the network sees, in pixels; a multiple of 32."""
    channels: Literal[1, 3] = 3
    """Grey or RGB; every picture is converted."""

    width: int = 16
    """Channels of the first stage; they double at each of the five stages."""
    latent_channels: int = 64
    """Channels of the narrowest features, at 1/32 of the resolution."""
    skips: Literal["none", "two", "all"] = "two"
    """Skip connections: none, at 1/8 and 1/16 of the resolution, or at every stage."""

    stage_1_epochs: int = 10
    """Epochs on normal images with the AW-SSIM loss."""
    stage_2_epochs: int = 15
    """Epochs on artificially defective images with AW-SSIM and LPIPS."""
    crops_per_image: int = 16
    """Random patches per image and epoch."""
    batch_size: int = 16
    """Patches for each optimiser step."""
    learning_rate: float = 1e-3
    """At the start of each stage; falls to 0 along a cosine."""
    input_noise: float = 0.05
    """Std of the noise on stage 1's input, in units of the range [0, 1]."""
    defect_probability: float = 0.5
    """Share of stage 2's patches that carry an artificial defect."""
    foreground_only: bool | None = None
    """Artificial defects on the object only. None: for objects on a plain background."""

    weights: tuple[float, float, float] | None = None
    """Of luminance, contrast and structure. None: the category's preset, else equal."""
    mix: float = 0.8
    """Share of AW-SSIM in stage 2's loss; the rest is LPIPS."""
    sigma_start: float = 0.5
    """Std of the Gaussian window at an epoch's start, in pixels."""
    sigma_end: float = 2.5
    """Std of the Gaussian window at an epoch's end, in pixels."""

    test_stride: int = 32
    """Distance of overlapping patches at test time, in pixels."""
    residual_sigma: float = 4.0
    """Std of the Gaussian that smooths the combined residual, in pixels."""
    pictures_per_type: int = 2
    """Result pictures for each kind of defect."""

    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Of the network; the losses stay in float32."""
    workers: int = 0
    """Processes that prepare patches; 0: the training process itself."""

    def __post_init__(self) -> None:
        if self.patch_size % 32:
            raise ValueError(f"patch_size must be a multiple of 32, got {self.patch_size}")
        if self.image_size < self.patch_size:
            raise ValueError(
                f"image_size ({self.image_size}) must be at least patch_size ({self.patch_size})"
            )
        if not 1 <= self.test_stride <= self.patch_size // 2:
            raise ValueError(
                f"test_stride must be from 1 to half of patch_size ({self.patch_size // 2}), so "
                f"that test patches overlap; got {self.test_stride}"
            )

    def loss_weights(self) -> tuple[float, float, float] | str:
        """What `AWSSIMLoss(weights=...)` takes: three numbers or the name of a category."""
        if self.weights is not None:
            return self.weights
        return self.category if self.category in CATEGORY_PRESETS else (1 / 3, 1 / 3, 1 / 3)

    def defects_on_foreground(self) -> bool:
        if self.foreground_only is not None:
            return self.foreground_only
        return self.category in OBJECTS_ON_PLAIN_BACKGROUND


PRESETS = {
    "demo": Settings(
        preset="demo",
        channels=1,
        stage_1_epochs=6,
        stage_2_epochs=14,
        crops_per_image=8,
    ),
    "quick": Settings(
        preset="quick",
        category="pill",
        image_size=256,
        stage_1_epochs=6,
        stage_2_epochs=14,
        crops_per_image=8,
    ),
    "paper": Settings(
        preset="paper",
        category="pill",
        image_size=512,
        width=32,
        residual_sigma=8.0,
        test_stride=64,
    ),
}


def read_settings(arguments: Sequence[str] | None = None) -> Settings:
    """Settings from the command line; the preset only moves the defaults of the others."""
    first_look = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first_look.add_argument("--preset", choices=tuple(PRESETS))
    first_look.add_argument("--data-root", "--data_root")
    known, _ = first_look.parse_known_args(arguments)
    preset = known.preset or ("demo" if known.data_root is None else "quick")
    return tyro.cli(Settings, default=PRESETS[preset], args=arguments)


def create_run_folder(settings: Settings) -> Path:
    """Make the folder of this run; one that holds files is an error unless `overwrite` is set."""
    if settings.run_folder is None:
        return _create_numbered_folder(Path("runs"), f"{settings.category}-{settings.preset}")
    folder = settings.run_folder
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"expected a folder for the run, got the file {folder}")
    if folder.is_dir() and any(folder.iterdir()) and not settings.overwrite:
        raise FileExistsError(
            f"the run folder {folder} already holds files; name another with --run-folder, "
            "or pass --overwrite"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _create_numbered_folder(parent: Path, name: str) -> Path:
    number = 1
    while (folder := parent / f"{name}-{number:03d}").exists():
        number += 1
    folder.mkdir(parents=True)
    return folder


def save_settings(settings: Settings, folder: Path) -> Path:
    """Write the settings, and the versions they ran with, to `settings.yaml`."""
    values = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in dataclasses.asdict(settings).items()
    }
    values["weights"] = None if settings.weights is None else list(settings.weights)
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({"settings": values, "versions": versions()}, sort_keys=False))
    return path


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a result."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
