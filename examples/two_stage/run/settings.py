"""Every choice of a run in one dataclass, and its presets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from aw_ssim.category_weights import PRESETS as CATEGORY_PRESETS

from .checks import brief, check_settings
from .errors import UserError

# Their background is plain and never defective, so artificial defects belong on the object alone.
OBJECTS_ON_PLAIN_BACKGROUND = frozenset({"bottle", "capsule", "hazelnut", "hazelnut_toy", "pill"})

Arm = Literal[
    "two-stage",
    "ssim+l1",
    "lpips+ssim",
    "aw-ssim",
    "fixed-sigma",
    "equal-weights",
    "product-ssim",
    "no-lpips",
    "adga-from-start",
]
Source = Literal["same", "categories", "noise", "folder"]
Residual = Literal[
    "auto",
    "l1",
    "aw_ssim",
    "gradient",
    "l1+aw_ssim",
    "l1+gradient",
    "aw_ssim+gradient",
    "l1+aw_ssim+gradient",
]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Two-stage defect detection: train on normal images of one category, test on its defects."""

    preset: Literal["demo", "quick", "paper", "long"] = "demo"
    """Where the other settings start from: minutes, half an hour, the paper's sizes, 300 epochs."""
    data_root: Path | None = None
    """Folder of the categories, each in the MVTec AD layout or with normal/, defective/, masks/.
    None: real textures, painted defects."""
    category: str = "brick"
    """Folder name below data_root, several as a,b,c, or "all". Demo: brick, grass or gravel."""
    arm: Arm = "two-stage"
    """The paper's method, or the arm of the ablation to train in its place."""
    run_folder: Path | None = None
    """Where the results go; with several categories each has a folder in it. None: the first
    numbered folder below ./runs that is free or holds a run of these very settings."""
    overwrite: bool = False
    """Delete what run_folder holds of an earlier run and start from the beginning."""
    seed: int = 0
    """Of the weights, the patches, the artificial defects and the demo's pictures."""

    image_size: int = 160
    """Images are resized to this many pixels a side."""
    patch_size: int = 128
    """Side of the patches the network sees, in pixels; a multiple of 32."""
    channels: Literal[1, 3] = 3
    """Grey or RGB; every picture is converted."""
    validation_share: float = 0.1
    """Share of the normal training images held out: the residual, its smoothing and the
    thresholds are chosen on them, never on test images."""

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
    patches: Literal["random", "grid"] = "random"
    """Random patches, or the paper's fixed grid without overlap."""
    crops_per_image: int = 16
    """Random patches per image and epoch; a grid has its own number."""
    flips: Literal["none", "horizontal", "both"] = "none"
    """Patches are mirrored at random; not for products whose side matters."""
    batch_size: int = 16
    """Patches for each optimiser step, over all processes."""
    learning_rate: float = 1e-3
    """At the start of each stage; falls to 0 along a cosine."""
    input_noise: float = 0.05
    """Std of the noise on stage 1's input, in units of the range [0, 1]."""

    defect_probability: float = 0.5
    """Share of stage 2's patches that carry artificial defects."""
    defect_count: tuple[int, int] = (1, 4)
    """Fewest and most artificial defects on such a patch."""
    defect_side: tuple[float, float] = (0.03, 0.4)
    """Least and largest height and width of a defect, as shares of the image's side."""
    defect_opacity: tuple[float, float] = (0.5, 1.0)
    """Least and largest opacity of a defect."""
    defect_feather: tuple[float, float] = (0.5, 2.0)
    """Least and largest std of the Gaussian on a defect and its edge, in pixels."""
    defect_sources: tuple[Source, ...] = ("same",)
    """What defects are cut from, each as likely: other images of the category, other categories
    below data_root, procedural noise, or the pictures in texture_folder."""
    texture_folder: Path | None = None
    """Pictures to cut defects from, for the source "folder"."""
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
    residual: Residual = "auto"
    """What is scored. auto: the one that finds artificial defects best on held-out normals."""
    smoothing: float | None = None
    """Std of the Gaussian that smooths the residual, in pixels. None: chosen like the residual."""
    threshold_quantile: float = 0.995
    """Thresholds lie at this quantile of held-out normal images: of their pixels for maps."""
    pictures_per_type: int = 2
    """Result pictures for each kind of defect."""

    checkpoint_steps: int = 200
    """Optimiser steps between two checkpoints; one is written after every stage too."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Of the network; the losses stay in float32."""
    compile: bool = False
    """Compile the network with torch.compile: slower to start, faster afterwards."""

    def __post_init__(self) -> None:
        check_settings(self)

    def loss_weights(self) -> tuple[float, float, float] | str:
        """What `AWSSIMLoss(weights=...)` takes: three numbers or the name of a category."""
        if self.weights is not None:
            return self.weights
        return self.category if self.category in CATEGORY_PRESETS else (1 / 3, 1 / 3, 1 / 3)

    def defects_on_foreground(self) -> bool:
        if self.foreground_only is not None:
            return self.foreground_only
        return self.category in OBJECTS_ON_PLAIN_BACKGROUND

    def smoothings(self) -> tuple[float, ...]:
        """The stds to choose from: shares of the image's side, so that sizes compare."""
        if self.smoothing is not None:
            return (self.smoothing,)
        return tuple(self.image_size * share for share in (1 / 128, 1 / 64, 1 / 32))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """The inverse of `to_dict`; unknown names and values of another type are an error."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UserError(f"expected settings of this version, got unknown {brief(unknown)}")
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        for key in ("data_root", "run_folder", "texture_folder"):
            if values.get(key) is not None:
                values[key] = Path(values[key])
        return cls(**values)


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
        test_stride=64,
    ),
    "long": Settings(
        preset="long",
        category="pill",
        image_size=512,
        width=32,
        stage_1_epochs=100,
        stage_2_epochs=200,
        test_stride=64,
    ),
}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
