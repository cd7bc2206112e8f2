"""Measurements of the library and of the pipeline, and the pages that are written from them."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

# The pipeline is `two_stage` and the tests' truth is `oracle`, here as in the tests.
sys.path += [str(ROOT / folder) for folder in ("examples", "tests/support")]
