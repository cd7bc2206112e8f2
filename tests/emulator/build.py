"""The machine's library, compiled at first use and kept."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = ("machine.cpp", "launch.h", "arithmetic.h", "memory.h")
# A sum and a product must stay two roundings: what is joined stands in the PTX.
FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC")


def compiler() -> str | None:
    """The C++ compiler: what CXX names, else the first there is."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next(filter(None, map(shutil.which, names)), None)


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aw_ssim_emulator"


@functools.cache
def library() -> ctypes.CDLL:
    """Loads it, and compiles it where these sources and this compiler have not been yet."""
    command = compiler()
    if command is None:
        raise FileNotFoundError("the emulator needs a C++ compiler: install one or set CXX")
    content = hashlib.sha256(repr((os.path.realpath(command), FLAGS)).encode())
    for name in SOURCES:
        content.update((HERE / name).read_bytes())
    path = cache_folder() / f"machine-{content.hexdigest()[:16]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under its own name only when it is whole: another process may be at it too.
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            built = Path(folder) / path.name
            source = str(HERE / "machine.cpp")
            finished = subprocess.run(
                [command, *FLAGS, "-o", str(built), source], capture_output=True, text=True
            )
            if finished.returncode:
                raise RuntimeError(f"{command} cannot compile {source}:\n{finished.stderr}")
            built.replace(path)
    loaded = ctypes.CDLL(str(path))
    loaded.computation.argtypes = [ctypes.c_char_p]
    loaded.kind_of_finding.restype = ctypes.c_char_p
    return loaded
