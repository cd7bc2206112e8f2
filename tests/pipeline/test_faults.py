"""Faults of the machine end a command with one line and the right exit code, not a traceback."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import mvtec_two_stage
import pytest
import torch
from forked import fork
from mvtec_two_stage import main
from PIL import Image
from tiny_run import TINY, write_run
from two_stage.commands import predict
from two_stage.pictures.demo import write_demo_dataset
from two_stage.report import curves
from two_stage.run import run
from two_stage.run.device import find_device
from two_stage.run.errors import UserError, explain
from two_stage.run.folder import naming, write_atomically, write_text
from two_stage.training.patches import PatchStream


def last_words(command: list[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main(command)
    assert isinstance(end.value.code, str)
    assert end.value.code.startswith("error: ")
    assert "\n" not in end.value.code
    return end.value.code


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (40, 30), (90, 120, 60)).save(folder / "a.png")
    return folder


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    write_demo_dataset(tmp_path / "data", "brick", normals=4, test_normals=1, per_defect=1)
    return tmp_path / "data"


@pytest.mark.parametrize("name", ["gpu", "cuda:9999", "meta", "cpu:x", "xpu:7", "mps:3", ""])
def test_a_device_that_is_not_there(name: str, tmp_path: Path, pictures: Path) -> None:
    folder = write_run(tmp_path / "run")
    out = tmp_path / "out"
    command = ["predict", str(pictures), "--run", str(folder), "--out", str(out), "--device", name]
    words = last_words(command)
    assert f"the device {name!r} cannot be used (" in words
    assert "; here there is cpu" in words
    assert not out.exists()
    # What the message names can be used.
    assert find_device("cpu") == torch.device("cpu")


def test_precision_that_the_machine_lacks(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(**options: object) -> None:
        raise ValueError("fp16 mixed precision requires a GPU")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "Accelerator", lacks)
    command = ["train", "--data-root", str(data_root), "--category", "brick", *TINY]
    words = last_words([*command, "--mixed-precision", "fp16"])
    assert "precision fp16 does not work on this machine: fp16 mixed precision requires" in words
    assert words.endswith("pass --mixed-precision no")
    assert not (tmp_path / "runs").exists()


class FullFile(io.BytesIO):
    """As of a full disk: its error names no file."""

    def write(self, content: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="No space") as caught, naming(tmp_path / "scores.csv"):
        FullFile().write(b"a")
    text = explain(caught.value)
    assert text == (
        f"error: No space left on device: {tmp_path / 'scores.csv'}; make room and give the same "
        "command again"
    )
    # A name that the system gave is kept.
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path):
        (tmp_path / "a").read_bytes()
    assert str(explain(caught.value)).endswith(f"{tmp_path / 'a'}")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"weights'"):
        write_atomically(tmp_path / "weights", b"content")
    # What there was room for is in nobody's way.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="sets a limit to a copy of this process")
@pytest.mark.parametrize("limit", [100, 3_000, 8_000])
def test_wherever_the_room_ends_the_file_is_named(
    limit: int, data_root: Path, tmp_path: Path
) -> None:
    """Files may have no more than so many bytes: errors of the system itself, from every writer."""
    import resource

    folder = write_run(tmp_path / "run", data_root=data_root, category="brick")
    on = ["--data-root", str(data_root), "--category", "brick", *TINY]
    commands = {
        "train": ["train", *on, "--run-folder", str(tmp_path / "new"), "--arm", "no-lpips"],
        "evaluate": ["evaluate", str(folder), "--residual", "l1", "--smoothing", "1"],
        "predict": ["predict", str(data_root / "brick/test"), "--run", str(folder), "--out",
                    str(tmp_path / "out")],
    }  # fmt: skip
    for name, command in commands.items():
        read, write = os.pipe()
        child = fork()
        if child == 0:
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                main(command)
                said = "nothing"
            except BaseException as error:
                said = str(error) if isinstance(error, SystemExit) else repr(error)
            os.write(write, said.encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        assert said.startswith(f"error: File too large: {tmp_path}"), (name, said)
        assert "\n" not in said


def test_a_folder_that_may_not_be_written_to(
    data_root: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command says so, before it has worked for nothing."""
    folder = write_run(tmp_path / "run", data_root=data_root, category="brick")
    locked = tmp_path / "locked"

    def refuse(call: Callable[..., object]) -> Callable[..., object]:
        def refused(path: Path, *arguments: object, **options: object) -> object:
            if locked in (path, *path.parents):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return call(path, *arguments, **options)

        return refused

    # The superuser, who runs many a test, may write everywhere.
    monkeypatch.setattr(Path, "mkdir", refuse(Path.mkdir))
    monkeypatch.setattr(PatchStream, "batch", None)
    monkeypatch.setattr(torch.nn.Conv2d, "forward", None)
    data = ("--data-root", str(data_root), "--category", "brick")
    for command in (
        ["train", *data, *TINY, "--run-folder", str(locked)],
        ["train", *TINY, "--run-folder", str(locked / "demo")],
        ["tune", *data, *TINY, "--run-folder", str(locked)],
        ["predict", str(pictures), "--run", str(folder), "--out", str(locked)],
        ["export", "--run", str(folder), "--out", str(locked), "--formats", "torch"],
    ):
        words = last_words(command)
        assert words.startswith(f"error: Permission denied: {locked}")
        assert words.endswith("name a folder that you may write to")


