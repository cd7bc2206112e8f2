"""The command `evaluate`: the figures of a trained network again, perhaps scored otherwise."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from ..report.results import write_results
from ..report.tables import format_summary
from ..run.errors import UserError
from ..run.folder import load_metrics, load_settings, refuse_links, save_settings
from ..run.groups import Scoring
from ..run.lock import held
from ..run.run import Run, find_processes
from ..run.settings import Settings
from ..scoring.evaluation import score_test_images
from ..scoring.selection import choose
from ..scoring.trained_run import load_network
from ..training.data import load_data_again
from .command_line import parse


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Evaluate a trained run anew. What is not given stays as the run had it, whatever the
    defaults below, which are those of a new run."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    out: Path | None = None
    """Where the figures and the report go. None: the folder `evaluation` in the run's."""
    data_root: Path | None = None
    """Where the data lies now."""
    scoring: Scoring = dataclasses.field(default_factory=Scoring)


def read_options(arguments: Sequence[str]) -> tuple[Evaluation, Settings]:
    """The options, and the run's settings with them in place."""
    # The first reading says which run it is, the second starts from that run's own settings.
    folder = parse(Evaluation, "evaluate", arguments).run
    settings = load_settings(folder)
    own = Evaluation(folder, data_root=settings.data.data_root, scoring=settings.scoring)
    options = parse(Evaluation, "evaluate", arguments, own)
    data = dataclasses.replace(settings.data, data_root=options.data_root)
    try:
        return options, dataclasses.replace(settings, data=data, scoring=options.scoring)
    except UserError as error:
        raise UserError(f"the run's settings and the new ones do not fit: {error}") from error


def main(arguments: Sequence[str]) -> None:
    options, settings = read_options(arguments)
    folder = options.out or options.run / "evaluation"
    if folder.resolve() == options.run.resolve():
        raise UserError(f"expected another folder than the run's own for --out, got {folder}")
    # The demo's pictures are written into the run's folder again.
    for written in (options.run, folder):
        refuse_links(written)

    trained = Run(settings, options.run, find_processes(settings.training))
    model = load_network(options.run, trained.device)
    data = load_data_again(trained)
    run = dataclasses.replace(trained, folder=folder)
    with held(folder) if run.is_main else contextlib.nullcontext():
        evaluation = score_test_images(model, choose(model, data, settings), data, run)
        if run.is_main:
            save_settings(settings, folder)
            if data.record is not None:
                data.record.save(folder, data.notes)
        write_results(evaluation, run)
    run.print(format_summary(load_metrics(folder)))
    run.print(f"see {folder / 'report.html'}")
