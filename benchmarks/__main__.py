"""Runs benchmarks by name, then writes pictures and texts anew from the results.

Each runs as a process of its own, because memory and threads are set per process. Speed and
detection take options of their own: python -m benchmarks speed --device cuda
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks import ROOT

# What `all` runs.
FILES = (
    "speed",
    "overhead",
    "memory",
    "features",
    "accuracy",
    "scaling",
    "training_step",
    "ablation",
)
# What `benchmarks/gpu.sh` writes.
GPU_FILES = ("speed_cuda", "overhead_cuda", "training_step_cuda")
NAMES = (*FILES, "l1", "pictures", "detection", "tune_triton")
WITH_OPTIONS = (["speed"], ["pictures"], ["detection"])


def parse(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The benchmarks to run, in their order, and the options of the only one."""
    lines = {name: first_line(name) for name in NAMES}
    lines |= {"all": "All of them down to ablation.", "page": "Only the pictures and texts."}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="names:\n" + "\n".join(f"  {name:14} {line}" for name, line in lines.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", choices=lines, metavar="NAME")
    end = next((n for n, word in enumerate(arguments) if word not in lines), len(arguments))
    options = arguments[end:] if list(arguments[:end]) in WITH_OPTIONS else []
    names = parser.parse_args(arguments[:end] if options else arguments).names
    chosen = [name for name in NAMES if name in names or ("all" in names and name in FILES)]
    return chosen, list(options)


def first_line(name: str) -> str:
    text = (ROOT / "benchmarks" / "measure" / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def run(module: str, options: Sequence[str] = ()) -> None:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *options], check=True)
    print(f"== {module}: {time.perf_counter() - start:.0f} s\n", flush=True)


def main() -> None:
    names, options = parse(sys.argv[1:])
    for name in names:
        run(f"measure.{name}", options)
    # Options of speed are for another device, which no page shows.
    if not options or names == ["detection"]:
        run("pages.write")


if __name__ == "__main__":
    main()
