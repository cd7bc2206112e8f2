"""``python -m benchmarks all``, or some by name: ``python -m benchmarks speed memory``.

Each runs as a process of its own, for memory and threads are set per process; then the pictures
and the texts are written anew. ``python -m benchmarks page`` writes those alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.page import FILES


def run(name: str) -> None:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
    print(f"== {name}: {time.perf_counter() - start:.0f} s\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="+", choices=["all", *FILES, "page"], metavar="NAME")
    names = parser.parse_args().names
    for name in FILES:
        if name in names or "all" in names:
            run(name)
    for name in ("plot", "page"):
        run(name)


if __name__ == "__main__":
    main()
