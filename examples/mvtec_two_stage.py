"""Two-stage defect detection of J. Imaging 2024, 10(5):111, from pictures to a report.

The demo, a real texture with painted defects, takes a few minutes on two CPU cores:
    python examples/mvtec_two_stage.py
A category in the MVTec AD layout, at the paper's sizes:
    python examples/mvtec_two_stage.py train --data-root DIR --category pill --preset paper
What came of it, and what else there is:
    python examples/mvtec_two_stage.py predict FOLDER --run runs/pill-paper-001
    python examples/mvtec_two_stage.py COMMAND --help
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from two_stage.commands import ablate, evaluate, export, predict, train, tune
from two_stage.pictures.files import DataError
from two_stage.run.checks import SettingError
from two_stage.run.cpu_memory import keep_freed_memory
from two_stage.run.folder import RunError, one_line
from two_stage.training.stages import leave_processes

COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    # Both stages on normal images, then the test set's figures and a report.
    "train": train.main,
    # The figures of a trained network again, with another residual, stride or test set.
    "evaluate": evaluate.main,
    # Scores, heat maps and overlays of a folder of pictures.
    "predict": predict.main,
    # The network and its map as one torch.export or ONNX file.
    "export": export.main,
    # The paper's Table 2 and further arms.
    "ablate": ablate.main,
    # Loss weights for one's own product, from normal images alone.
    "tune": tune.main,
}


def main(arguments: Sequence[str]) -> None:
    keep_freed_memory()
    command, rest = "train", arguments
    if arguments and not arguments[0].startswith("-"):
        command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        sys.exit(f"expected a command of {', '.join(COMMANDS)}; got {command!r}")
    try:
        COMMANDS[command](rest)
    except (DataError, RunError, SettingError) as error:
        # What is wrong with the user's files needs no traceback; a file's name may be of two lines.
        sys.exit(f"error: {one_line(error)}")
    leave_processes()


if __name__ == "__main__":
    main(sys.argv[1:])
