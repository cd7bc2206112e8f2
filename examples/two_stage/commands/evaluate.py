"""The command `evaluate`: the figures of a trained network again, perhaps scored otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from ..report.results import write_results
from ..report.tables import format_scores
from ..run.errors import UserError
from ..run.folder import load_metrics, load_settings, refuse_links, save_settings
from ..run.run import Run, find_processes
from ..run.settings import Residual
from ..scoring.evaluation import score_test_images
from ..scoring.selection import choose
from ..scoring.trained_run import load_network
from ..training.data import load_data
from .command_line import parse


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Evaluate a trained run anew. What is not given stays as the run had it."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    out: Path | None = None
    """Where the figures and the report go. None: the folder `evaluation` in the run's."""
    data_root: Path | None = None
    """Where the data lies now."""
    test_stride: int | None = None
    """Distance of overlapping patches, in pixels."""
    residual: Residual | None = None
    """What is scored; auto: chosen on held-out normals."""
    smoothing: float | None = None
    """Std of the Gaussian that smooths the residual, in pixels."""
    threshold_quantile: float | None = None
    """Thresholds lie at this quantile of held-out normal images."""
    pictures_per_type: int | None = None
    """Result pictures for each kind of defect."""


def main(arguments: Sequence[str]) -> None:
    options = parse(Evaluation, "evaluate", arguments)
    changes = {
        key: value
        for key, value in dataclasses.asdict(options).items()
        if key not in ("run", "out") and value is not None
    }
    settings = load_settings(options.run)
    try:
        settings = dataclasses.replace(settings, **changes)
    except UserError as error:
        raise UserError(f"the run's settings and the new ones do not fit: {error}") from error
    folder = options.out or options.run / "evaluation"
    if folder.resolve() == options.run.resolve():
        raise UserError(f"expected another folder than the run's own for --out, got {folder}")
    # The demo's pictures are written into the run's folder again.
    for written in (options.run, folder):
        refuse_links(written)

    trained = Run(settings, options.run, find_processes(settings))
    model = load_network(options.run, trained.device)
    data = load_data(trained)
    run = dataclasses.replace(trained, folder=folder)
    folder.mkdir(parents=True, exist_ok=True)
    evaluation = score_test_images(model, choose(model, data, settings), data, run)
    if run.is_main:
        save_settings(settings, folder)
    write_results(evaluation, run)
    run.print(format_scores(load_metrics(folder)))
    run.print(f"see {folder / 'report.html'}")
