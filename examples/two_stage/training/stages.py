"""The stages of one run's training, each continued where it stopped."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from ..defects.adga import DefectRanges
from ..run.checkpoint import (
    flatten_optimiser,
    load_checkpoint,
    load_weights,
    named_below,
    read_tensors,
    remove_checkpoints,
    restore_optimiser,
    save_checkpoint,
    save_weights,
)
from ..run.errors import UserError, one_line
from ..run.folder import parse_json, save_json, write_atomically
from ..run.groups import Training
from ..run.interrupt import Interrupted, postponed_signals
from ..run.progress import progress
from ..run.run import Run
from .batch_norm import measure_batch_norm, share_batch_norm
from .data import RunData
from .facts import describe_training
from .losses import Stage, StageLoss, stages_of
from .model import build_model, count_parameters
from .patches import PatchStream, Share, clean_patches

LOG_COLUMNS = ("stage", "epoch", "step", "loss", "sigma")
SECONDS_BETWEEN_LOSSES = 1.0


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a stage has come."""

    steps: int
    log: Tensor
    """steps x LOG_COLUMNS."""
    seconds: float
    """Of training, without those lost by an interruption."""


START = Progress(0, torch.empty(0, len(LOG_COLUMNS), dtype=torch.float64), 0.0)


def new_model(run: Run) -> nn.Module:
    """The network before training, on every process the same."""
    set_seed(run.settings.training.seed)
    model = build_model(run.settings.data.channels, run.settings.network).to(run.device)
    if run.processes.num_processes > 1:
        share_batch_norm(model)
    count, network = run.processes.num_processes, run.settings.network
    kind = "dilated" if network.architecture == "dilated" else f"{network.skips} skips"
    run.print(
        f"{count_parameters(model):,} parameters, {kind}; "
        f"{count} process{'es' if count > 1 else ''} on {run.device.type}"
    )
    return model


def train_stage(number: int, stage: Stage, model: nn.Module, data: RunData, run: Run) -> None:
    """Train `model` in place and leave `stage_1.safetensors`, ... and its log in the run's folder.

    A stage that is there already is loaded, one that was interrupted goes on from its last
    checkpoint; on a CPU both give the bits of an uninterrupted run.
    """
    stages = stages_of(run.settings)
    path = run.folder / f"stage_{number}.safetensors"
    facts = describe_training(run.settings, stages[:number])
    if number == 1 and run.first_stage is not None:
        adopt_stage(number, run.first_stage, run)
    if path.exists():
        _load_finished_stage(model, path, facts)
    else:
        log, seconds = _train(number, stage, model, data, run)
        measure_batch_norm(model, clean_patches(data.train, run.settings.training))
        if run.is_main:
            _write_log(log, run.folder / f"stage_{number}.csv")
            _record_seconds(run.folder, number, seconds)
            save_weights(model, path, facts)
            remove_checkpoints(run.folder)
        run.together()
    if run.is_main and number == len(stages):
        # Stopped between the last weights and their removal above, they are still there.
        remove_checkpoints(run.folder)
        logs = [run.folder / f"stage_{number}.csv" for number in range(1, len(stages) + 1)]
        _join_logs(logs, run.folder / "training_log.csv")


def adopt_stage(number: int, source: Path, run: Run) -> None:
    """Copy a finished stage of another run, whose weights must then fit `describe_training`."""
    for name in (f"stage_{number}.csv", f"stage_{number}.safetensors"):
        if run.is_main and not (run.folder / name).exists():
            write_atomically(run.folder / name, (source / name).read_bytes())
    run.together()


def learning_rate(base: float, step: int, steps: int) -> float:
    """Falls from `base` to 0 along half a cosine."""
    return base * 0.5 * (1 + math.cos(math.pi * step / steps))


def _train(
    number: int, stage: Stage, model: nn.Module, data: RunData, run: Run
) -> tuple[Tensor, float]:
    """Returns the log, steps x LOG_COLUMNS, and how many seconds the steps took."""
    settings, training, processes = run.settings, run.settings.training, run.processes
    patches = patches_of(number, stage, data, run)
    loss = StageLoss(stage, patches.steps_per_epoch).to(run.device)
    optimiser = torch.optim.Adam(model.parameters(), training.learning_rate)
    total = stage.epochs * patches.steps_per_epoch
    begun = _continue_from_checkpoint(number, model, optimiser, total, run)
    first, log, before = begun.steps, begun.log, begun.seconds
    started = time.perf_counter()
    for _ in range(first % patches.steps_per_epoch):
        loss.schedule.step()

    # The network may be wrapped; `model` keeps the parameters and their plain names.
    network = torch.compile(model) if training.compile else model
    network, optimiser = processes.prepare(network, optimiser)
    network.train()
    bar = progress(title=f"stage {number}", total=total, initial=first, quiet=not run.is_main)
    recent: list[Tensor] = []
    read = 0.0
    # Several processes would stop at different steps, and wait for each other for ever.
    with bar, postponed_signals(processes.num_processes == 1) as signals:
        for step in range(first, total):
            epoch, step_of_epoch = divmod(step, patches.steps_per_epoch)
            if step_of_epoch == 0:
                loss.schedule.reset()
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(training.learning_rate, step, total)
            inputs, targets, defective = patches.batch(step)
            value = loss(network(inputs), targets, defective)
            optimiser.zero_grad()
            processes.backward(value)
            optimiser.step()
            # Kept as a tensor: to read the value at every step would make a GPU wait.
            recent.append(torch.stack((value.detach().float(), loss.schedule.sigma.float())))
            loss.schedule.step()
            if run.is_main and time.perf_counter() - read > SECONDS_BETWEEN_LOSSES:
                read = time.perf_counter()
                now, sigma = recent[-1].tolist()
                bar.set_postfix(
                    epoch=epoch + 1, loss=f"{now:.4f}", sigma=f"{sigma:.2f}", refresh=False
                )
            bar.update()
            done = step + 1
            if done % settings.stages.checkpoint_steps == 0 or done == total or signals.came:
                rows = _log_rows(number, done, patches, recent, processes)
                log = torch.cat((log, rows))
                recent.clear()
                if run.is_main:
                    _refuse_divergence(model, rows, training)
                    seconds = before + time.perf_counter() - started
                    _save_progress(number, Progress(done, log, seconds), model, optimiser, run)
            if signals.came:
                raise Interrupted(signals.came)
    return log, before + time.perf_counter() - started


