"""The library's tests on other Pythons, each with the oldest and the newest torch promised for it.

Run by hand with Python 3.11 or newer; every cell is a new environment of about 6 GB, deleted after
its tests:
    python tests/tools/version_matrix.py python3.10 python3.13
    python tests/tools/version_matrix.py python3.11 --torch 2.6.0 -- tests/library -x
Which torch is the oldest, and what the tests need, stands in pyproject.toml. The tests of the
example pipeline are left out: they need its extras.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Beside the extra `test` without the pipeline's: pictures, and the workflow's file.
ALSO_NEEDED = ("scikit-image", "pyyaml")
PIPELINE = "tests/pipeline"


class Row(NamedTuple):
    """One line of the table."""

    python: str
    torch: str
    outcome: str
    seconds: float


def requirements() -> list[str]:
    extras = PROJECT["optional-dependencies"]
    own = [line for line in extras["test"] if not line.startswith("aw-ssim[")]
    own += extras["cpu"]
    return own + [line for line in extras["examples"] if line.startswith(ALSO_NEEDED)]


def parse_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def torch_versions(python: str) -> list[str]:
    """The oldest release that the project promises and this Python can install, and the newest."""
    (requirement,) = PROJECT["dependencies"]
    least = parse_version(requirement.removeprefix("torch>="))
    listing = run([python, "-m", "pip", "index", "versions", "torch"]).stdout
    found = re.findall(r"\b\d+\.\d+\.\d+\b(?!\+)", listing.partition("Available versions:")[2])
    promised = sorted({parse_version(text) for text in found if parse_version(text) >= least})
    if not promised:
        sys.exit(f"expected torch{requirement[5:]} for {python}, pip lists {found}")
    return [".".join(map(str, version)) for version in (promised[0], promised[-1])]


def run(command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command, capture_output=True, text=True, check=False, cwd=ROOT, **options
    )


def cell(python: str, torch: str, selection: Sequence[str], logs: Path) -> Row:
    """Install one combination in a new environment, run the tests, keep what they printed."""
    started = time.monotonic()
    name = run([python, "-c", "import platform; print(platform.python_version())"]).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="aw_ssim_matrix_") as folder:
        inside = str(Path(folder) / "bin" / "python")
        # The optional backend, and LPIPS with its weights, in the releases that fit this torch.
        packages = [f"torch=={torch}", "-e", f"{ROOT}[cpu,offline]", *requirements()]
        steps = {
            "venv": [python, "-m", "venv", folder],
            "install": [inside, "-m", "pip", "install", "--quiet", *packages],
            "tests": [inside, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *selection],
        }
        for step, command in steps.items():
            finished = run(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
            log = logs / f"python-{name}-torch-{torch}-{step}.txt"
            log.write_text(finished.stdout + finished.stderr, encoding="utf-8")
            if finished.returncode and step != "tests":
                return Row(name, torch, f"{step} failed, see {log}", time.monotonic() - started)
    summary = finished.stdout.strip().splitlines()[-1].strip("= ")
    outcome = summary if finished.returncode == 0 else f"{summary}, see {log}"
    return Row(name, torch, outcome, time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("python", nargs="+", help="interpreters, by name or path")
    parser.add_argument("--torch", nargs="+", help="releases; by default the oldest and newest")
    parser.add_argument("--logs", type=Path, help="folder for what pip and pytest print")
    arguments = sys.argv[1:]
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:split])
    selection = arguments[split + 1 :] or ["tests", f"--ignore={PIPELINE}"]
    logs = options.logs or Path(tempfile.mkdtemp(prefix="aw_ssim_matrix_logs_"))
    logs.mkdir(parents=True, exist_ok=True)
    print("| Python | torch | outcome | seconds |\n|---|---|---|---|")
    failed = False
    for python in options.python:
        for torch in options.torch or torch_versions(python):
            row = cell(python, torch, selection, logs)
            failed |= " failed" in row.outcome or " error" in row.outcome
            print(f"| {row.python} | {row.torch} | {row.outcome} | {row.seconds:.0f} |", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
