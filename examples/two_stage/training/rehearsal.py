"""What cannot work ends a run before hours of training, not after them."""

from __future__ import annotations

import copy
import shutil

import torch
from torch import nn

from ..run.checkpoint import CHECKPOINTS
from ..run.errors import UserError, one_line
from ..run.run import Run
from .data import RunData
from .losses import Stage, StageLoss, stages_of
from .stages import patches_of

# Of the weights and Adam's two means.
TENSORS_IN_A_CHECKPOINT = 3
MEGABYTE = 1e6


def rehearse(model: nn.Module, data: RunData, run: Run) -> None:
    """One step of every stage to come, on a copy of the network; and is there room on the disk?

    A step takes the most memory, the LPIPS weights and a batch that batch norm and the processes
    can share. It changes nothing: which numbers are drawn depends on seed and step alone.

    Raises:
        UserError: LPIPS cannot be had, the settings do not fit the processes, or the disk is full.
    """
    if run.is_main:
        check_room(model, run)
    for number, stage in enumerate(stages_of(run.settings), start=1):
        if stage.epochs > 0 and not (run.folder / f"stage_{number}.safetensors").exists():
            patches = patches_of(number, stage, data, run)
            loss = _loss(number, stage, patches.steps_per_epoch).to(run.device)
            network = copy.deepcopy(model).train()
            optimiser = torch.optim.Adam(network.parameters())
            inputs, targets, defective = patches.batch(0)
            with run.processes.autocast():
                outputs = network(inputs)
            loss(outputs.float(), targets, defective).backward()
            optimiser.step()


def check_room(model: nn.Module, run: Run) -> None:
    """Raise a UserError where weights and checkpoints do not fit on the disk."""
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    # Two checkpoints are kept while the next one is written.
    copies = len(stages_of(run.settings)) + TENSORS_IN_A_CHECKPOINT * len(CHECKPOINTS)
    there = sum(path.stat().st_size for path in run.folder.glob("*.safetensors"))
    needed, free = copies * weights - there, shutil.disk_usage(run.folder).free
    if free < needed:
        raise UserError(
            f"the weights and checkpoints in {run.folder} need {needed / MEGABYTE:,.0f} MB more, "
            f"and its disk has {free / MEGABYTE:,.0f} MB free; make room, or name a folder on "
            "another disk with --run-folder"
        )


def _loss(number: int, stage: Stage, steps_per_epoch: int) -> StageLoss:
    try:
        return StageLoss(stage, steps_per_epoch)
    except (ImportError, RuntimeError) as error:
        if stage.partner != "lpips":
            raise
        raise UserError(
            f"stage {number} needs LPIPS: {one_line(error)} Or train without it: --arm no-lpips"
        ) from error
