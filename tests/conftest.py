"""Fixtures that every test file shares."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings

BACKENDS = ("torch", "analytic")

# the images are small: a second thread costs more than it brings
torch.set_num_threads(1)

settings.register_profile("aw_ssim", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("aw_ssim")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that must give the same numbers."""
    return str(request.param)
