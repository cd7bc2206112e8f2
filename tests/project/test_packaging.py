"""What the package says of itself: one version, one licence, one list of Pythons, one gate."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import aw_ssim

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
CLASSIFIED = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)


def test_the_version_stands_in_one_place() -> None:
    assert 'dynamic = ["version"]' in PYPROJECT
    sources = [*ROOT.glob("aw_ssim/**/*.py"), *ROOT.glob("*.toml"), *ROOT.glob("*.cff")]
    holders = [
        path.name
        for path in sources
        if re.search(r"^(__version__|version) *[=:]", path.read_text(encoding="utf-8"), re.M)
    ]
    assert holders == ["__init__.py"]
    assert importlib.metadata.version("aw-ssim") == aw_ssim.__version__


def test_the_changelog_has_the_version_or_what_comes_next() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased" or versions[0] == aw_ssim.__version__
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def workflow() -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["jobs"]["gate"])


def test_the_workflow_is_the_gate() -> None:
    commands = [step["run"] for step in workflow()["steps"] if "run" in step]
    assert commands == ["bash .ci/run"]


def test_every_python_that_is_promised_is_tested() -> None:
    assert workflow()["strategy"]["matrix"]["python"] == CLASSIFIED
    assert f'requires-python = ">={CLASSIFIED[0]}"' in PYPROJECT
    assert f"Python {CLASSIFIED[0]} to {CLASSIFIED[-1]}" in (ROOT / "README.md").read_text()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_the_library_needs_torch_alone() -> None:
    import tomllib

    (requirement,) = tomllib.loads(PYPROJECT)["project"]["dependencies"]
    assert requirement.startswith("torch>=")
