"""Two-stage defect detection of J. Imaging 2024, 10(5):111, from pictures to a report.

The demo, a real texture with painted defects, takes a few minutes on two CPU cores:
    python examples/mvtec_two_stage.py
A category in the MVTec AD layout, at the paper's sizes:
    python examples/mvtec_two_stage.py train --data-root DIR --category pill --preset paper
Every command:
    python examples/mvtec_two_stage.py --help
"""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from two_stage.commands import ablate, evaluate, export, predict, train, tune
from two_stage.report.results import draw_artificial_defects, write_results
from two_stage.run.cpu_memory import keep_freed_memory
from two_stage.run.errors import explain
from two_stage.run.run import leave_processes, open_run
from two_stage.run.settings import Settings
from two_stage.scoring.evaluation import score_test_images
from two_stage.scoring.selection import choose
from two_stage.training.data import prepare_data
from two_stage.training.losses import stages_of
from two_stage.training.rehearsal import rehearse
from two_stage.training.stages import new_model, train_stage


def two_stages(settings: Settings, first_stage: Path | None = None) -> Path:
    """The method, with the paper's sections; an interrupted run goes on, a complete one is kept.

    `first_stage` is the folder of a run with the same first stage, which is then copied.
    """
    with open_run(settings, first_stage) as run:
        if run.is_complete:
            run.print(f"{run.folder} is complete; repeat it with --overwrite")
            return run.folder
        data = prepare_data(run)  # Section 4: normal images to train on, and a test set.
        model = new_model(run)  # 3.1: an autoencoder with two skip connections.
        rehearse(model, data, run)  # What cannot work ends here, before hours of training.
        draw_artificial_defects(data, run)  # 3.2: ADGA cuts polygons out and pastes them.
        # 3.3: AW-SSIM on normal images; then 3.4: AW-SSIM and LPIPS on ADGA's defective ones.
        for number, stage in enumerate(stages_of(settings), start=1):
            train_stage(number, stage, model, data, run)
        # Ours: residual and thresholds are chosen on held-out normal images, never on test ones.
        choice = choose(model, data, settings)
        evaluation = score_test_images(model, choice, data, run)  # 4.1: AUROC, and others.
        write_results(evaluation, run)  # Figures 3, 6 and 7, and Tables 1 and 2 beside ours.
        return run.folder


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], None], str]] = {
    "train": (
        partial(train.main, train=two_stages),
        "both stages on normal images, then the test set's figures and a report",
    ),
    "evaluate": (evaluate.main, "the figures of a trained run again, perhaps scored otherwise"),
    "predict": (predict.main, "scores, heat maps and overlays of a folder of pictures"),
    "export": (export.main, "the network and its map as one torch.export and one ONNX file"),
    "ablate": (
        partial(ablate.main, train=two_stages),
        "the arms of the paper's Table 2 and five more, side by side",
    ),
    "tune": (tune.main, "loss weights for your own product, from normal images only"),
}
SCRIPT = "python examples/mvtec_two_stage.py"


def show_commands() -> None:
    print(f"usage: {SCRIPT} [COMMAND] [OPTIONS]\n\ncommands:")
    for name, (_, line) in COMMANDS.items():
        print(f"  {name:<10}{line}")
    print(f"\nNo command means train. Options of a command: {SCRIPT} COMMAND --help")


def main(arguments: Sequence[str]) -> None:
    keep_freed_memory()
    speak_any_language()
    command, rest = "train", arguments
    if arguments and not arguments[0].startswith("-"):
        command, rest = arguments[0], arguments[1:]
    if arguments and arguments[0] in ("-h", "--help"):
        show_commands()
        return
    if command not in COMMANDS:
        sys.exit(f"expected a command of {', '.join(COMMANDS)}; got {command!r}")
    try:
        COMMANDS[command][0](rest)
    except KeyboardInterrupt as error:
        print(f"\nstopped; {how_to_go_on(command, rest)}", file=sys.stderr)
        sys.exit(128 + getattr(error, "number", signal.SIGINT))
    except Exception as error:
        # What the user can put right needs one line; a fault of this code its traceback.
        if (text := explain(error)) is None:
            raise
        sys.exit(text)
    leave_processes()


def how_to_go_on(command: str, arguments: Sequence[str]) -> str:
    if command not in ("train", "tune", "ablate"):
        return "nothing is lost, give the same command again"
    without = " without --overwrite" if "--overwrite" in arguments else ""
    return f"the same command{without} goes on where it was"


def speak_any_language() -> None:
    """A name that the console's encoding lacks is shown by its numbers, and ends no command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main(sys.argv[1:])
