"""The settings in groups, so that a function's arguments say which of them it depends on."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Literal

from .arms import ARMS
from .checks import RISING, Checked, between, inside
from .errors import UserError

ArmName = Literal[tuple(ARMS)]
Upsampling = Literal["transposed", "nearest"]
Source = Literal["same", "categories", "noise", "folder"]
Residual = Literal[
    "auto", "l1", "aw_ssim", "gradient",
    "l1+aw_ssim", "l1+gradient", "aw_ssim+gradient", "l1+aw_ssim+gradient",
]  # fmt: skip


def category_names(text: str) -> list[str]:
    """The parts of a setting `category`; shells complete a folder's name with a slash."""
    return [name.strip().rstrip("/" + os.sep) for name in text.split(",")]


@dataclasses.dataclass(frozen=True)
class Running(Checked):
    """Where a run lies and how it starts, and nothing that changes what it computes."""

    run_folder: Path | None = None
    """Where the results go; with several categories each has a folder in it. None: the first
    numbered folder below ./runs that is free or holds a run of these very settings."""
    overwrite: bool = False
    """Delete what run_folder holds of an earlier run and start from the beginning."""
    max_megapixels: Annotated[float, between(0.001, 10**5)] = 89.5
    """Larger pictures are refused: a small file can claim a size that fills all memory."""


@dataclasses.dataclass(frozen=True)
class Data(Checked):
    """The pictures, and which of them are held out."""

    data_root: Path | None = None
    """Folder of the categories, each in the MVTec AD layout or with normal/, defective/, masks/.
    None: real textures, painted defects."""
    category: str = "brick"
    """Folder name below data_root, several as a,b,c, or "all". Demo: brick, grass or gravel."""
    image_size: Annotated[int, between(32, 8192)] = 160
    """Images are resized to this many pixels a side."""
    channels: Literal[1, 3] = 3
    """Grey or RGB; every picture is converted."""
    white: Annotated[int | None, between(1, 65535)] = None
    """Value of white in grey files of more than 8 bits. None: of 10, 12, 14 or 16 bits, the fewest
    that hold the brightest normal pixel."""
    validation_share: Annotated[float, inside(0, 1)] = 0.1
    """Share of the normal training images held out: the residual, its smoothing and the
    thresholds are chosen on them, never on test images."""

    def check(self) -> None:
        # Results are written to folders that carry its name.
        if any(name != Path(name).name for name in category_names(self.category)):
            raise UserError(
                f"category must be the name of a folder below data_root, got {self.category!r}"
            )


@dataclasses.dataclass(frozen=True)
class Network(Checked):
    """The autoencoder."""

    architecture: Literal["paper", "dilated"] = "paper"
    """The paper's five stages, or three and dilated convolutions, without latent or skips."""
    upsampling: Upsampling = "transposed"
    """Of the decoder: transposed convolutions, or nearest neighbours and a convolution."""
    width: Annotated[int, between(1, 1024)] = 16
    """Channels of the first stage; they double at each of the five stages."""
    latent_channels: Annotated[int, between(1, 65536)] = 64
    """Channels of the narrowest features, at 1/32 of the resolution."""
    skips: Literal["none", "two", "all"] = "two"
    """Skip connections: none, at 1/8 and 1/16 of the resolution, or at every stage."""


@dataclasses.dataclass(frozen=True)
class Stages(Checked):
    """What the stages minimise, on what, how long, and how often they are saved."""

    arm: ArmName = "two-stage"
    """The paper's method, or the arm of the ablation to train in its place."""
    stage_1_epochs: Annotated[int, between(0, 10**6)] = 10
    """Epochs on normal images with the AW-SSIM loss."""
    stage_2_epochs: Annotated[int, between(0, 10**6)] = 15
    """Epochs on artificially defective images with AW-SSIM and LPIPS."""
    input_noise: Annotated[float, between(0, 100)] = 0.05
    """Std of the noise on stage 1's input, in units of the range [0, 1]."""
    defect_noise: Annotated[float, between(0, 100)] = 0.0
    """Std of the noise on stage 2's input."""
    defect_probability: Annotated[float, between(0, 1)] = 0.5
    """Share of stage 2's patches that carry artificial defects."""
    weights: tuple[float, float, float] | None = None
    """Of luminance, contrast and structure. None: the category's preset, else equal."""
    mix: Annotated[float, between(0, 1)] = 0.8
    """Share of AW-SSIM in stage 2's loss; the rest is LPIPS."""
    pixel_weight: Annotated[float, between(0, 100)] = 0.0
    """Of L1, added to the loss of every stage: structure alone lets a flat picture pass."""
    repair_weight: Annotated[float, between(0, 100)] = 0.0
    """Of L1 on the pixels of artificial defects, added to stage 2's loss."""
    lpips_share: Annotated[float, between(0.01, 1)] = 1.0
    """Share of each batch that LPIPS, the dearest part of a step, sees."""
    sigma_start: Annotated[float, between(1e-6, 8192)] = 0.5
    """Std of the Gaussian window at an epoch's start, in pixels."""
    sigma_end: Annotated[float, between(1e-6, 8192)] = 2.5
    """Std of the Gaussian window at an epoch's end, in pixels."""
    checkpoint_steps: Annotated[int, between(1, 10**9)] = 200
    """Optimiser steps between two checkpoints; one is written after every stage too."""

    def check(self) -> None:
        if self.sigma_end < self.sigma_start:
            raise UserError(
                f"sigma_end ({self.sigma_end}) must be at least sigma_start "
                f"({self.sigma_start}): the window grows"
            )
        if self.weights is not None and not (min(self.weights) >= 0 < max(self.weights)):
            raise UserError(f"weights must be at least 0 and not all 0, got {self.weights}")


