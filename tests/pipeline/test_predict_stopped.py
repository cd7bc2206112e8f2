"""`predict`, stopped in the middle: the same command goes on, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from predicting import predict, write_pictures
from tiny_run import write_run
from two_stage.commands import predict as module
from two_stage.pictures.files import read_picture
from two_stage.run.errors import UserError


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


def stop_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the picture of that number is read."""
    calls = []

    def reading(path: Path, *how: int) -> Image.Image:
        calls.append(path)
        if len(calls) == number:
            raise KeyboardInterrupt
        return read_picture(path, *how)

    monkeypatch.setattr(module, "read_picture", reading)


def test_a_stopped_command_goes_on_where_it_stopped(
    run_folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        Image.new("L", (20, 30), 60 * number).save(pictures / f"flat_{number}.png")
    (pictures / "sub" / "broken.png").write_bytes(b"no picture")
    expected, out = tmp_path / "at_once", tmp_path / "out"
    with pytest.raises(SystemExit, match="1 of 9 pictures could not be read"):
        predict(run_folder, pictures, expected)
    for number, least in ((6, 3), (4, 4)):
        with monkeypatch.context() as patch:
            stop_at(number, patch)
            with pytest.raises(KeyboardInterrupt):
                predict(run_folder, pictures, out)
        assert not (out / "scores.csv").exists()
        lines = (out / "scores.csv.partial").read_text(encoding="utf-8-sig").splitlines()
        assert lines[0].startswith("file,score")
        assert len(lines) - 1 >= least
    # As if the power had gone while a row was written.
    with (out / "scores.csv.partial").open("ab") as file:
        file.write(b"half,0.")
    scored = []
    with monkeypatch.context() as patch:
        patch.setattr(
            module,
            "read_picture",
            lambda path, *how: scored.append(path) or read_picture(path, *how),
        )
        with pytest.raises(SystemExit, match="1 of 9"):
            predict(run_folder, pictures, out)
    assert 0 < len(scored) <= 5
    assert (out / "scores.csv").read_bytes() == (expected / "scores.csv").read_bytes()
    files = [sorted(p.relative_to(one) for p in one.rglob("*.*")) for one in (out, expected)]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (("--threshold", "3.5"), "threshold"),
        (("--pixel-threshold", "3.5"), "pixel threshold"),
        (("--no-overlays",), "choice of heat maps and overlays"),
        (("--run", "other"), "run"),
    ],
)
def test_a_stopped_command_is_not_mixed_with_another(
    options: tuple[str, ...],
    changed: str,
    run_folder: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "other", channels=1)
    with monkeypatch.context() as patch:
        stop_at(4, patch)
        with pytest.raises(KeyboardInterrupt):
            predict(run_folder, pictures, tmp_path / "out")
    before = (tmp_path / "out" / "scores.csv.partial").read_bytes()
    with pytest.raises(UserError, match=f"another command, with another {changed};"):
        predict(run_folder, pictures, tmp_path / "out", *options)
    assert (tmp_path / "out" / "scores.csv.partial").read_bytes() == before


def test_rows_of_another_version_are_not_gone_on_with(
    run_folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(module, "COLUMNS", module.COLUMNS[:-1])
        stop_at(3, patch)
        with pytest.raises(KeyboardInterrupt):
            predict(run_folder, pictures, out)
    with pytest.raises(UserError, match="first rows of another command, with another set of col"):
        predict(run_folder, pictures, out)
