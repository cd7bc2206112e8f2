"""The command `evaluate`: the figures of a trained network again, perhaps scored otherwise."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import tyro

from ..report.results import write_results
from ..report.tables import format_summary
from ..run.errors import UserError
from ..run.folder import (
    PARTIAL,
    identity,
    load_metrics,
    load_settings,
    parse_json,
    refuse_links,
    save_json,
    save_settings,
    write_atomically,
)
from ..run.groups import Scoring
from ..run.lock import LOCK, held
from ..run.run import Run, find_processes
from ..run.settings import Settings
from ..scoring.evaluation import score_test_images
from ..scoring.selection import choose
from ..scoring.trained_run import load_network, network_file
from ..training.data import load_data_again
from .command_line import parse

# By it a folder is known as an evaluation, and of which network.
MARK = "evaluation.json"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Evaluate a trained run anew. What is not given stays as the run had it, whatever the
    defaults below, which are those of a new run. The folder of an evaluation holds the network
    too: predict and export take it in place of the run's, and then score as it did."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    out: Path | None = None
    """A new or empty folder for the figures and the report, or that of the same evaluation. None:
    the folder `evaluation` in the run's, numbered where that holds another one."""
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
    network = network_file(options.run)
    trained = Run(settings, options.run, find_processes(settings.training))
    model = load_network(options.run, trained.device)
    mark = {"network": hashlib.sha256(network.read_bytes()).hexdigest(), "run": options.run.name}
    # The demo's pictures are written into the run's folder again.
    for written in filter(None, (options.run, options.out)):
        refuse_links(written)
    folder = find_folder(options, settings, mark)

    data = load_data_again(trained)
    run = dataclasses.replace(trained, folder=folder)
    with held(folder) if run.is_main else contextlib.nullcontext():
        if run.is_main:
            begin(folder, network, mark, settings)
            if data.record is not None:
                data.record.save(folder, data.notes)
        run.together()
        evaluation = score_test_images(model, choose(model, data, settings), data, run)
        write_results(evaluation, run)
    run.print(format_summary(load_metrics(folder)))
    run.print(f"see {folder / 'report.html'}; to score so: predict or export with --run {folder}")


def find_folder(options: Evaluation, settings: Settings, mark: dict[str, str]) -> Path:
    """Where the evaluation goes: a folder that is free, or that holds this very evaluation.

    Raises:
        UserError: the folder that was named holds something else.
    """
    if options.out is not None:
        if not _is_free(options.out, settings, mark):
            raise UserError(
                f"{options.out} holds something already that is not this evaluation; name a new or "
                "empty folder with --out"
            )
        return options.out
    number, folder = 1, options.run / "evaluation"
    while not _is_free(folder, settings, mark):
        number += 1
        folder = options.run / f"evaluation_{number}"
    return folder


def _is_free(folder: Path, settings: Settings, mark: dict[str, str]) -> bool:
    if not folder.exists() and not folder.is_symlink():
        return True
    if not folder.is_dir():
        return False
    # Killed before its first file was whole, an evaluation has left no more than these.
    if not {path.name for path in folder.iterdir()} - {LOCK, f"{MARK}{PARTIAL}"}:
        return True
    try:
        path = folder / MARK
        same = path.is_file() and parse_json(path.read_bytes(), path) == mark
        begun = (folder / "settings.yaml").is_file()
        return same and not (begun and identity(load_settings(folder)) != identity(settings))
    except UserError:
        return False


def begin(folder: Path, network: Path, mark: dict[str, str], settings: Settings) -> None:
    """Make the folder ready: stopped from now on, it is unfinished, and never half of two."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("metrics.json", "scorer.safetensors"):
        (folder / name).unlink(missing_ok=True)
    # First: by it a folder that was left half-made is known again.
    save_json(mark, folder / MARK)
    save_settings(settings, folder)
    write_atomically(folder / network.name, network.read_bytes())
