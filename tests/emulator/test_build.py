"""The machine's library is compiled once, whole, and anew when its source changes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .requirements import require_emulator

require_emulator()

from . import build  # noqa: E402

SMALL = """
#include "memory.h"
extern "C" int computation(const char*) { return 7; }
extern "C" const char* kind_of_finding(int) { return ""; }
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Small sources, and an empty cache."""
    for name in build.SOURCES:
        (tmp_path / name).write_text(SMALL if name.endswith(".cpp") else "")
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.library.cache_clear()
    yield tmp_path
    build.library.cache_clear()


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "aw_ssim_emulator").iterdir())


def test_it_is_compiled_once_and_anew_after_an_edit(elsewhere: Path) -> None:
    build.library()
    (first,) = kept(elsewhere)
    written = first.stat().st_mtime_ns
    build.library.cache_clear()
    build.library()
    assert kept(elsewhere) == [first]
    assert first.stat().st_mtime_ns == written
    (elsewhere / "memory.h").write_text("// edited\n")
    build.library.cache_clear()
    build.library()
    assert len(kept(elsewhere)) == 2


def test_two_that_build_at_once_do_not_meet(elsewhere: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: build.library().computation(b""), range(4)))
    assert found == [7] * 4
    assert len(kept(elsewhere)) == 1


def test_an_error_of_the_compiler_is_shown(elsewhere: Path) -> None:
    (elsewhere / "machine.cpp").write_text("this is not C++\n")
    with pytest.raises(RuntimeError, match=r"cannot compile.*machine.cpp(.|\n)*error"):
        build.library()
    assert kept(elsewhere) == []


@pytest.mark.usefixtures("elsewhere")
def test_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no_such_compiler")
    with pytest.raises(FileNotFoundError, match="install one or set CXX"):
        build.library()