def patches_of(number: int, stage: Stage, data: RunData, run: Run) -> PatchStream:
    """What this process trains on in one stage."""
    return PatchStream(
        data.train,
        stage,
        number,
        run.settings.training,
        bank=data.bank,
        ranges=DefectRanges.of(run.settings.defects),
        foregrounds=data.foregrounds,
        share=Share(run.processes.process_index, run.processes.num_processes),
    )


def _refuse_divergence(model: nn.Module, rows: Tensor, training: Training) -> None:
    """Before a checkpoint is written: from weights that are NaN no command could go on."""
    weights = all(parameter.isfinite().all() for parameter in model.parameters())
    # In half precision a step whose loss is none is left out; all of them are too many.
    if not weights or not rows[:, 3].isfinite().any():
        stage, _, step = (int(value) for value in rows[-1, :3])
        raise UserError(
            f"stage {stage} diverged: by step {step + 1} its loss or weights are NaN or infinite; "
            f"start again with --overwrite and a --learning-rate below {training.learning_rate:g}"
        )


def _log_rows(
    number: int, done: int, patches: PatchStream, recent: list[Tensor], processes: Accelerator
) -> Tensor:
    """Rows of the last steps; the loss is the mean over all processes."""
    values = processes.reduce(torch.stack(recent), reduction="mean").double().cpu()
    steps = torch.arange(done - len(recent), done, dtype=torch.float64)
    epochs = steps.div(patches.steps_per_epoch, rounding_mode="floor")
    stage = torch.full_like(steps, number)
    return torch.cat((torch.stack((stage, epochs, steps), dim=1), values), dim=1)


def _save_progress(
    number: int, progress: Progress, model: nn.Module, optimiser: torch.optim.Optimizer, run: Run
) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= flatten_optimiser(optimiser)
    scaler = run.processes.scaler
    facts = {
        "stage": number,
        "steps": progress.steps,
        "seconds": progress.seconds,
        "scaler": {} if scaler is None else scaler.state_dict(),
    }
    save_checkpoint(run.folder, tensors | {"log": progress.log}, facts)


def _continue_from_checkpoint(
    number: int, model: nn.Module, optimiser: torch.optim.Optimizer, total: int, run: Run
) -> Progress:
    """What the newest checkpoint of this stage says; the model and the optimiser are filled."""
    found = load_checkpoint(run.folder)
    if found is None:
        return START
    tensors, facts = found
    # An undamaged file may still come from another run, or from somebody else.
    try:
        if facts["stage"] != number:
            return START
        model.load_state_dict(named_below("model.", tensors))
        restore_optimiser(optimiser, tensors)
        if run.processes.scaler is not None:
            run.processes.scaler.load_state_dict(facts["scaler"])
        progress = Progress(facts["steps"], tensors["log"], float(facts["seconds"]))
        if progress.log.shape != (progress.steps, len(LOG_COLUMNS)) or progress.steps > total:
            raise ValueError(
                f"{progress.steps} steps of {total}, and a log of {progress.log.shape}"
            )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the checkpoint in {run.folder} is not of this run ({one_line(error)}); start again "
            "with --overwrite"
        ) from error
    return progress


def _load_finished_stage(model: nn.Module, path: Path, expected: dict[str, Any]) -> None:
    _, facts = read_tensors(path)
    if facts != expected:
        raise UserError(
            f"{path} was trained with other settings than this run's; start again with --overwrite"
        )
    load_weights(model, path)


def training_seconds(folder: Path) -> dict[str, float]:
    """Seconds of each stage trained in this folder; a stage copied from another run has none."""
    path = folder / "seconds.json"
    return parse_json(path.read_bytes(), path) if path.exists() else {}


def _record_seconds(folder: Path, number: int, seconds: float) -> None:
    every = training_seconds(folder) | {f"stage_{number}": round(seconds, 2)}
    save_json(every, folder / "seconds.json")


def _write_log(log: Tensor, path: Path) -> None:
    lines = [",".join(LOG_COLUMNS)]
    for stage, epoch, step, loss, sigma in log.tolist():
        lines.append(f"{int(stage)},{int(epoch)},{int(step)},{loss:.6g},{sigma:.6g}")
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _join_logs(paths: list[Path], target: Path) -> None:
    logs = [path.read_text().splitlines() for path in paths]
    lines = [",".join(LOG_COLUMNS), *(line for log in logs for line in log[1:])]
    write_atomically(target, ("\n".join(lines) + "\n").encode())
