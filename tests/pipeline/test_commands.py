"""The script's commands: their list, their options, and how a user's fault ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mvtec_two_stage import COMMANDS, main
from tiny_run import write_run
from two_stage.commands import evaluate
from two_stage.commands.command_line import read_settings
from two_stage.run.errors import UserError
from two_stage.run.groups import Scoring
from two_stage.run.settings import Settings


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([flag])
    printed = capsys.readouterr().out
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", printed, flags=re.M)
    assert "COMMAND --help" in printed
    assert max(map(len, printed.splitlines())) <= 100


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_has_help_of_its_own(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--preset", "demo"] if command == [] else []
    with pytest.raises(SystemExit) as end:
        main([*command, *options, "--help"])
    assert end.value.code == 0
    assert f"usage: python examples/mvtec_two_stage.py {command[0] if command else 'train'} " in (
        capsys.readouterr().out
    )


def test_an_unknown_command_names_those_there() -> None:
    with pytest.raises(SystemExit, match=r"train, evaluate, .*, ablate, tune; got 'trian'"):
        main(["trian"])


def test_a_user_s_fault_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: expected the folder of a run, [^\n]*$"):
        main(["evaluate", str(tmp_path / "two\nlines")])


def test_every_setting_has_a_flag_of_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--help"])
    flags = set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]+)", capsys.readouterr().out))
    names = {name.replace("_", "-") for name in Settings().to_dict()}
    assert flags - {"help", "no-overwrite", "no-compile"} == names


def test_evaluate_starts_from_the_run_s_own_settings(tmp_path: Path) -> None:
    own = {"threshold_quantile": 0.9, "pictures_per_type": 1}
    run = write_run(tmp_path / "run", data_root=tmp_path, **own)
    read, settings = evaluate.read_options([str(run), "--residual", "gradient"])
    assert (read.run, read.out) == (run, None)
    assert settings.data.data_root == tmp_path
    assert settings.scoring == Scoring(test_stride=16, residual="gradient", **own)
    _, moved = evaluate.read_options(["--data-root", "now", str(run), "--test-stride", "8"])
    assert (moved.data.data_root, moved.scoring.test_stride) == (Path("now"), 8)
    with pytest.raises(UserError, match="do not fit: test_stride must be from 1 to half"):
        evaluate.read_options([str(run), "--test-stride", "17"])
