"""A trained run as one graph of plain operators, for `torch.export` and ONNX."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from .reconstruction import blend_profile, patch_starts
from .residuals import residual_maps
from .scorer import smoothing_matrix
from .trained_run import TrainedRun

INPUT = "image"
OUTPUTS = ("reconstruction", "anomaly_map", "image_score")
OPSET = 18


class ReconstructionAndMap(nn.Module):
    """A run as one graph: N x C x S x S in [0, 1] to reconstruction, anomaly map and score.

    The same numbers as `TrainedRun.score`, but for rounding. All patches of a batch go through
    the network at once.
    """

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        settings, scorer = run.settings, run.scorer
        size, patch_size = settings.data.image_size, settings.training.patch_size
        starts = torch.tensor(patch_starts(size, patch_size, settings.scoring.test_stride))
        # torch.export.save does not take training's memory layout, channels last.
        self.model = copy.deepcopy(run.model).to(memory_format=torch.contiguous_format)
        self.patch_size = patch_size
        self.patches_per_side = len(starts)
        self.loss_weights = settings.loss_weights()
        self.parts = scorer.parts
        # Rows of the image in the order of the patches' rows; columns are the same.
        places = (starts[:, None] + torch.arange(patch_size)).flatten()
        self.register_buffer("places", places)
        self.register_buffer("blend", blend_matrix(places, patch_size, size))
        for name, maps in (("means", scorer.normality.means), ("stds", scorer.normality.stds)):
            self.register_buffer(name, torch.stack([maps[part] for part in scorer.parts]))
        smoothing = (
            smoothing_matrix(size, scorer.smoothing) if scorer.smoothing else torch.eye(size)
        )
        self.register_buffer("smoothing", smoothing.clone())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reconstruction = self.blended(self.model(self.patches(image)))
        residuals = residual_maps(
            image, reconstruction, self.loss_weights, parts=self.parts, backend="torch"
        )
        stacked = torch.stack([residuals[part] for part in self.parts], dim=1)
        spreads = ((stacked - self.means) / self.stds).mean(1)
        anomaly_map = self.smoothing @ spreads @ self.smoothing.T
        return reconstruction, anomaly_map, anomaly_map.amax((1, 2))

    def patches(self, image: Tensor) -> Tensor:
        """N x C x S x S to (N * patches) x C x P x P."""
        n, p = self.patches_per_side, self.patch_size
        rows_and_columns = image[:, :, self.places][..., self.places]
        split = rows_and_columns.reshape(-1, image.shape[1], n, p, n, p)
        return split.permute(0, 2, 4, 1, 3, 5).reshape(-1, image.shape[1], p, p)

    def blended(self, patches: Tensor) -> Tensor:
        """The inverse of `patches`, where they overlap a weighted mean."""
        n, p, channels = self.patches_per_side, self.patch_size, patches.shape[1]
        split = patches.reshape(-1, n, n, channels, p, p)
        joined = split.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, n * p, n * p)
        return self.blend @ joined @ self.blend.T


def blend_matrix(places: Tensor, patch_size: int, size: int) -> Tensor:
    """size x (patches * patch_size): each pixel's weights of the patches' rows that cover it.

    The window is a product of its profiles, so blending is one matrix product for each axis.
    """
    weights = blend_profile(patch_size).repeat(len(places) // patch_size)
    matrix = torch.zeros(size, len(places))
    matrix[places, torch.arange(len(places))] = weights
    return matrix / matrix.sum(1, keepdim=True)


def export_program(run: TrainedRun) -> torch.export.ExportedProgram:
    """The graph of a run, for any number of pictures at once."""
    size = run.settings.data.image_size
    # Two: a batch of one would be taken for a constant.
    example = torch.rand(2, run.settings.data.channels, size, size)
    module = ReconstructionAndMap(run).eval()
    with torch.no_grad():
        return torch.export.export(
            module, (example,), dynamic_shapes={INPUT: {0: torch.export.Dim("batch", min=1)}}
        )


def save_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    torch.onnx.export(
        program,
        (),
        path,
        dynamo=True,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
