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


def job(name: str, workflow: str = "ci") -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["jobs"][name])


def test_the_workflow_is_the_gate() -> None:
    commands = [step["run"] for step in job("gate")["steps"] if "run" in step]
    assert commands == ["bash .ci/run"]


def test_every_python_that_is_promised_is_tested() -> None:
    assert job("gate")["strategy"]["matrix"]["python"] == CLASSIFIED
    assert f'requires-python = ">={CLASSIFIED[0]}"' in PYPROJECT
    assert f"Python {CLASSIFIED[0]} to {CLASSIFIED[-1]}" in (ROOT / "README.md").read_text()


def test_every_system_is_tested_with_the_oldest_torch_and_the_newest() -> None:
    matrix = job("systems")["strategy"]["matrix"]
    assert {system.partition("-")[0] for system in matrix["system"]} == {
        *("ubuntu", "macos", "windows")
    }
    (least,) = re.findall(r'^dependencies = \["torch>=(.*)"\]$', PYPROJECT, re.MULTILINE)
    assert matrix["torch"] == [f"=={least}.*", ""]


def test_a_release_is_published_without_a_token() -> None:
    publish = job("publish", "publish")
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["needs"] == "build"
    text = (ROOT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    assert "password" not in text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_the_library_needs_torch_alone() -> None:
    import tomllib

    (requirement,) = tomllib.loads(PYPROJECT)["project"]["dependencies"]
    assert requirement.startswith("torch>=")
