"""`export`: the exported programmes compute what eager does, and say all that a user needs."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from tiny_run import IMAGE_THRESHOLD, PIXEL_THRESHOLD, write_run
from torch import Tensor
from two_stage.commands import export
from two_stage.commands.export_cases import pictures_to_check
from two_stage.pictures.files import load_image
from two_stage.run.errors import UserError
from two_stage.scoring.exported_graph import ReconstructionAndMap
from two_stage.scoring.trained_run import load_trained_run
from two_stage.training.data import split_held_out

NAMES = ["reconstruction", "anomaly_map", "image_score"]
VERDICTS = ["defective", "defective_pixels"]
# Known only when the files are written.
AFTERWARDS = {"check", "onnx_opset", "versions"}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def exported(run_folder: Path) -> Path:
    """One export for the whole module: it takes most of its time."""
    export.main(["--run", str(run_folder)])
    return run_folder / "export"


def images(count: int) -> Tensor:
    return torch.rand(count, 3, 72, 72, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_exported_programmes_equal_eager(
    kind: str, count: int, run_folder: Path, exported: Path
) -> None:
    batch = images(count)
    if kind == "torch":
        with torch.no_grad():
            outputs = torch.export.load(exported / "model.pt2").module()(batch)
    else:
        session = onnxruntime.InferenceSession(exported / "model.onnx")
        outputs = [torch.from_numpy(x) for x in session.run(NAMES, {"image": batch.numpy()})]
    run = load_trained_run(run_folder, "cpu")
    assert outputs[2].shape == (count,)
    for number, image in enumerate(batch):
        reconstruction, score_map = run.score(image)
        torch.testing.assert_close(outputs[0][number], reconstruction, atol=1e-5, rtol=0)
        torch.testing.assert_close(outputs[1][number], score_map, atol=1e-4, rtol=1e-4)
        assert float(outputs[2][number]) == float(outputs[1][number].max())


@pytest.mark.parametrize(
    "options",
    [
        {"residual": "l1", "smoothing": 0.0, "channels": 1},
        {"residual": "gradient", "test_stride": 5},
        {"residual": "aw_ssim", "patch_size": 64, "test_stride": 32, "weights": (0.2, 0.3, 0.5)},
        {"residual": "l1+gradient", "image_size": 32, "category": "carpet"},
        {"residual": "l1", "image_size": 96, "test_patch_size": 96},
        {"residual": "l1+aw_ssim", "scored_area": "product"},
        {"residual": "l1", "architecture": "dilated"},
        {"residual": "l1", "architecture": "dilated", "upsampling": "nearest"},
    ],
)
def test_the_graph_equals_eager_for_every_kind_of_run(
    options: dict[str, Any], tmp_path: Path
) -> None:
    run = load_trained_run(write_run(tmp_path / "run", **options), "cpu")
    data = run.settings.data
    shape = (2, data.channels, data.image_size, data.image_size)
    batch = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = ReconstructionAndMap(run)(batch)
    for image, reconstruction, score_map, score in zip(batch, *outputs, strict=True):
        expected, expected_map = run.score(image)
        torch.testing.assert_close(reconstruction, expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(score_map, expected_map, atol=2e-5, rtol=1e-5)
        assert score == score_map.max()


def test_the_files_need_nothing_beside_them(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "inspect.onnx", "inspect.pt2", "metadata.json", "model.onnx", "model.pt2",
    ]  # fmt: skip
    for name, given, free, returned in (
        ("model", "image", ["batch"], NAMES),
        ("inspect", "pixels", ["height", "width", "channels"], [*NAMES, *VERDICTS]),
    ):
        model = onnx.load(exported / f"{name}.onnx", load_external_data=False)
        onnx.checker.check_model(model)
        assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
        assert not any(tensor.external_data for tensor in model.graph.initializer)
        (entry,) = model.graph.input
        sizes = entry.type.tensor_type.shape.dim
        assert (entry.name, [size.dim_param for size in sizes if size.dim_param]) == (given, free)
        assert [value.name for value in model.graph.output] == returned
        # All patches go through the network together: one of each of its layers.
        operators = [node.op_type for node in model.graph.node]
        assert operators.count("ConvTranspose") == 5
        # AW-SSIM by shifted copies had more than a hundred.
        assert operators.count("Slice") < 40


def test_metadata_says_how_to_prepare_and_to_judge(exported: Path) -> None:
    values = json.loads((exported / "metadata.json").read_text())
    assert values["files"] == {"torch": "model.pt2", "onnx": "model.onnx"}
    assert values["picture_files"] == {"torch": "inspect.pt2", "onnx": "inspect.onnx"}
    assert values["input"]["name"] == "image"
    assert values["input"]["shape"] == ["batch", 3, 72, 72]
    assert values["input"]["range"] == [0, 1]
    steps = " ".join(values["input"]["preprocessing"])
    assert all(word in steps for word in ("EXIF", "transparent", "first picture", "Pillow's"))
    assert list(values["outputs"]) == NAMES
    assert values["picture"]["input"]["white"] == 255
    assert list(values["picture"]["outputs"]) == [*NAMES, *VERDICTS]
    assert values["thresholds"]["pixel"] == PIXEL_THRESHOLD
    assert values["thresholds"]["image"] == IMAGE_THRESHOLD
    assert values["thresholds"]["quantile"] == 0.995
    assert values["onnx_opset"] == 18
    assert values["run"]["arm"] == "two-stage"
    assert values["versions"]["onnxruntime"] == onnxruntime.__version__
    for checked in (values["check"], values["check"]["picture"]):
        assert set(checked["largest_difference_from_eager"]) == {"torch", "onnx"}
        for differences in checked["largest_difference_from_eager"].values():
            for name in NAMES:
                assert 0 <= differences[name] <= checked["tolerance"][name]
    assert values["check"]["tolerance"]["anomaly_map"] == pytest.approx(1e-3 * PIXEL_THRESHOLD)


@pytest.mark.parametrize("name", ["model", "inspect"])
def test_the_files_themselves_hold_what_there_is_to_know(name: str, exported: Path) -> None:
    beside = json.loads((exported / "metadata.json").read_text())
    inside = {key: value for key, value in beside.items() if key not in AFTERWARDS}
    assert inside["thresholds"]["image"] == IMAGE_THRESHOLD
    session = onnxruntime.InferenceSession(exported / f"{name}.onnx")
    properties = session.get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in properties.items()} == inside
    extra = {"metadata.json": ""}
    torch.export.load(exported / f"{name}.pt2", extra_files=extra)
    assert json.loads(extra["metadata.json"]) == inside


@pytest.mark.parametrize("error", [1.0, float("nan")])
def test_a_wrong_export_is_an_error_and_leaves_no_file(
    error: float, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(torch.nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            score_map = image.mean(1) + error
            return image + 0, score_map, score_map.amax((1, 2))

    batch = torch.export.Dim("batch", min=1)
    wrong = torch.export.export(Wrong(), (images(2),), dynamic_shapes={"image": {0: batch}})
    monkeypatch.setattr(export, "export_images", lambda run: wrong)
    with pytest.raises(UserError, match="the torch export differs from eager by"):
        export.main(
            ["--run", str(run_folder), "--out", str(tmp_path / "out"), "--formats", "torch"]
        )
    assert not (tmp_path / "out").exists()


def test_differences_are_taken_over_all_cases() -> None:
    pictures = images(3)
    expected = [pictures, pictures.mean(1), pictures.amax((1, 2, 3))]
    cases = [(pictures, expected), (pictures[:1], [value[:1] for value in expected])]

    def wrong_alone(batch: Tensor) -> list[Tensor]:
        offset = 0.25 if len(batch) == 1 else 0.0
        return [batch, batch.mean(1) - offset, batch.amax((1, 2, 3))]

    differences = export.largest_differences(wrong_alone, cases)
    assert differences == {
        "reconstruction": 0.0, "anomaly_map": pytest.approx(0.25), "image_score": 0.0,
    }  # fmt: skip


def test_an_earlier_export_is_replaced_whole_and_nothing_else_is(
    run_folder: Path, exported: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(exported, tmp_path / "out")
    (out / "partial_left").mkdir()
    arguments = ["--run", str(run_folder), "--out", str(out), "--formats", "torch"]
    export.main(arguments)
    # No ONNX file of before stays beside metadata that do not name it.
    names = {path.name for path in out.iterdir()} - {"partial_left"}
    assert names == {"inspect.pt2", "metadata.json", "model.pt2"}
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"files that are not of an export, such as notes\.txt"):
        export.main(arguments)
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["metadata.json", "model.onnx"])
def test_a_file_of_somebody_else_by_the_same_name_is_kept(
    name: str, run_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=f"not of an export, such as {name}; name a new or empty"):
        export.main(["--run", str(run_folder), "--out", str(tmp_path), "--formats", "torch"])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "{}"


def test_onnx_is_needed_only_where_it_is_asked_for(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    with pytest.raises(UserError, match=r'onnxscript: pip install "aw-ssim\[export\]"'):
        export.main(["--run", str(run_folder), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()

    def reached(folder: Path, device: str) -> None:
        raise UserError("reached the run")

    monkeypatch.setattr(export, "load_trained_run", reached)
    with pytest.raises(UserError, match="reached the run"):
        export.main(["--run", str(run_folder), "--formats", "torch"])


def test_checked_on_held_out_pictures_of_the_run_never_on_test_ones(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    data = tmp_path / "data"
    for folder, count in (("train/good", 12), ("test/bad", 4), ("ground_truth/bad", 4)):
        (data / "cup" / folder).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 255, (72, 72, 3), np.uint8)
            Image.fromarray(pixels).save(data / "cup" / folder / f"{number:02d}.png")
    folder = write_run(tmp_path / "run", data_root=data, category="cup", validation_share=0.2)
    run = load_trained_run(folder, "cpu")
    pictures, origin = pictures_to_check(run, folder)
    _, held_out = split_held_out(12, run.settings.data, run.settings.training.seed)
    expected = [load_image(data / f"cup/train/good/{n:02d}.png", 72, 3) for n in held_out.tolist()]
    assert len(held_out) == 2
    assert origin == "held-out normal pictures and a negative"
    assert torch.equal(pictures, torch.stack([*expected, 1 - expected[0]]))

    # No other file is opened, so that a damaged one does not matter.
    others = {path for path in data.rglob("*.png") if path.parent.name != "good"}
    others |= {data / f"cup/train/good/{n:02d}.png" for n in set(range(12)) - {*held_out.tolist()}}
    for path in others:
        path.write_bytes(b"no picture")
    assert torch.equal(pictures_to_check(run, folder)[0], pictures)
    (data / f"cup/train/good/{int(held_out[1]):02d}.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="is not a picture"):
        pictures_to_check(run, folder)


def test_without_the_run_s_data_noise_is_checked(run_folder: Path) -> None:
    run = load_trained_run(run_folder, "cpu")
    pictures, origin = pictures_to_check(run, run_folder)
    assert origin == "blurred noise and a negative"
    assert pictures.shape == (4, 3, 72, 72)
    assert torch.equal(pictures[3], 1 - pictures[0])
    assert 0 <= float(pictures.min()) < float(pictures.max()) <= 1
