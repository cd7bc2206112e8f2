"""Where the pipeline writes: into its own folders alone, whole files, nothing after an error."""

from __future__ import annotations

import re
import shlex
from functools import partial
from pathlib import Path

import pytest
from mvtec_two_stage import two_stages
from tiny_run import TINY, write_run
from two_stage.commands import ablate, evaluate, export, train, tune
from two_stage.pictures.demo import write_demo_dataset
from two_stage.run.errors import UserError
from two_stage.run.folder import (
    find_run_folder,
    load_settings,
    make_run_folder,
    write_atomically,
)
from two_stage.run.settings import Settings


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    return folder


def assert_untouched(outside: Path) -> None:
    assert [path.name for path in outside.iterdir()] == ["thesis.tex"]
    assert (outside / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("name", ["file", "file.partial"])
def test_a_file_is_written_beside_a_link_and_not_through_it(
    name: str, outside: Path, tmp_path: Path
) -> None:
    (tmp_path / name).symlink_to(outside / "thesis.tex")
    write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert not (tmp_path / "file").is_symlink()
    assert_untouched(outside)


@pytest.mark.parametrize("name", ["pictures", "curves.png", "deep/er"])
def test_a_run_does_not_go_on_in_a_folder_with_links(
    name: str, outside: Path, tmp_path: Path
) -> None:
    settings = Settings.of(run_folder=tmp_path / "run")
    make_run_folder(settings, find_run_folder(settings))
    link = tmp_path / "run" / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(UserError, match=rf"got the link .*{name} to .*outside; remove it, or name"):
        find_run_folder(settings)
    # To delete a run is to delete its links, not what they lead to.
    again = settings.changed(overwrite=True)
    make_run_folder(again, find_run_folder(again))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["settings.yaml"]
    assert_untouched(outside)


def test_a_run_s_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    """Runs often lie on a larger disk; who names the link means where it leads."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    for overwrite in (False, False, True):
        settings = Settings.of(run_folder=tmp_path / "run", overwrite=overwrite)
        make_run_folder(settings, find_run_folder(settings))
    assert (tmp_path / "run").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["settings.yaml"]


@pytest.mark.parametrize("name", ["export", "evaluation", "demo_data"])
def test_results_of_a_run_are_not_written_through_links(
    name: str, outside: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    (run / name).symlink_to(outside)
    for command in (
        lambda: export.main(["--run", str(run), "--formats", "torch"]),
        lambda: evaluate.main([str(run)]),
    ):
        with pytest.raises(UserError, match=f"got the link .*{name}"):
            command()
    assert_untouched(outside)


@pytest.mark.parametrize("command", [export.main, evaluate.main])
def test_nor_through_links_in_the_folder_that_is_named(
    command: object, outside: Path, tmp_path: Path
) -> None:
    run, out = write_run(tmp_path / "run"), tmp_path / "out"
    out.mkdir()
    (out / "metadata.json.partial").symlink_to(outside / "thesis.tex")
    arguments = [str(run)] if command is evaluate.main else ["--run", str(run)]
    with pytest.raises(UserError, match=r"got the link .*metadata\.json\.partial"):
        command([*arguments, "--out", str(out)])
    assert_untouched(outside)


@pytest.fixture
def faulty(tmp_path: Path) -> tuple[str, ...]:
    """The options of a run on data of which one picture is none."""
    write_demo_dataset(tmp_path / "data", "brick", normals=6, test_normals=1, per_defect=1)
    (tmp_path / "data/brick/train/good/001.png").write_bytes(b"no picture")
    return ("--data-root", str(tmp_path / "data"), "--category", "brick", *TINY)


def test_faulty_data_leaves_no_folder_behind(
    faulty: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (faulty, (*faulty, "--run-folder", "named")):
        for command in (partial(train.main, train=two_stages), tune.main):
            with pytest.raises(UserError, match=r"001\.png is not a picture"):
                command(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_faulty_data_deletes_no_earlier_run(faulty: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = Settings.of(run_folder=run)
    make_run_folder(settings, find_run_folder(settings))
    (run / "stage_1.safetensors").write_bytes(b"hours of training")
    with pytest.raises(UserError, match=r"001\.png is not a picture"):
        train.main([*faulty, "--run-folder", str(run), "--overwrite"], two_stages)
    assert (run / "stage_1.safetensors").read_bytes() == b"hours of training"


@pytest.mark.parametrize(
    "wrong",
    [
        ("--defect-sources", "folder", "--texture-folder", "nowhere"),
        ("--defect-sources", "categories"),
        ("--validation-share", "0.99"),
    ],
    ids=["no textures", "no other category", "nothing to train on"],
)
def test_nor_does_a_demo_with_wrong_options(
    wrong: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (partial(train.main, train=two_stages), tune.main):
        with pytest.raises(UserError, match=r"expected pictures|leave it out|expected at least 4"):
            command([*TINY, *wrong])
    assert list(tmp_path.iterdir()) == []


def test_only_what_changes_a_result_makes_another_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = Settings.of(run_folder=run)
    make_run_folder(settings, find_run_folder(settings))
    harmless = {"pictures_per_type": 5, "checkpoint_steps": 7}
    assert find_run_folder(settings.changed(**harmless)) == run
    # Before anything is scored, how it will be scored is free.
    scoring = {"residual": "l1", "test_stride": 64, "threshold_quantile": 0.9}
    assert find_run_folder(settings.changed(**scoring)) == run
    with pytest.raises(UserError, match=r"other settings \(width 16 -> 8\); name another"):
        find_run_folder(settings.changed(width=8, **harmless))
    for name in ("metrics.json", "choice.json"):
        (run / name).write_text("{}")
        assert find_run_folder(settings.changed(**harmless)) == run
        with pytest.raises(UserError, match=r"residual auto -> l1.* evaluate .*run --test-stride"):
            find_run_folder(settings.changed(**scoring))
        (run / name).unlink()


def test_the_advice_to_evaluate_is_a_command(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", data_root=tmp_path)
    (run / "metrics.json").write_text("{}")
    settings = load_settings(run).changed(run_folder=run, residual="gradient", smoothing=3.5)
    with pytest.raises(UserError) as caught:
        find_run_folder(settings)
    found = re.search(r"the command: evaluate (.*?); or", str(caught.value))
    assert found is not None
    _, advised = evaluate.read_options(shlex.split(found[1]))
    assert (advised.scoring.residual, advised.scoring.smoothing) == ("gradient", 3.5)


@pytest.mark.parametrize(("command", "file"), [("ablate", "arms.png"), ("tune", "tuning.md")])
def test_a_comparison_does_not_write_among_other_files(
    command: str, file: str, tmp_path: Path
) -> None:
    """Not even where a file of its own name is all there is: it could be anybody's."""
    (tmp_path / file).write_text("mine")
    mains = {"ablate": partial(ablate.main, train=never), "tune": tune.main}
    with pytest.raises(UserError, match=rf"not of an? \w+, such as {re.escape(file)}; name a new"):
        mains[command](["--preset", "demo", "--run-folder", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert (tmp_path / file).read_text() == "mine"


def never(settings: Settings, first_stage: Path | None) -> Path:
    raise AssertionError("nothing is trained")


def test_a_comparison_goes_on_in_its_own_folder(tmp_path: Path) -> None:
    for name in ("two-stage-seed-0", "ablation.md", "arms.png"):
        (tmp_path / name).mkdir()
    arguments = ["--preset", "demo", "--run-folder", str(tmp_path)]
    with pytest.raises(AssertionError, match="nothing is trained"):
        ablate.main(arguments, never)
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"such as thesis\.tex"):
        ablate.main(arguments, never)
