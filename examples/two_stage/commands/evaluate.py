"""The command `evaluate`: the figures of a trained network again, perhaps scored otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from ..report.page import write_report
from ..report.tables import format_scores
from ..run.checks import SettingError
from ..run.folder import RunError, load_metrics, load_settings, refuse_links, save_settings
from ..run.settings import Residual
from ..scoring.evaluation import choose, evaluate
from ..scoring.trained_run import load_network
from ..training.stages import build_accelerator
from .train import load_data_together


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
    options = tyro.cli(Evaluation, args=arguments)
    changes = {
        key: value
        for key, value in dataclasses.asdict(options).items()
        if key not in ("run", "out") and value is not None
    }
    try:
        settings = dataclasses.replace(load_settings(options.run), **changes)
    except SettingError as error:
        raise RunError(f"the run's settings and the new ones do not fit: {error}") from error
    folder = options.out or options.run / "evaluation"
    if folder.resolve() == options.run.resolve():
        raise RunError(f"expected another folder than the run's own for --out, got {folder}")
    # The demo's pictures are written into the run's folder again.
    for written in (options.run, folder):
        refuse_links(written)

    accelerator = build_accelerator(settings)
    model = load_network(options.run, accelerator.device)
    data = load_data_together(settings, options.run, accelerator)
    folder.mkdir(parents=True, exist_ok=True)
    evaluate(model, choose(model, data, settings), data, settings, folder, accelerator)
    if accelerator.is_main_process:
        save_settings(settings, folder)
        write_report(folder)
        print(format_scores(load_metrics(folder)))
        print(f"see {folder / 'report.html'}")
