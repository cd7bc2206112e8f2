"""The network and the scorer of a finished run, ready to score pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..pictures.files import allow_megapixels
from ..run.checkpoint import load_weights, read_weights
from ..run.errors import UserError, one_line
from ..run.folder import load_settings
from ..run.settings import Settings
from ..training.losses import stages_of
from ..training.model import build_model
from .scorer import Scorer, reconstruct_and_compare


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """What `train` left in a run's folder; the model is in evaluation mode."""

    settings: Settings
    model: nn.Module
    scorer: Scorer
    device: torch.device

    @torch.inference_mode()
    def score(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The reconstruction and the anomaly map S x S of an image C x S x S, float in [0, 1].

        The map is larger where a defect is likelier. Both are on the run's device.
        """
        reconstruction, residuals = reconstruct_and_compare(
            self.model, image.to(self.device), self.settings, self.scorer.parts
        )
        return reconstruction, self.scorer(residuals)


def load_trained_run(folder: Path, device: torch.device | str) -> TrainedRun:
    """Read `settings.yaml`, the last stage's weights and the scorer; nothing is executed.

    Raises:
        UserError: a file is missing, damaged or of another network.
    """
    settings = load_settings(folder)
    allow_megapixels(settings.running.max_megapixels)
    model = load_network(folder, device)
    _, path = weights_of(folder)
    scorer = _load_scorer(path, settings.data.image_size, device)
    return TrainedRun(settings, model, scorer, torch.device(device))


def load_network(folder: Path, device: torch.device | str) -> nn.Module:
    """The network after its last stage, in evaluation mode; raises as `load_trained_run`."""
    settings = load_settings(folder)
    path = network_file(folder)
    _check_finished(path)
    # Without memory first: settings from elsewhere may ask for a network of any size.
    with torch.device("meta"):
        planned = build_model(settings.data.channels, settings.network)
    read_weights(planned, path)
    model = build_model(settings.data.channels, settings.network)
    load_weights(model, path)
    return model.to(device).eval()


def weights_of(folder: Path) -> tuple[Path, Path]:
    """The files of the network and of the scorer; raises where one is missing."""
    paths = network_file(folder), folder / "scorer.safetensors"
    for path in paths:
        _check_finished(path)
    return paths


def network_file(folder: Path) -> Path:
    """Where a run's weights after its last stage are."""
    return folder / f"stage_{len(stages_of(load_settings(folder)))}.safetensors"


def _check_finished(path: Path) -> None:
    folder = path.parent
    if path.is_file():
        return
    if (folder / "scorer.safetensors").is_file():
        raise UserError(
            f"{folder} has a scorer but no network, there is no {path.name}: it is an evaluation "
            "by an earlier version; evaluate its run again, then it has both"
        )
    raise UserError(
        f"the run in {folder} is not finished, there is no {path.name}; repeat the command that "
        "made it, it goes on where it stopped"
    )


def _load_scorer(path: Path, size: int, device: torch.device | str) -> Scorer:
    try:
        scorer = Scorer.load(path, device)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged or not a run's scorer: {one_line(error)}") from error
    for part in scorer.parts:
        shape = tuple(scorer.normality.means[part].shape)
        if shape != (size, size):
            raise UserError(
                f"{path} scores maps of {shape}, its settings say image_size {size}; it is of "
                "another run"
            )
    return scorer
