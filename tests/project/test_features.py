"""The table of features: each entry of our column is what a test elsewhere, or one here, holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch

from aw_ssim import ssim

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
# By row: what our column says, and the tests that hold it.
HELD: dict[str, tuple[str, str]] = {
    "volumes, N x C x D x H x W": (
        "yes",
        "project/test_features.py::test_volumes_are_compared",
    ),
    "map": ("yes", "library/test_modules.py::test_modules_equal_their_functions"),
    "value for each image": (
        "yes",
        "library/test_per_image.py::test_each_image_has_the_mean_and_gradient_it_has_alone",
    ),
    "mask": ("weighs pixels and windows", "library/test_masks.py::test_against_the_oracle"),
    "data range for each image": (
        "yes",
        "library/test_per_image.py::test_a_range_for_each_image_is_that_of_each_loss",
    ),
    "luminance, contrast, structure apart": (
        "yes",
        "library/test_components.py::test_components",
    ),
    "weights of the three terms": ("yes", "library/test_components.py::test_gradients"),
    "multi-scale": ("yes", "library/test_multiscale.py::test_the_definition"),
    "L1 beside it": ("plain, smoothed", "library/test_l1.py::test_against_the_oracle"),
    "LPIPS beside it": ("yes", "library/test_perceptual.py::test_mix"),
    "windows": ("Gaussian, uniform", "library/test_components.py::test_options"),
    "sigma that grows in training": (
        "yes",
        "library/test_sigma_schedule.py::test_a_loss_follows_its_schedule",
    ),
    "borders": ("valid, reflected, zeros", "library/test_components.py::test_options"),
    "sample covariance": ("yes", "library/test_components.py::test_options"),
    "half images computed in float32": (
        "yes",
        "library/test_dtypes.py::test_values_and_gradients",
    ),
    "gradient to both images": (
        "yes",
        "library/test_autograd.py::test_only_what_is_needed_gets_a_gradient",
    ),
    "second derivatives": ('`backend="torch"`', "library/test_autograd.py::test_gradgradcheck"),
    "torch.compile, one graph": (
        "yes",
        "backends/test_compile.py::test_inductor_serves_a_schedule_with_one_graph",
    ),
    "torch.export, ONNX": ("yes", "backends/test_exported_graphs.py::test_onnx"),
    "torch.func": ("yes", "library/test_transforms.py::test_gradient_transforms"),
    "kept for the backward pass": (
        "the gradient",
        "library/test_autograd.py::test_memory_kept_for_backward",
    ),
    "CPU kernel": ("numba", "backends/test_numba_kernel.py::test_tiles_join_without_a_seam"),
    "GPU kernel": ("Triton", "backends/test_triton_kernel.py::test_values_and_gradients"),
    "installs without nvcc": (
        "yes",
        "project/test_packaging.py::test_the_library_needs_torch_alone",
    ),
    "metric with states": (
        "for torchmetrics",
        "library/test_similarity_metric.py::test_the_mean_counts_each_image_once",
    ),
}


def rows() -> dict[str, list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells[1:]}


def test_our_column_says_what_is_held() -> None:
    assert {name: cells[0] for name, cells in rows().items()} == {
        name: said for name, (said, _) in HELD.items()
    }


def test_every_row_speaks_of_every_library() -> None:
    (header,) = re.findall(r"^\| \| aw_ssim \|(.*)\|$", PAGE, re.MULTILINE)
    libraries = [name.strip() for name in header.split("|")]
    assert {len(cells) for cells in rows().values()} == {1 + len(libraries)}
    sources = PAGE[PAGE.index("Read in") :]
    assert [name for name in libraries if f"[{name}](http" not in sources] == []


@pytest.mark.parametrize("test", sorted({test for _, test in HELD.values()}))
def test_the_test_exists(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    (function,) = [node for node in tree.body if getattr(node, "name", "") == name]
    assert isinstance(function, ast.FunctionDef)


def test_volumes_are_compared() -> None:
    volume = torch.rand(1, 2, 11, 12, 13)
    assert float(ssim(volume, volume)) == pytest.approx(1)
    assert float(ssim(volume, 1 - volume)) < 0.5
