"""What the doctor asks of the machine: Python, packages, time zones, disk, and who may read the settings."""

import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module, metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from hrp_core.calendar import NEW_YORK
from hrp_core.doctor.report import Check, examine, failure, ok, skipped, warning
from hrp_core.settings import ENV_FILE, Settings

_PROJECT = "hrp-dagster"
_SETUP = "make setup"
# What is imported under another name than it is installed under.
_MODULES = {"scikit-learn": "sklearn", "pydantic-settings": "pydantic_settings"}
# They ask for a running event loop, or take seconds to import: the checks that use them import them.
_NOT_IMPORTED = frozenset(
    {"ib-insync", "eventkit", "nest-asyncio", "mlflow", "great-expectations", "dagster-mlflow"}
)
_GIB = 1024**3


def examine_machine(settings: Settings, env_file: Path = ENV_FILE) -> Iterator[Check]:
    """Look at everything that needs no stored state and no broker."""
    yield examine("python", _python, _SETUP)
    yield examine("packages", lambda: judge_packages(metadata.requires(_PROJECT) or []), _SETUP)
    yield examine("time zones", _time_zones)
    yield examine("HRP_HOME", lambda: _home(settings.home))
    yield examine("disk", lambda: _disk(settings.home, settings.min_free_disk_gb))
    yield examine("settings file", lambda: _env_file(env_file))


def _python() -> Check:
    wanted = metadata.metadata(_PROJECT)["Requires-Python"]
    have = platform.python_version()
    if SpecifierSet(wanted).contains(have):
        return ok("python", f"{have} ({sys.executable})")
    return failure(
        "python", f"{have} at {sys.executable}; {wanted} is needed", "install one, then: make clean setup"
    )


def judge_packages(requirements: list[str]) -> Check:
    """Return whether each required package is there, in its range, and can be imported.

    Args:
        requirements: as a package declares them (``duckdb>=1.5.5,<3``); those of extras are left out.
    """
    problems, count = [], 0
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            problems.append(f"{wanted.name} is not installed")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            problems.append(f"{wanted.name} {version} is not {wanted.specifier}")
        elif wanted.name not in _NOT_IMPORTED:
            try:
                import_module(_MODULES.get(wanted.name, wanted.name.replace("-", "_")))
            except ImportError as error:
                problems.append(f"{wanted.name} {version} cannot be imported: {error}")
    if problems:
        return failure("packages", "; ".join(problems), _SETUP)
    return ok("packages", f"{count} packages, all within their ranges")


def _time_zones() -> Check:
    # Summer and winter: without the rules a zone is a constant offset, and every session an hour off.
    hours = [datetime(2022, month, 1, tzinfo=NEW_YORK).utcoffset() for month in (1, 7)]
    offsets = [None if each is None else each.total_seconds() / 3600 for each in hours]
    if offsets != [-5, -4]:
        return failure(
            "time zones",
            f"New York is {offsets[0]} h from UTC in January and {offsets[1]} h in July, not -5 and -4",
            "reinstall the zone data: .venv/bin/python -m pip install --force-reinstall tzdata",
        )
    return ok("time zones", f"New York is known (tzdata {metadata.version('tzdata')})")


def _home(home: Path) -> Check:
    fix = f"make {home} a folder that this user may write, or set HRP_HOME to another one"
    if not home.exists():
        return failure("HRP_HOME", f"{home} does not exist", "hrp init")
    try:
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"hrp")
    except OSError as error:
        return failure("HRP_HOME", f"{home} cannot be written: {error.strerror}", fix)
    return ok("HRP_HOME", f"{home} can be written")


def _disk(home: Path, least_gb: float) -> Check:
    there = next(each for each in (home, *home.parents) if each.exists())
    free = shutil.disk_usage(there).free / _GIB
    if free < least_gb:
        return failure(
            "disk",
            f"{free:.1f} GB free at {there}, less than {least_gb:g} GB (HRP_MIN_FREE_DISK_GB): a journal "
            "that cannot be written stops trading",
            "free some space: old logs under HRP_HOME/logs, old runs in the Dagster UI",
        )
    return ok("disk", f"{free:.1f} GB free at {there}")


def _env_file(path: Path) -> Check:
    if not path.exists():
        return skipped("settings file", f"there is no {path}: settings come from the environment alone")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warning("settings file", f"{path} can be read by others (mode {mode:o})", f"chmod 600 {path}")
    return ok("settings file", f"{path}, readable by its owner alone")
