"""The numba kernel where the tests of all backends do not lead: tiles, threads, its compilation."""

from __future__ import annotations

import ast
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tolerances import assert_gradient_close, assert_value_close
from torch import Tensor

import aw_ssim as aw_ssim_package
from aw_ssim import AWSSIMLoss, aw_ssim, ssim

pytest.importorskip("numba", reason="numba is optional: the extra aw_ssim[cpu]")

from numba_cases import WEIGHTS, images, results_at_many_widths, value_and_gradients

from aw_ssim.backends.numba_cpu import run
from aw_ssim.backends.numba_cpu.passes import COLUMNS, ROWS
from aw_ssim.backends.numba_cpu.tiles import cut
from aw_ssim.backends.numba_cpu.values import LANES

USUAL = run.Kind(masked=False, window=run.USUAL_WINDOW)


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 12, 2 * COLUMNS + 3), (1, 2, 2 * ROWS + 5, 13), (1, 1, ROWS + 1, COLUMNS + 1)],
    ids=["wide", "high", "both"],
)
def test_tiles_join_without_a_seam(shape: tuple[int, ...], reduction: str, padding: str) -> None:
    x, y = images(shape)
    options = {"reduction": reduction, "padding": padding}
    actual = value_and_gradients(x, y, backend="numba", **options)
    expected = value_and_gradients(x.double(), y.double(), backend="torch", **options)
    assert_value_close(actual[0], expected[0], torch.float32)
    for left, right in zip(actual[1:], expected[1:], strict=True):
        assert_gradient_close(left, right, torch.float32)


