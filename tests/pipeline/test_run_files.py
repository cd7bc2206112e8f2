"""Files of a run that somebody else wrote: refused in one line, nothing executed."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_run import write_run
from tiny_training import SETTINGS as TRAINED
from tiny_training import train_in
from two_stage.commands import evaluate, export, predict
from two_stage.run.checkpoint import save_checkpoint
from two_stage.run.errors import UserError
from two_stage.run.folder import load_metrics, load_settings
from two_stage.scoring.trained_run import load_trained_run
from two_stage.training.model import build_model

REAL = "width: 4"
# What stands in settings.yaml instead of the width, and what is said about it.
SETTINGS: dict[str, tuple[str, str]] = {
    "code": ("width: !!python/object/apply:os.system ['touch hacked']", "could not determine a c"),
    "a module": ("width: !!python/name:os.system ''", "could not determine a constructor"),
    "a text": ("width: '16'", "width must be a whole number, got '16'"),
    "a fraction": ("width: 4.5", "width must be a whole number, got 4.5"),
    "a truth": ("width: true", "width must be a whole number, got True"),
    "nothing": ("width:", "width must be a whole number, got None"),
    "a list": ("width: [4, 4]", r"width must be a whole number, got \(4, 4\)"),
    "absurd": ("width: 1000000000000", "width must be from 1 to 1,024, got 1000000000000"),
    "no number": ("learning_rate: .nan", "learning_rate must be a finite number, got nan"),
    "infinite": ("smoothing: .inf", "smoothing must be a finite number or nothing, got inf"),
    "larger than a float": ("learning_rate: 1" + "0" * 400, "learning_rate must be from 0 to 100"),
    "another word": ("residual: l2", "residual must be one of auto, l1, .*, got 'l2'"),
    "too few values": ("defect_count: [1]", r"defect_count must be 2 values, each .*, got \(1,\)"),
    "weights below 0": ("weights: [-1, 1, 1]", "weights must be at least 0 and not all 0"),
    "a path as category": (
        "category: ../../x", r"category must be the name of a folder .*, got '\.\./\.\./x'",
    ),
    "an unknown name": ("surprise: 1", r"expected settings of this version, got unknown \['surpr"),
    "a bomb": (
        "width: [&a [x, x, x, x, x, x, x, x, x, x], &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a], "
        "&c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b], &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c], "
        "&e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d], &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e], "
        "&g [*f, *f, *f, *f, *f, *f, *f, *f, *f, *f], [*g, *g, *g, *g, *g, *g, *g, *g, *g, *g]]",
        r"width must be a whole number, got .{,900}$",
    ),
    "a deep nest": ("width: " + "[" * 5000, "recursion"),
    "not YAML": ("width: [", "while parsing"),
}  # fmt: skip


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(run_folder, tmp_path / "run")


def assert_one_line(error: pytest.ExceptionInfo[UserError], path: Path) -> None:
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(path))
    assert not Path("hacked").exists()


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_of_a_stranger(kind: str, copied: Path) -> None:
    path = copied / "settings.yaml"
    line, message = SETTINGS[kind]
    text = path.read_text()
    key = line.partition(":")[0]
    changed, count = re.subn(rf"^  {key}:.*(\n  - .*)*$", f"  {line}", text, flags=re.M)
    path.write_text(changed if count else text.replace(f"  {REAL}\n", f"  {REAL}\n  {line}\n"))
    assert path.read_text() != text
    with pytest.raises(UserError, match=message) as caught:
        load_trained_run(copied, "cpu")
    assert_one_line(caught, path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"settings: 7", b"settings: [[a], [b]]", b"- a"]
)
def test_a_settings_file_that_holds_something_else(content: bytes, copied: Path) -> None:
    (copied / "settings.yaml").write_bytes(content)
    with pytest.raises(UserError, match="does not hold the settings of a run") as caught:
        load_settings(copied)
    assert_one_line(caught, copied / "settings.yaml")


def test_a_network_that_its_weights_do_not_fill_takes_no_memory(copied: Path) -> None:
    path = copied / "settings.yaml"
    path.write_text(path.read_text().replace("width: 4\n", "width: 1024\n"))
    before = torch.random.get_rng_state()
    message = r"has shape and type .*, expected .*; it is of another run$"
    with pytest.raises(UserError, match=message) as caught:
        load_trained_run(copied, "cpu")
    # 17 billion weights drawn at random would have moved the generator, and taken minutes.
    assert torch.equal(torch.random.get_rng_state(), before)
    assert_one_line(caught, copied / "stage_2.safetensors")


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("hacked"),))


@pytest.mark.parametrize("name", ["stage_2.safetensors", "scorer.safetensors"])
@pytest.mark.parametrize("way", ["pickle", "torch.save"])
def test_a_pickle_in_the_place_of_tensors(name: str, way: str, copied: Path) -> None:
    with (copied / name).open("wb") as file:
        pickle.dump(Trap(), file) if way == "pickle" else torch.save(Trap(), file)
    with pytest.raises(UserError, match="is damaged") as caught:
        load_trained_run(copied, "cpu")
    assert_one_line(caught, copied / name)


Tensors = dict[str, torch.Tensor]


def rewrite(path: Path, change: Callable[[Tensors, dict[str, str]], object]) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    change(tensors, metadata)
    save_file(tensors, path, metadata)


def values(**changes: object) -> Callable[[Tensors, dict[str, str]], object]:
    """Changes to the scorer's numbers; JSON as Python writes it knows NaN."""
    return lambda _, metadata: metadata.update(
        scorer=json.dumps(json.loads(metadata["scorer"]) | changes)
    )


