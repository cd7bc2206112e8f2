"""The examples in the docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch

import aw_ssim
from aw_ssim.gaussian_window import gaussian_window

MODULES = [info.name for info in pkgutil.walk_packages(aw_ssim.__path__, "aw_ssim.")]
NAMES = {name: getattr(aw_ssim, name) for name in aw_ssim.__all__} | {
    "torch": torch,
    "gaussian_window": gaussian_window,
}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    if name == "aw_ssim.metrics":
        pytest.importorskip("torchmetrics")
    torch.manual_seed(0)
    results = doctest.testmod(importlib.import_module(name), extraglobs=NAMES)
    assert results.failed == 0


@pytest.mark.parametrize("name", [n for n in aw_ssim.__all__ if n != "SSIMComponents"])
def test_everything_public_has_an_example(name: str) -> None:
    assert ">>> " in (getattr(aw_ssim, name).__doc__ or "")
