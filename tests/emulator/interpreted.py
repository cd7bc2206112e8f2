"""A case in Triton's interpreter, which is chosen for a process before Triton is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from .cases import Case, Outcome, compare

TESTS = Path(__file__).parents[1]


def interpreted(case: Case) -> Outcome:
    """Makes the comparison in a process of its own."""
    folders = [str(TESTS.parent), str(TESTS), str(TESTS / "support")]
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]),
    }
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "case.pt", Path(folder) / "outcome.pt"
        torch.save(tuple(case), given)
        command = [sys.executable, "-m", "emulator.interpreted", str(given), str(found)]
        finished = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        return Outcome(*torch.load(found, weights_only=True))


if __name__ == "__main__":
    torch.set_num_threads(1)
    given_case = Case(*torch.load(sys.argv[1], weights_only=True))
    torch.save(tuple(compare(given_case, None)), sys.argv[2])