def fill(name: str, value: float) -> Callable[[Tensors, dict[str, str]], object]:
    return lambda tensors, _: tensors[name].view(-1)[0].fill_(value)


FIRST = "encoder.0.0.weight"
TENSORS: dict[str, tuple[str, Callable[[Tensors, dict[str, str]], object], str]] = {
    "weights that are no numbers": ("stage_2", fill(FIRST, float("nan")), "are NaN or infinite"),
    "a weight missing": ("stage_2", lambda t, _: t.pop(FIRST), "the file has no encoder"),
    "a weight too many": ("stage_2", lambda t, _: t.update(x=t[FIRST].clone()), "it has no x; it"),
    "half precision": ("stage_2", lambda t, _: t.update({FIRST: t[FIRST].half()}), "torch.float16"),
    "facts that are no JSON": ("stage_2", lambda _, m: m.update(facts="{"), "JSON cannot be read"),
    "facts that are a list": ("stage_2", lambda _, m: m.update(facts="[]"), "expected a JSON obj"),
    "a threshold that is no number": ("scorer", values(image_threshold=float("nan")), "finite"),
    "a threshold as text": ("scorer", values(pixel_threshold="1"), "pixel_threshold must be a "),
    "absurd smoothing": ("scorer", values(smoothing=1e12), "from 0 to the map's side, got 1000000"),
    "negative smoothing": ("scorer", values(smoothing=-1), "smoothing must be from 0 to"),
    "another residual": ("scorer", values(residual="l1+l1"), r"one of l1, .*, got 'l1\+l1'"),
    "a count that is none": ("scorer", values(held_out=-2), "held_out must be a count of images"),
    "a count as text": ("scorer", values(held_out="2"), "held_out must be a count of images"),
    "a value too many": ("scorer", values(surprise=1), "expected the values residual, smoothing"),
    "maps of other residuals": ("scorer", values(residual="l1"), "expected the maps .'mean.l1', "),
    "maps that are no numbers": ("scorer", fill("mean.l1", float("inf")), "map mean.l1 must"),
    "a spread of 0": ("scorer", fill("std.l1", 0.0), "spreads std.l1 must be positive, got 0.0"),
    "a deep nest": ("scorer", lambda _, m: m.update(scorer="[" * 100_000), "recursion"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_of_a_stranger(kind: str, copied: Path) -> None:
    name, change, message = TENSORS[kind]
    path = copied / f"{name}.safetensors"
    rewrite(path, change)
    with pytest.raises(UserError, match=message) as caught:
        load_trained_run(copied, "cpu")
    assert_one_line(caught, path)


CHECKPOINTS: dict[str, tuple[dict[str, object], Tensors]] = {
    "no stage": ({}, {}),
    "no steps": ({"stage": 1}, {}),
    "another network": ({"stage": 1}, {"model.weight": torch.ones(2)}),
    "more steps than the stage has": (
        {"stage": 1, "steps": 900, "seconds": 1.0}, {"log": torch.zeros(900, 5)},
    ),
    "fewer than no steps": ({"stage": 1, "steps": -1, "seconds": 1.0}, {"log": torch.zeros(0, 5)}),
    "steps that are no number": ({"stage": 1, "steps": "4", "seconds": 1}, {"log": torch.ones(4)}),
    "an optimiser of another shape": (
        {"stage": 1, "steps": 0, "seconds": 0.0},
        {
            "log": torch.zeros(0, 5),
            "optimiser.0.step": torch.tensor(1.0),
            "optimiser.0.exp_avg": torch.ones(2),
            "optimiser.0.exp_avg_sq": torch.ones(2),
        },
    ),
    "an optimiser without numbers": ({"stage": 1}, {"optimiser.a.b.c": torch.ones(2)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_of_a_stranger(kind: str, tmp_path: Path) -> None:
    facts, tensors = CHECKPOINTS[kind]
    weights = build_model(TRAINED.data.channels, TRAINED.network).state_dict()
    own = {f"model.{name}": value for name, value in weights.items()}
    save_checkpoint(tmp_path, own | tensors, facts)
    with pytest.raises(UserError, match=r"is not of this run \(.*; start again with") as caught:
        train_in(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "stage_1.safetensors").exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 100_000, "\0"])
def test_figures_of_a_stranger(content: str, copied: Path) -> None:
    (copied / "metrics.json").write_text(content)
    with pytest.raises(UserError) as caught:
        load_metrics(copied)
    assert_one_line(caught, copied / "metrics.json")


def test_a_stranger_s_run_writes_nothing_before_it_is_read(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (copied / "scorer.safetensors").write_bytes(b"no tensors")
    out = str(tmp_path / "out")
    for command in (
        lambda: predict.main(["pictures", "--run", "run", "--out", out]),
        lambda: export.main(["--run", "run", "--out", out, "--formats", "torch"]),
    ):
        with pytest.raises(UserError, match="scorer"):
            command()
    saved = yaml.safe_load((copied / "settings.yaml").read_text())
    saved["settings"]["data_root"] = str(tmp_path / "nowhere")
    (copied / "settings.yaml").write_text(yaml.safe_dump(saved))
    with pytest.raises(ValueError, match="nowhere"):
        evaluate.main(["run", "--out", out])
    with pytest.raises(UserError, match="test_stride must be from 1 to half of the patches' side"):
        evaluate.main(["run", "--out", out, "--test-stride", "9999"])
    assert not Path(out).exists()
    assert not (copied / "evaluation").exists()