def test_a_fault_of_this_code_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setitem(mvtec_two_stage.COMMANDS, "train", (fail, ""))
    with pytest.raises(KeyError, match="a mistake"):
        main(["train"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate."), "a smaller --b"),
        (RuntimeError("[enforce] can't allocate memory: you tried 9 bytes."), "a smaller --batc"),
        (MemoryError(), "out of memory (MemoryError); a smaller --batch-size"),
        (RuntimeError("CUDA error: device-side\nassert"), "the device failed: CUDA error: device"),
        (RuntimeError("Found no NVIDIA driver on your system. Check"), "Found no NVIDIA driver on"),
        (OSError(errno.EROFS, "Read-only file system", "a"), "a; name a folder that you may write"),
        (UserError("two\nlines"), "two lines"),
        (RuntimeError("shapes do not fit"), None),
        (OSError("no number"), None),
        (KeyError("a"), None),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_said_of_an_error(error: Exception, words: str | None) -> None:
    said = explain(error)
    if words is None:
        assert said is None
    else:
        assert said is not None
        assert words in said
        assert "\n" not in said


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_console_of_any_encoding(
    encoding: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Umlauts, Chinese, and names that are no text at all."""
    folder = write_run(tmp_path / "Prüfling 木材")
    strange = pictures.rename(os.fsdecode(os.fsencode(tmp_path / "木材-ä") + b"\xff"))
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    main(["predict", str(strange), "--run", str(folder), "--out", str(tmp_path / "out")])
    console.flush()
    said = console.buffer.getvalue().decode(encoding)
    assert "1 pictures of" in said
    assert ("木材" in said) == (encoding == "utf-8")
    assert ("ä" in said) == (encoding != "ascii")
    assert "\\udcff" in said
    monkeypatch.undo()


def test_a_report_of_a_name_that_is_no_text(tmp_path: Path) -> None:
    write_text(tmp_path / "report.md", "müll \udcff")
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == "müll \\udcff"


def test_every_picture_is_written_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A figure that stops half way leaves no half picture behind."""
    curves.save_curves({}, tmp_path / "curves.png")
    before = (tmp_path / "curves.png").read_bytes()

    def stop(self: object, file: io.BytesIO, **options: object) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(curves.Figure, "savefig", stop)
    with pytest.raises(KeyboardInterrupt):
        curves.save_curves({}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == before


def test_two_predictions_that_begin_together(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "pictures" / "..")
    folder = write_run(tmp_path / "run")
    command = predict.Predict(pictures, folder)
    outs = [predict.out_folder(command) for _ in range(3)]
    assert [out.name for out in outs] == [
        "pictures_scores", "pictures_scores_2", "pictures_scores_3",
    ]  # fmt: skip
