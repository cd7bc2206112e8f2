"""The folder of one run: which settings it belongs to, and files that are never half-written."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .checks import brief
from .errors import UserError, one_line
from .groups import Running, Scoring
from .lock import LOCK, InUseError, held
from .settings import Settings, names_of

PACKAGES = (
    "aw_ssim", "torch", "torchvision", "lpips", "accelerate", "scikit-image", "scikit-learn",
    "pillow", "numpy",
)  # fmt: skip

# Where a run lies, how often it is saved, and of how many pictures files are left.
CHANGES_NO_RESULT = {*names_of(Running), "checkpoint_steps", "pictures_per_type"}


PARTIAL = ".partial"
# What a run is to do, and what it knows of its pictures: without more it has not begun.
RECORD = "data.json"
BEGINNING = (RECORD, "settings.yaml")
# The last files of a run. With all of them it is complete.
LAST = ("metrics.json", "report.html")


@contextlib.contextmanager
def open_run_folder(settings: Settings) -> Iterator[Path]:
    """The folder of the run with these settings, which nobody else may write to meanwhile.

    It is made at once, so that of two runs that begin together each has its own; without anything
    but its settings it is removed in the end. A complete run's folder is neither held nor changed.

    Raises:
        UserError: as `find_run_folder`, or another process works on this very run.
    """
    taken: set[Path] = set()
    while True:
        folder = find_run_folder(settings, taken)
        if is_complete(folder) and not settings.running.overwrite:
            if (folder / LOCK).exists():
                # Of a process that was killed as its last; to hold it once takes it away.
                with contextlib.suppress(OSError, InUseError), held(folder):
                    pass
            yield folder
            return
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(held(folder))
            except InUseError:
                if settings.running.run_folder is not None or _holds(folder, settings):
                    raise
                taken.add(folder)
                continue
            # Another process may have been quicker, and have left by now.
            if find_run_folder(settings, taken) == folder:
                stack.enter_context(_begun(settings, folder))
                yield folder
                return


def find_run_folder(settings: Settings, taken: Collection[Path] = ()) -> Path:
    """The folder of the run with these settings, which may not be there yet; nothing is written.

    The same settings find the same folder again, which is how an interrupted run continues. Of
    the numbered folders those in `taken` are passed over.

    Raises:
        UserError: the folder that the settings name holds something else, or links.
    """
    folder = settings.running.run_folder or _numbered_folder(settings, taken)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"expected a folder for the run, got the file {folder}")
    if not _is_free(folder):
        _check_it_is_ours(folder, settings)
        if not settings.running.overwrite:
            refuse_links(folder)
    return folder


def is_complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in LAST)


def make_run_folder(settings: Settings, folder: Path) -> None:
    """Make what `find_run_folder` found; files of the same run are kept, unless `overwrite`."""
    folder.mkdir(parents=True, exist_ok=True)
    if settings.running.overwrite:
        for path in sorted(folder.iterdir(), key=_turn_to_go):
            # The folder itself may be a link to a larger disk; links in it are not followed.
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
    save_settings(settings, folder)


def _turn_to_go(path: Path) -> int:
    """So that a folder whose deletion was interrupted is a run that can go on: not complete first,
    weights before their logs, and the settings, which say whose it is, last."""
    if path.name in LAST:
        return 0
    return 1 if path.suffix == ".safetensors" else 3 if path.name == "settings.yaml" else 2


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
    temporary = path.with_name(path.name + PARTIAL)
    # A file that an interruption left, or a link, through which "wb" would write elsewhere.
    temporary.unlink(missing_ok=True)
    try:
        with naming(path), temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        # On a full disk it would only be in the way.
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """As UTF-8, with \\udcff for what is none in a file's name."""
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Of a full disk the system says no more than that; its error then names the file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def _begun(settings: Settings, folder: Path) -> Iterator[None]:
    """Settings in a new folder, to say whose it is; what was half-written in an old one goes."""
    new = not (folder / "settings.yaml").exists()
    if new:
        save_settings(settings, folder)
    else:
        for path in folder.glob(f"*{PARTIAL}"):
            path.unlink()
    try:
        yield
    finally:
        if new and {path.name for path in folder.iterdir()} <= {*BEGINNING, LOCK}:
            for name in BEGINNING:
                (folder / name).unlink(missing_ok=True)


def _is_free(folder: Path) -> bool:
    """Nothing is in the folder, or what a run leaves that ends before its settings are written."""
    if not folder.is_dir():
        return not folder.exists()
    beginnings = {LOCK, f"settings.yaml{PARTIAL}"}
    return all(path.name in beginnings for path in folder.iterdir())


def _numbered_folder(settings: Settings, taken: Collection[Path]) -> Path:
    number = 1
    while True:
        folder = Path("runs") / f"{settings.data.category}-{settings.preset}-{number:03d}"
        if folder not in taken and (_is_free(folder) or _holds(folder, settings)):
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
