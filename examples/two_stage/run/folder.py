"""The folder of one run: which settings it belongs to, and files that are never half-written."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .checks import brief
from .errors import UserError, one_line
from .groups import Running, Scoring
from .settings import Settings, names_of

PACKAGES = (
    "aw_ssim", "torch", "torchvision", "lpips", "accelerate", "scikit-image", "scikit-learn",
    "pillow", "numpy",
)  # fmt: skip

# Where a run lies, how often it is saved, and of how many pictures files are left.
CHANGES_NO_RESULT = {*names_of(Running), "checkpoint_steps", "pictures_per_type"}


def find_run_folder(settings: Settings) -> Path:
    """The folder of the run with these settings, which may not be there yet; nothing is written.

    The same settings find the same folder again, which is how an interrupted run continues.

    Raises:
        UserError: the folder that the settings name holds something else, or links.
    """
    folder = settings.running.run_folder or _numbered_folder(settings)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"expected a folder for the run, got the file {folder}")
    if folder.is_dir() and any(folder.iterdir()):
        _check_it_is_ours(folder, settings)
        if not settings.running.overwrite:
            refuse_links(folder)
    return folder


def make_run_folder(settings: Settings, folder: Path) -> None:
    """Make what `find_run_folder` found; files of the same run are kept, unless `overwrite`."""
    folder.mkdir(parents=True, exist_ok=True)
    if settings.running.overwrite:
        # The folder itself may be a link to a larger disk; links in it are removed, not followed.
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    save_settings(settings, folder)


def refuse_links(folder: Path) -> None:
    """Raise a UserError if anything in a folder to be written to is a symbolic link.

    Following one would change files elsewhere, and a run makes no links.
    """
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise UserError(
                f"expected no links in {folder}, got the link {path} to "
                f"{path.readlink()}; remove it, or name another folder"
            )


def save_settings(settings: Settings, folder: Path) -> None:
    """Write the settings, and the versions they ran with, to `settings.yaml`."""
    content = {"settings": settings.to_dict(), "versions": versions()}
    write_atomically(folder / "settings.yaml", yaml.safe_dump(content, sort_keys=False).encode())


def load_settings(folder: Path) -> Settings:
    """The settings of an earlier run.

    Raises:
        UserError: the folder is not that of a run, or its `settings.yaml` is not one of ours.
    """
    path = folder / "settings.yaml"
    if not path.is_file():
        raise UserError(f"expected the folder of a run, there is no {path}")
    try:
        return Settings.from_dict(yaml.safe_load(path.read_text(encoding="utf-8"))["settings"])
    except (
        yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError,
    ) as error:  # fmt: skip
        raise UserError(f"{path} does not hold the settings of a run: {one_line(error)}") from error


def load_metrics(folder: Path) -> dict[str, Any]:
    """The figures of a complete run."""
    path = folder / "metrics.json"
    if not path.is_file():
        raise UserError(f"expected the folder of a complete run, there is no {path}")
    return parse_json(path.read_bytes(), path)


def parse_json(content: str | bytes, path: Path) -> dict[str, Any]:
    """The JSON object that `path` holds; a UserError where it holds none."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged, its JSON cannot be read: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is not of a run: expected a JSON object, got {brief(values)}")
    return values


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a result."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def save_json(values: Mapping[str, Any], path: Path) -> None:
    """Strict JSON: a NaN, which JSON does not know, is an error here and not in the reader."""
    write_atomically(path, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Write next to `path` first and move there in one step: a reader sees all of it or none."""
    temporary = path.with_name(path.name + ".partial")
    # A file that an interruption left, or a link, through which "wb" would write elsewhere.
    temporary.unlink(missing_ok=True)
    with temporary.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _numbered_folder(settings: Settings) -> Path:
    number = 1
    while True:
        folder = Path("runs") / f"{settings.data.category}-{settings.preset}-{number:03d}"
        if not folder.exists() or _holds(folder, settings):
            return folder
        number += 1


def _check_it_is_ours(folder: Path, settings: Settings) -> None:
    if settings.running.overwrite:
        # Only a run is ever deleted, no folder that was named by mistake.
        load_settings(folder)
        return
    if not (folder / "settings.yaml").is_file():
        raise UserError(
            f"{folder} is not the folder of a run: it holds other files; name another with "
            "--run-folder"
        )
    earlier, now = (identity(one) for one in (load_settings(folder), settings))
    # Until a run is scored, it may still be scored otherwise.
    scored = any((folder / name).exists() for name in ("metrics.json", "choice.json"))
    scoring = set(names_of(Scoring))
    changed = [key for key in now if earlier[key] != now[key] and (scored or key not in scoring)]
    if changed:
        what = ", ".join(f"{key} {earlier[key]} -> {now[key]}" for key in changed)
        advice = "name another folder with --run-folder, or pass --overwrite to delete that run"
        if scoring.issuperset(changed):
            flags = " ".join(f"--{key.replace('_', '-')} {now[key]}" for key in changed)
            advice = f"score it so with the command: evaluate {folder} {flags}; or {advice}"
        raise UserError(f"{folder} holds a run with other settings ({what}); {advice}")


def _holds(folder: Path, settings: Settings) -> bool:
    if not (folder / "settings.yaml").is_file():
        return False
    try:
        return identity(load_settings(folder)) == identity(settings)
    except UserError:
        return False


def identity(settings: Settings) -> dict[str, Any]:
    """What two runs share if one is the other begun again: all that changes a result."""
    values = settings.to_dict()
    return {key: value for key, value in values.items() if key not in CHANGES_NO_RESULT}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
