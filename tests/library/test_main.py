"""``python -m aw_ssim`` says what can run here."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

from aw_ssim import choose_backend
from aw_ssim.availability import BACKENDS


def test_every_backend_is_told_with_its_obstacle() -> None:
    command = [sys.executable, "-W", "error", "-m", "aw_ssim"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    start = printed.index("float32 images on cpu:")
    rows = dict(line.split(maxsplit=1) for line in printed[start:].splitlines()[1:6])
    assert list(rows) == [*BACKENDS, "auto"]
    x = torch.empty(1, 3, 64, 64)
    for name in BACKENDS:
        if rows[name] == "yes":
            assert choose_backend(name, x, x, sigma=1.5).name == name
            continue
        with pytest.raises(ValueError, match=re.escape(rows[name].removeprefix("no: "))):
            choose_backend(name, x, x, sigma=1.5)
    assert rows["auto"] == ": ".join(choose_backend("auto", x, x, sigma=1.5))
