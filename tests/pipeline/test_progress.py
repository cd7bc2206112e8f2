"""How far a loop has come: a bar on a terminal, lines in a file, and what a command is told."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mvtec_two_stage import main
from tiny_training import SETTINGS, train_in
from two_stage.commands import command_line, train, tune
from two_stage.commands.command_line import say_how_long
from two_stage.run import progress as module
from two_stage.run.folder import save_json
from two_stage.run.progress import progress
from two_stage.training import stages


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_file_what_is_soon_over_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(5), "reading")) == list(range(5))
    assert capsys.readouterr().err == ""


def test_in_a_file_it_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0)
    with progress(title="stage 1", total=3, initial=1) as bar:
        for loss in (0.5, 0.25):
            bar.set_postfix(loss=loss, refresh=False)
            bar.update()
    log = capsys.readouterr().err
    lines = log.splitlines()
    assert "\r" not in log
    assert len(lines) == len(set(lines)) == 3
    assert re.fullmatch(r"stage 1: 1 of 3, 00:00 gone, \S+ to go", lines[0])
    assert re.fullmatch(r"stage 1: 3 of 3, 00:00 gone, 00:00 to go, loss=0.25", lines[2])


def test_on_a_terminal_it_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    list(progress(range(5), "test images"))
    assert "\rtest images: " in terminal.getvalue()
    assert "5/5" in terminal.getvalue()


def test_another_process_s_bar_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    list(progress(range(5), "test images", quiet=True))
    assert terminal.getvalue() == ""


def test_the_loss_is_shown_before_the_first_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(stages, "SECONDS_BETWEEN_LOSSES", 0)
    saved: list[int] = []

    def note(*_: object) -> None:
        saved.append(len(re.findall(r"loss=0\.\d{4}, sigma=", terminal.getvalue())))

    monkeypatch.setattr(stages, "_save_progress", note)
    monkeypatch.setattr(module, "tqdm", lambda *a, **o: original(*a, **o, mininterval=0))
    train_in(tmp_path, SETTINGS.changed(arm="aw-ssim", checkpoint_steps=1000))
    assert len(saved) == 1
    assert saved[0] > 5


original = module.tqdm


def test_a_command_of_many_runs_says_how_long_they_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(command_line, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    done = {0}
    for run in say_how_long(range(4), done.__contains__):
        # What was done before takes no time, and is no measure.
        now[0] += 0 if run in done else 600 + 240 * run
        done.add(run)
    assert capsys.readouterr().out.splitlines() == [
        "4 runs, 1 of them done already",
        "2 of 4 runs done, about 28 minutes to go",
        "3 of 4 runs done, about 16 minutes to go",
    ]


def test_a_preset_that_is_none_is_answered_with_all_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in ("train", "tune", "ablate"):
        with pytest.raises(SystemExit) as end:
            main([command, "--preset", "tiny"])
        assert end.value.code == 2
        said = capsys.readouterr()
        text = " ".join((said.out + said.err).replace("│", " ").split())
        assert "tiny" in text
        assert all(name in text for name in ("demo", "quick", "best", "paper", "long"))
        assert f"mvtec_two_stage.py {command} --help" in text


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "export", "ablate", "tune"])
def test_a_wrong_option_names_the_help_of_its_own_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (["--surprise", "1"], ["--out"], []):
        if command in ("train", "ablate", "tune") and wrong in ([], ["--out"]):
            continue
        with pytest.raises(SystemExit):
            main([command, *wrong])
        said = capsys.readouterr()
        text = " ".join((said.out + said.err).replace("│", " ").split())
        assert f"mvtec_two_stage.py {command} --help" in text, text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "--seeds", "1", "1"], "one or more seeds, each once, got 1 again"),
        (["tune", "--candidates", "1", "1", "1", "1.0001", "1", "1"], "1-1-1 again"),
        (["ablate", "--arms", "aw-ssim", "aw-ssim"], "arms, each once, got aw-ssim again"),
        (["ablate", "--seeds"], "one or more seeds, each once, got none"),
        (["tune", "--candidates", "1", "1", "1", "0", "0", "0"], "not all 0"),
    ],
)
def test_runs_that_would_meet_in_one_folder_are_refused_first(
    arguments: list[str], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tune, "judge", None)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr()
    text = " ".join((said.out + said.err + str(end.value.code)).replace("│", " ").split())
    assert message in text
    assert list(tmp_path.iterdir()) == []


def test_the_table_over_categories_is_a_file_beside_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = []

    def quickly(settings: object) -> Path:
        folder = Path("runs") / f"{settings.data.category}-demo-001"
        folder.mkdir(parents=True, exist_ok=True)
        metrics = {"category": settings.data.category, "scores": {}, "arm": "two-stage"}
        metrics |= {"preset": "demo", "images": {"train": 3, "validation": 1, "test": {}}}
        save_json(metrics, folder / "metrics.json")
        shown.append(capsys.readouterr().out)
        return folder

    for category, file in (
        ("brick,grass", "categories.md"),
        ("brick,grass,gravel", "categories_2.md"),
        ("brick,grass", "categories.md"),
    ):
        train.main(["--category", category], quickly)
        assert capsys.readouterr().out.endswith(f"see runs/{file}\n")
    text = (tmp_path / "runs" / "categories.md").read_text()
    assert "| brick |" in text
    assert "- `brick-demo-001`\n- `grass-demo-001`\n" in text
    assert "gravel" not in text
    # Each category's figures come with it, not after the last one.
    assert "see runs/brick-demo-001/report.html" in shown[1]
    assert sorted(path.name for path in (tmp_path / "runs").glob("*.md")) == [
        "categories.md", "categories_2.md",
    ]  # fmt: skip


def test_a_run_says_how_many_processes_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_in(tmp_path, SETTINGS.changed(arm="aw-ssim", stage_1_epochs=1, stage_2_epochs=0))
    assert "; 1 process on cpu" in capsys.readouterr().out
