"""The threads of the CPU kernel: torch's own, or others where it has none that can be used."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
import torch

pytest.importorskip("numba", reason="numba is optional: the extra aw_ssim[cpu]")

from aw_ssim.backends.numba_cpu import threads
from aw_ssim.backends.numba_cpu.threads import run_in_threads

OF_THE_POOL = "aw_ssim"


@pytest.fixture(params=["openmp", "pool"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "pool":
        monkeypatch.setattr(threads, "_openmp", None)
    elif threads._openmp is None:
        pytest.skip("torch has not loaded GNU's OpenMP for all to see, as it does on Linux")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield request.param
    torch.set_num_threads(before)


def seen_in(count: int) -> dict[int, tuple[int, str]]:
    """What `run_in_threads` calls with each number: the system's number of a thread, its name."""
    seen = {}
    # None ends before all have begun: each is a thread of its own.
    together = threading.Barrier(count)

    def work(number: int) -> None:
        together.wait(timeout=60)
        seen[number] = threading.get_native_id(), threading.current_thread().name

    run_in_threads(count, work)
    return seen


def test_each_number_has_a_thread_and_the_caller_the_first(way: str) -> None:
    seen = seen_in(3)
    assert sorted(seen) == [0, 1, 2]
    assert len({thread for thread, _ in seen.values()}) == 3
    assert seen[0] == (threading.get_native_id(), threading.current_thread().name)
    others = [name.startswith(OF_THE_POOL) for number, (_, name) in seen.items() if number]
    assert others == [way == "pool"] * 2


@pytest.mark.parametrize("way", ["openmp"], indirect=True)
@pytest.mark.usefixtures("way")
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in Linux")
def test_they_are_torch_s_own() -> None:
    """Which look for work for some milliseconds after an operation, as others would in vain."""
    torch.ones(1 << 20).add(1)
    running = {int(name) for name in os.listdir("/proc/self/task")}
    assert {thread for thread, _ in seen_in(3).values()} <= running


@pytest.mark.usefixtures("way")
def test_fewer_than_torch_has_leave_torch_s_alone() -> None:
    """A team of two would end the third, which torch's next operation would start again."""
    (name,) = (name for number, (_, name) in seen_in(2).items() if number)
    assert name.startswith(OF_THE_POOL)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_one_raises_is_raised(number: int, kind: type[BaseException]) -> None:
    done = []

    def work(thread: int) -> None:
        if thread == number:
            raise kind(f"in {thread}")
        done.append(thread)

    with pytest.raises(kind, match=f"in {number}"):
        run_in_threads(3, work)
    # The others do theirs: none is left behind that writes later on.
    assert sorted(done) == sorted({0, 1, 2} - {number})
