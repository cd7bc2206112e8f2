"""Ctrl-C and SIGTERM: no step of a training is lost, and a line says how it goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import mvtec_two_stage
import pytest
from mvtec_two_stage import main
from tiny_training import SETTINGS, train_in
from torch import Tensor
from two_stage.run.checkpoint import CURRENT
from two_stage.run.interrupt import Interrupted, postponed_signals
from two_stage.training.patches import PatchStream


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], object]) -> None:
    batch = PatchStream.batch

    def then(self: PatchStream, number: int) -> tuple[Tensor, Tensor]:
        if number == step:
            action()
        return batch(self, number)

    monkeypatch.setattr(PatchStream, "batch", then)


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_loses_no_step(number: int, tmp_path: Path) -> None:
    settings = SETTINGS.changed(arm="aw-ssim", checkpoint_steps=1000)
    train_in(tmp_path / "whole", settings)
    before = signal.getsignal(number)
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 5, lambda: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted) as caught:
            train_in(tmp_path / "run", settings)
    assert caught.value.number == number
    assert signal.getsignal(number) is before
    assert (tmp_path / "run" / CURRENT).exists()
    with pytest.MonkeyPatch.context() as patch:
        for step in range(6):
            at_step(patch, step, lambda step=step: seen.append(step))
        train_in(tmp_path / "run", settings)
    # The step that was under way when the signal came is not repeated either.
    assert seen == []
    for name in ("stage_1.safetensors", "training_log.csv"):
        same = (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert same, name


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_the_second_signal_is_not_kept_waiting() -> None:
    with postponed_signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.came == signal.SIGINT
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_leave_signals_alone() -> None:
    before, came = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with postponed_signals() as signals:
            came.append((signals.came, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert came == [(None, before)]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["train"], "the same command goes on where it was"),
        (["--overwrite"], "the same command without --overwrite goes on where it was"),
        (["tune", "--overwrite"], "the same command without --overwrite goes on where it was"),
        (["predict", "x"], "nothing is lost, give the same command again"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (Interrupted(signal.SIGTERM), 143)],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_whoever_interrupts_is_told_how_it_goes_on(
    command: list[str], words: str, error: BaseException, code: int,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def stop(arguments: object) -> None:
        raise error

    for name in mvtec_two_stage.COMMANDS:
        monkeypatch.setitem(mvtec_two_stage.COMMANDS, name, (stop, ""))
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == code
    assert capsys.readouterr().err == f"\nstopped; {words}\n"
