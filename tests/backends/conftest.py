"""In the backends' own tests no new tensor holds zeros by chance."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _poisoned(poisoned_memory: None) -> None:
    """For every test of this folder."""