@pytest.mark.parametrize("window", [1, 11, 33])
@pytest.mark.parametrize("size", [33, 512, 513, 5000])
def test_parts_cover_a_dimension(size: int, window: int) -> None:
    for margin in (0, window // 2):
        parts = cut(size, COLUMNS, margin, window, gradient=True)
        assert parts[0][0] == 0
        assert parts[-1][1] == size + 2 * margin
        for (_, end, _, windows_end), (begin, _, first, _) in pairwise(parts):
            assert end == begin == windows_end
            # A gradient needs all windows that reach into the part, and none is worked on in vain.
            assert first == begin - window + 1
        assert all(end - begin <= COLUMNS + 2 * margin for begin, end, _, _ in parts)


@pytest.mark.usefixtures("threads")
def test_more_threads_give_the_same_bits() -> None:
    x, y = images((5, 2, 40, 50))
    results = []
    for count in (1, 2, 3, 16):
        torch.set_num_threads(count)
        results.append(value_and_gradients(x, y, reduction="sum", backend="numba"))
    for other in results[1:]:
        for left, right in zip(results[0], other, strict=True):
            assert torch.equal(left, right)


@pytest.mark.parametrize("masked", [False, True])
def test_taps_written_out_give_the_bits_of_the_loop(
    masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = images((2, 1, 30, 41))
    mask = (x > 0.4).float() if masked else None
    expected = value_and_gradients(x, y, mask=mask, backend="numba")
    assert run._kernels[run.Kind(masked, run.USUAL_WINDOW)].overloads
    monkeypatch.setattr(run, "USUAL_WINDOW", None)
    for left, right in zip(
        value_and_gradients(x, y, mask=mask, backend="numba"), expected, strict=True
    ):
        assert torch.equal(left, right)
    assert run._kernels[run.Kind(masked, None)].overloads


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 2, 4])
def test_as_many_threads_as_torch_has(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, seen = run._kernels[USUAL], []

    class Spy:
        overloads = kernel.overloads

        def __call__(self, *arguments: Any) -> None:
            seen.append(threading.current_thread())
            kernel(*arguments)

    monkeypatch.setitem(run._kernels, USUAL, Spy())
    torch.set_num_threads(count)
    aw_ssim(*images((6, 1, 20, 20)), backend="numba")
    assert len(seen) == count
    assert threading.current_thread() in seen


def test_many_threads_share_a_loss() -> None:
    loss = AWSSIMLoss(WEIGHTS, backend="numba")
    pairs = [images((2, 1, 30, 30 + i)) for i in range(8)]
    expected = [loss(*pair) for pair in pairs]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(5):
            prediction = pairs[i][0].clone().requires_grad_()
            value = loss(prediction, pairs[i][1])
            value.backward()
            if not torch.equal(value.detach(), expected[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []


def _in_child(queue: Any, x: Tensor, y: Tensor) -> None:
    torch.set_num_threads(2)
    queue.put(float(ssim(x, y, backend="numba")))


@pytest.mark.usefixtures("threads")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_in_a_forked_process() -> None:
    """The parent's threads, in use before the fork, are not in the child."""
    torch.set_num_threads(2)
    x, y = images((4, 1, 40, 40))
    expected = float(ssim(x, y, backend="numba"))
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(queue, x, y))
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0
    assert queue.get() == expected


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_where_it_is(bad: float) -> None:
    x, y = images((1, 1, 30, 40))
    x[0, 0, 12, 20] = bad
    value = aw_ssim(x, y, reduction="none", backend="numba")
    expected = aw_ssim(x, y, reduction="none", backend="torch")
    assert torch.equal(value.isfinite(), expected.isfinite())
    assert not value.isfinite().all()


def test_nothing_is_left_of_the_call_before() -> None:
    """Its buffers serve the next one, which may have fewer terms."""
    x, y = images((1, 1, 12, 30))
    expected = ssim(x, y, backend="numba")
    aw_ssim(x * torch.nan, y, backend="numba")
    assert torch.equal(ssim(x, y, backend="numba"), expected)


def call_anew(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment["PYTHONPATH"] = os.pathsep.join((str(folder), *sys.path))
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished


def test_compilation_is_reported_once_and_kept_until_a_constant_changes(tmp_path: Path) -> None:
    """Compiled for the other size of vectors, so that both are tested on any machine."""
    package = Path(aw_ssim_package.__file__).parent
    shutil.copytree(package, tmp_path / "aw_ssim", ignore=shutil.ignore_patterns("__pycache__"))
    features = "" if LANES == 16 else "+avx512f"
    code = f"""
import torch
from numba.core.codegen import JITCPUCodegen
known = JITCPUCodegen.magic_tuple
JITCPUCodegen.magic_tuple = lambda self: (*known(self)[:2], {features!r})
from aw_ssim.backends.numba_cpu.values import LANES
from numba_cases import results_at_many_widths
torch.save((LANES, results_at_many_widths()), "results.pt")
"""
    kept = str(tmp_path / "kept")
    first, second = (call_anew(code, tmp_path, NUMBA_CACHE_DIR=kept) for _ in range(2))
    assert "aw_ssim compiled its CPU kernel in" in first.stderr
    assert str(tmp_path) in first.stderr
    assert list(tmp_path.rglob("*.nbc"))
    assert second.stderr == ""
    lanes, results = torch.load(tmp_path / "results.pt", weights_only=True)
    assert {lanes, LANES} == {8, 16}
    for theirs, own in zip(results, results_at_many_widths(), strict=True):
        assert torch.equal(theirs, own)

    formulas = tmp_path / "aw_ssim" / "formulas.py"
    text = formulas.read_text(encoding="utf-8")
    assert text.count("EPS = 1e-12\n") == 1
    formulas.write_text(text.replace("EPS = 1e-12\n", "EPS = 1e-3\n"), encoding="utf-8")
    third = call_anew(code, tmp_path, NUMBA_CACHE_DIR=kept)
    assert "aw_ssim compiled its CPU kernel in" in third.stderr
    _, results = torch.load(tmp_path / "results.pt", weights_only=True)
    # A kernel that was read from the disk would give the very same bits.
    assert not torch.equal(results[1], results_at_many_widths()[1])


def test_what_is_kept_depends_on_every_file_of_the_kernel() -> None:
    """A changed pass must not meet an older kernel: the two would disagree about memory."""
    named = {path.resolve() for path in run._sources()}
    for path in Path(run.__file__).parent.glob("*.py"):
        assert path.resolve() in named
        if path.name == "run.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level > 1:
                module = path.parents[node.level - 1] / f"{node.module}.py"
                assert module.resolve() in named, f"{path.name} imports {module}"
    digest = run._digest_of_sources()
    for kind, kernel in run._kernels.items():
        cells = [cell.cell_contents for cell in kernel.py_func.__closure__]
        assert cells == [digest, kind.window]


CALL = (
    "import torch, aw_ssim; x, y = torch.rand(2, 1, 1, 20, 20);"
    "print(*[bool(aw_ssim.ssim(x, y).isfinite()) for _ in range(2)])"
)


def test_a_kernel_cut_short_on_the_disk_is_compiled_anew(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = call_anew(CALL, tmp_path, NUMBA_CACHE_DIR=str(kept))
    assert "is compiling" in first.stderr
    assert "compiled its CPU kernel in" in first.stderr
    (file,) = kept.rglob("*.nbc")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again = call_anew(CALL, tmp_path, NUMBA_CACHE_DIR=str(kept))
    assert again.stdout == "True True\n"
    assert "numba cannot use its cache in" in again.stderr
    assert str(kept) in again.stderr
    file.write_bytes(whole)
    assert call_anew(CALL, tmp_path, NUMBA_CACHE_DIR=str(kept)).stderr == ""


def test_a_disk_that_is_full_costs_the_cache_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """numba has compiled the kernel by the time that it cannot keep it: it is used."""

    class Full:
        overloads: ClassVar[list[str]] = []
        stats = SimpleNamespace(cache_path="the cache's folder", cache_hits={})

        def __call__(self, *_: object) -> None:
            self.overloads.append("compiled")
            raise OSError(28, "No space left on device")

    kernel = Full()
    monkeypatch.setitem(run._kernels, USUAL, kernel)
    run._compile(USUAL, run.Job(*[np.zeros(1)] * len(run.Job._fields)), None)
    assert run._kernels[USUAL] is kernel
    (record,) = caplog.records
    assert "cache in the cache's folder: OSError" in record.getMessage()
    assert "Set NUMBA_CACHE_DIR" in record.getMessage()


def test_numba_told_not_to_compile_is_not_used(tmp_path: Path) -> None:
    code = f"{CALL}; print(aw_ssim.choose_backend('auto', x, y, 1.5))"
    finished = call_anew(code, tmp_path, NUMBA_DISABLE_JIT="1")
    assert "name='analytic'" in finished.stdout
    assert "NUMBA_DISABLE_JIT" in finished.stdout


def test_the_first_call_is_like_any_other(tmp_path: Path) -> None:
    """It compiles, with a job without tiles, and must leave the real one whole."""
    code = (
        "import torch, aw_ssim; x, y = torch.rand(2, 3, 1, 20, 20);"
        "options = {'reduction': 'none', 'backend': 'numba'};"
        "print(torch.equal(aw_ssim.ssim(x, y, **options), aw_ssim.ssim(x, y, **options)))"
    )
    assert call_anew(code, tmp_path).stdout == "True\n"
