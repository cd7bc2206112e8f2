"""Fixtures that every test file shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings
from tested_backends import BACKENDS, COMPLETE_BACKENDS

# the images are small: a second thread costs more than it brings
torch.set_num_threads(1)

# Torch's first backward pass starts threads if a test has used the meta device by then, and no
# process with those threads can fork. So here is the first one.
torch.ones((), requires_grad=True).backward()

settings.register_profile("aw_ssim", deadline=None, derandomize=True, max_examples=30)
# By hand, other examples each time: --hypothesis-profile aw_ssim_long
settings.register_profile("aw_ssim_long", deadline=None, max_examples=2000)
settings.load_profile("aw_ssim")


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """New tensors are filled with NaN, so that a result shows what was never written."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, poisoned_memory: None) -> str:
    """Each backend that must give the same numbers."""
    return str(request.param)


@pytest.fixture(params=COMPLETE_BACKENDS)
def complete_backend(request: pytest.FixtureRequest, poisoned_memory: None) -> str:
    """Each backend that also takes float64 and any window."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _denormal_numbers() -> Iterator[None]:
    """What older releases of torch compile is linked so that its loading turns them off."""
    yield
    torch.set_flush_denormal(False)
