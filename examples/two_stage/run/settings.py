"""Every choice of a run: its groups together, flat on the command line and on the disk."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any, Literal

from aw_ssim.categories import PRESETS as CATEGORY_PRESETS

from .checks import Checked, brief
from .errors import UserError
from .groups import Data, Defects, Network, Running, Scoring, Stages, Training

# Their background is plain and never defective, so artificial defects belong on the object.
OBJECTS_ON_PLAIN_BACKGROUND = frozenset({"bottle", "capsule", "hazelnut", "hazelnut_toy", "pill"})


@dataclasses.dataclass(frozen=True)
class Settings(Checked):
    """Two-stage defect detection: train on normal images of one category, test on its defects."""

    preset: Literal["demo", "quick", "best", "paper", "long"] = "demo"
    """Where the other settings start from: minutes, half an hour, quick with what was found to
    help, the paper's sizes, 300 epochs."""
    data: Data = dataclasses.field(default_factory=Data)
    network: Network = dataclasses.field(default_factory=Network)
    stages: Stages = dataclasses.field(default_factory=Stages)
    training: Training = dataclasses.field(default_factory=Training)
    defects: Defects = dataclasses.field(default_factory=Defects)
    scoring: Scoring = dataclasses.field(default_factory=Scoring)
    running: Running = dataclasses.field(default_factory=Running)

    def check(self) -> None:
        image, patch = self.data.image_size, self.training.patch_size
        if image < patch:
            raise UserError(f"image_size ({image}) must be at least patch_size ({patch})")
        if self.training.patches == "grid" and image % patch:
            raise UserError(
                "a grid of patches needs an image_size that is a multiple of patch_size "
                f"({patch}), got {image}"
            )
        if patch == 32 and self.training.batch_size == 1:
            raise UserError(
                "a batch of one patch of 32 pixels leaves batch norm one value of each channel at "
                "1/32 of the resolution, and it needs two; pass --batch-size 2 or --patch-size 64"
            )
        tested = self.test_patch_size()
        if tested % 32 or tested > image:
            raise UserError(
                f"test_patch_size must be a multiple of 32 and at most image_size ({image}), got "
                f"{tested}"
            )
        if not 1 <= self.scoring.test_stride <= tested // 2:
            raise UserError(
                f"test_stride must be from 1 to half of the patches' side ({tested // 2}), so that "
                f"test patches overlap; got {self.scoring.test_stride}"
            )

    def test_patch_size(self) -> int:
        return self.scoring.test_patch_size or self.training.patch_size

    def loss_weights(self) -> tuple[float, float, float] | str:
        """What `AWSSIMLoss(weights=...)` takes: three numbers or the name of a category."""
        if self.stages.weights is not None:
            return self.stages.weights
        category = self.data.category
        return category if category in CATEGORY_PRESETS else (1 / 3, 1 / 3, 1 / 3)

    def defects_on_foreground(self) -> bool:
        if self.defects.foreground_only is not None:
            return self.defects.foreground_only
        return self.data.category in OBJECTS_ON_PLAIN_BACKGROUND

    @classmethod
    def of(cls, **values: Any) -> Settings:
        """Settings from their names on the command line, which no two groups share."""
        return cls().changed(**values)

    def changed(self, **values: Any) -> Settings:
        """A copy with other values, by their names on the command line."""
        groups = {}
        for name, group in self._groups().items():
            own = {key: values.pop(key) for key in names_of(type(group)) if key in values}
            groups[name] = dataclasses.replace(group, **own)
        preset = values.pop("preset", self.preset)
        if values:
            raise UserError(
                f"expected settings of this version, got unknown {brief(sorted(values))}"
            )
        return Settings(preset, **groups)

    def to_dict(self, *groups: type) -> dict[str, Any]:
        """Plain values for YAML and JSON, flat; only those of `groups`, if any are given."""
        values = {} if groups else {"preset": self.preset}
        for group in self._groups().values():
            if not groups or type(group) in groups:
                values |= dataclasses.asdict(group)
        return plain(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """The inverse of `to_dict`; unknown names and values of another type are an error."""
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        for group in cls()._groups().values():
            for key, kind in typing.get_type_hints(type(group)).items():
                if Path in typing.get_args(kind) and isinstance(values.get(key), str):
                    values[key] = Path(values[key])
        return cls.of(**values)

    def _groups(self) -> dict[str, Checked]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if name != "preset"}


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Of types that YAML and JSON know."""
    paths = {key: str(value) for key, value in values.items() if isinstance(value, Path)}
    lists = {key: list(value) for key, value in values.items() if isinstance(value, tuple)}
    return values | paths | lists


def names_of(group: type) -> list[str]:
    return [field.name for field in dataclasses.fields(group)]


DEMO = Settings.of(channels=1, stage_1_epochs=6, stage_2_epochs=14, crops_per_image=8)
QUICK = DEMO.changed(preset="quick", category="pill", channels=3, image_size=256)
BEST = QUICK.changed(
    preset="best",
    stage_1_epochs=2,
    stage_2_epochs=4,
    batch_size=8,
    least_patches=960,
    lpips_share=0.25,
    pixel_weight=3.0,
    normality="auto",
    scored_area="product",
)
PAPER = Settings.of(preset="paper", category="pill", image_size=512, width=32, test_stride=64)
LONG = PAPER.changed(preset="long", stage_1_epochs=100, stage_2_epochs=200)
PRESETS = {settings.preset: settings for settings in (DEMO, QUICK, BEST, PAPER, LONG)}
