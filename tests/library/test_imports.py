"""What `import aw_ssim` brings in, in a fresh interpreter, and what it offers."""

from __future__ import annotations

import importlib.resources
import json
import os
import subprocess
import sys

import pytest

import aw_ssim

PUBLIC = {
    "AWSSIMLoss",
    "CombinedPerceptualLoss",
    "SSIMLoss",
    "SigmaSchedule",
    "aw_ssim",
    "category_weights",
    "ssim",
    "ssim_components",
}

OPTIONAL = {"lpips", "torchvision", "torchmetrics", "skimage", "scipy", "matplotlib", "PIL"}


def fresh(code: str) -> str:
    """The output of `code` in an interpreter of its own, where warnings are errors."""
    command = [sys.executable, "-W", "error", "-c", code]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(command, capture_output=True, text=True, env=paths, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_brings_in_torch_and_nothing_else() -> None:
    code = (
        "import json, sys, torch; before = set(sys.modules); import aw_ssim;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    new = json.loads(fresh(code))
    own = {name for name in new if name.partition(".")[0] == "aw_ssim"}
    assert own
    foreign = {name.partition(".")[0] for name in new} - {"aw_ssim", "torch"}
    assert foreign <= set(sys.stdlib_module_names)
    assert not [name for name in own if "numba_cpu" in name or "triton_gpu" in name]


def test_optional_packages_stay_out() -> None:
    code = "import json, sys, aw_ssim; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.partition(".")[0] for name in json.loads(fresh(code))}
    assert not loaded & OPTIONAL


def test_using_the_losses_brings_in_no_optional_package() -> None:
    code = (
        # numba is there to be used where it is installed, and brings in what it likes.
        "import json, sys, torch; sys.modules['numba'] = None; from aw_ssim import AWSSIMLoss;"
        "x = torch.rand(1, 1, 16, 16, requires_grad=True); AWSSIMLoss()(x, 1 - x).backward();"
        "print(json.dumps(sorted(sys.modules)))"
    )
    loaded = {name.partition(".")[0] for name in json.loads(fresh(code))}
    assert not loaded & OPTIONAL


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_computing_leaves_torchs_compiler_out(reduction: str, backend: str) -> None:
    """Its import takes a second, which a first call would pay."""
    code = (
        "import sys, torch; from aw_ssim import AWSSIMLoss;"
        f"loss = AWSSIMLoss(backend={backend!r}, reduction={reduction!r});"
        "x = torch.rand(1, 1, 16, 16); loss(x, 1 - x);"
        "loss(x.requires_grad_(), 1 - x).sum().backward();"
        "assert x.grad.any(); print('torch._dynamo' in sys.modules)"
    )
    assert fresh(code) == "False\n"


def test_public_names() -> None:
    assert set(aw_ssim.__all__) >= PUBLIC
    for name in aw_ssim.__all__:
        assert getattr(aw_ssim, name).__doc__


def test_typed() -> None:
    assert importlib.resources.files(aw_ssim).joinpath("py.typed").is_file()