@dataclasses.dataclass(frozen=True)
class Training(Checked):
    """Patches and optimiser, the same for every stage."""

    seed: Annotated[int, between(0, 2**32 - 1)] = 0
    """Of the weights, the patches, the artificial defects and the demo's pictures."""
    patch_size: Annotated[int, between(32, 8192)] = 128
    """Side of the patches the network sees, in pixels; a multiple of 32."""
    patches: Literal["random", "grid"] = "random"
    """Random patches, or the paper's fixed grid without overlap."""
    crops_per_image: Annotated[int, between(1, 65536)] = 16
    """Random patches per image and epoch; a grid has its own number."""
    least_patches: Annotated[int, between(0, 10**6)] = 0
    """Random patches per epoch at least: few images are then cropped more often."""
    flips: Literal["none", "horizontal", "both"] = "none"
    """Patches are mirrored at random; not for products whose side matters."""
    batch_size: Annotated[int, between(1, 65536)] = 16
    """Patches for each optimiser step, over all processes."""
    learning_rate: Annotated[float, between(0, 100)] = 1e-3
    """At the start of each stage; falls to 0 along a cosine."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Of the network; the losses stay in float32."""
    compile: bool = False
    """Compile the network with torch.compile: slower to start, faster afterwards."""

    def check(self) -> None:
        if self.patch_size % 32:
            raise UserError(f"patch_size must be a multiple of 32, got {self.patch_size}")


@dataclasses.dataclass(frozen=True)
class Defects(Checked):
    """The artificial defects of stage 2."""

    defect_count: Annotated[tuple[int, int], RISING] = (1, 4)
    """Fewest and most artificial defects on such a patch."""
    defect_side: Annotated[tuple[float, float], RISING] = (0.03, 0.4)
    """Least and largest height and width of a defect, as shares of the image's side."""
    defect_opacity: Annotated[tuple[float, float], RISING] = (0.5, 1.0)
    """Least and largest opacity of a defect."""
    defect_feather: Annotated[tuple[float, float], RISING] = (0.5, 2.0)
    """Least and largest std of the Gaussian on a defect and its edge, in pixels."""
    defect_sources: tuple[Source, ...] = ("same",)
    """What defects are cut from, each as likely: other images of the category, other categories
    below data_root, procedural noise, or the pictures in texture_folder."""
    texture_folder: Path | None = None
    """Pictures to cut defects from, for the source "folder"."""
    foreground_only: bool | None = None
    """Artificial defects on the object only. None: for objects on a plain background."""

    def check(self) -> None:
        if not self.defect_sources:
            raise UserError("defect_sources is empty; name at least one, such as same")
        if ("folder" in self.defect_sources) != (self.texture_folder is not None):
            raise UserError(
                "the source folder and --texture-folder go together; got defect_sources "
                f"{self.defect_sources} and texture_folder {self.texture_folder}"
            )


@dataclasses.dataclass(frozen=True)
class Scoring(Checked):
    """From the trained network to maps, thresholds and pictures."""

    test_patch_size: Annotated[int | None, between(32, 8192)] = None
    """Side of the patches at test time. None: as in training. With the image_size the whole image
    is one, which is several times faster."""
    test_stride: int = 32
    """Distance of overlapping patches at test time, in pixels."""
    residual: Residual = "auto"
    """What is scored. auto: the one that finds artificial defects best on held-out normals."""
    normality: Literal["place", "picture", "auto"] = "place"
    """What a residual is held against: what it is on normal pictures at the same place, or anywhere
    in them, for objects that lie as they like. auto: chosen like the residual."""
    scored_area: Literal["picture", "product"] = "picture"
    """What is scored: the whole picture or, with defects on the foreground only, the places where a
    product lies on normal pictures; the background's score is then 0."""
    smoothing: Annotated[float | None, between(0, 8192)] = None
    """Std of the Gaussian that smooths the residual, in pixels. None: chosen like the residual."""
    threshold_quantile: Annotated[float, inside(0, 1)] = 0.995
    """Thresholds lie at this quantile of held-out normal images: of their pixels for maps."""
    pictures_per_type: Annotated[int, between(0, 10**6)] = 2
    """Result pictures for each kind of defect."""

    def smoothings(self, image_size: int) -> tuple[float, ...]:
        """The stds to choose from: shares of the image's side, so that sizes compare."""
        if self.smoothing is not None:
            return (self.smoothing,)
        return tuple(image_size * share for share in (1 / 128, 1 / 64, 1 / 32))
