"""Strategy files: one TOML file a strategy, read strictly.

What belongs here: reading and checking the files. What does not: the predictions or holdings of a strategy.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from hrp_core.errors import SettingsError
from hrp_core.portfolio.signals import strategy_rule
from hrp_core.portfolio.types import Strategy

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_REQUIRED = ("id", "name", "model", "method", "capital_weight", "state")
_KEYS = (*_REQUIRED, "parameters")


class StrategyState(StrEnum):
    """What a strategy may do."""

    DRAFT = "draft"  # a file only: neither scored nor traded
    DEPLOYED = "deployed"  # scored and traded
    PAUSED = "paused"  # scored; holds what it has
    RETIRED = "retired"  # sells what it has


@dataclass(frozen=True, slots=True)
class StrategyFile:
    """A strategy as its file has it."""

    path: Path
    state: StrategyState
    strategy: Strategy


def read_strategy_file(path: Path) -> StrategyFile:
    """Read one strategy file.

    Raises:
        SettingsError: the file is no TOML, or a key is missing, unknown or invalid; names file and key.
    """
    try:
        content = path.read_bytes()
        values: dict[str, Any] = tomllib.loads(content.decode("utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as a TOML file: {error}") from error
    for key in values:
        if key not in _KEYS:
            raise SettingsError(f"{path}: key {key!r} is not known; a strategy has {', '.join(_KEYS)}")
    for key in _REQUIRED:
        if key not in values:
            raise SettingsError(f"{path}: key {key!r} is missing; a strategy needs {', '.join(_REQUIRED)}")
    for key in ("id", "name", "model", "method", "state"):
        if not isinstance(values[key], str) or not values[key].strip():
            raise SettingsError(f"{path}: key {key!r} must be a text that is not empty")
    if not _ID.fullmatch(values["id"]):
        raise SettingsError(
            f"{path}: key 'id' is {values['id']!r}; it must be letters, digits, dots, dashes and "
            "underscores, like HYP-2026-001"
        )
    if values["state"] not in list(StrategyState):
        raise SettingsError(
            f"{path}: key 'state' is {values['state']!r}; it must be one of {', '.join(StrategyState)}"
        )
    weight = values["capital_weight"]
    numeric = (
        isinstance(weight, int | Decimal) and not isinstance(weight, bool) and Decimal(weight).is_finite()
    )
    if not numeric or not 0 < weight <= 1:
        raise SettingsError(f"{path}: key 'capital_weight' is {weight!s}; it must be above 0 and at most 1")
    state = StrategyState(values["state"])
    return StrategyFile(
        path,
        state,
        Strategy(
            strategy_id=values["id"],
            name=values["name"],
            model=values["model"],
            method=values["method"],
            capital_weight=Decimal(weight),
            parameters=_parameters(path, values["method"], values.get("parameters", {})),
            paused=state is StrategyState.PAUSED,
            retired=state is StrategyState.RETIRED,
            content_hash=hashlib.sha256(content).hexdigest(),
        ),
    )


def read_strategy_files(folder: Path) -> list[StrategyFile]:
    """Read all strategy files of a folder (those ending in .toml), sorted by strategy id.

    Raises:
        SettingsError: the folder is missing, a file is invalid, an id occurs twice, or the capital weights of
            those not in draft sum to more than 1.
    """
    if not folder.is_dir():
        raise SettingsError(
            f"no folder of strategies at {folder}; make it or set HRP_STRATEGIES to where it is"
        )
    files = sorted(
        (read_strategy_file(path) for path in sorted(folder.glob("*.toml"))),
        key=lambda file: file.strategy.strategy_id,
    )
    for earlier, later in pairwise(files):
        if earlier.strategy.strategy_id == later.strategy.strategy_id:
            raise SettingsError(
                f"{later.path}: key 'id' is {later.strategy.strategy_id!r}, as in {earlier.path}; "
                "ids must differ"
            )
    check_capital(file.strategy for file in files if file.state is not StrategyState.DRAFT)
    return files


def load_strategies(folder: Path) -> tuple[Strategy, ...]:
    """Return the strategies of a folder that are deployed, paused or retired, sorted by id.

    Raises:
        SettingsError: as `read_strategy_files`.
    """
    return tuple(
        file.strategy for file in read_strategy_files(folder) if file.state is not StrategyState.DRAFT
    )


def check_capital(strategies: Iterable[Strategy]) -> None:
    """Refuse strategies that together would be given more than the whole capital; retired ones get none.

    Raises:
        SettingsError: the capital weights sum to more than 1.
    """
    weights = {item.strategy_id: item.capital_weight for item in strategies if not item.retired}
    total = sum(weights.values(), Decimal(0))
    if total > 1:
        listed = ", ".join(f"{name} {weight}" for name, weight in sorted(weights.items()))
        raise SettingsError(
            f"the capital weights of the deployed strategies sum to {total}, more than 1 ({listed}); lower "
            "'capital_weight' in their files"
        )


def _parameters(path: Path, method: str, values: object) -> dict[str, float | int | str]:
    """Return the parameters of a method, checked; TOML floats become floats."""
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: key 'parameters' must be a table: [parameters]")
    parameters = {
        name: float(value) if isinstance(value, Decimal) else value for name, value in sorted(values.items())
    }
    # Its memory is the signals of earlier sessions: a score missing for one day would sell the day after.
    if method == "topk_dropout":
        raise SettingsError(
            f"{path}: key 'method': topk_dropout is not supported for strategies in this release; use rank, "
            "threshold or zscore"
        )
    try:
        strategy_rule(method, parameters)
    except ValueError as error:
        raise SettingsError(f"{path}: keys 'method' and 'parameters': {error}") from error
    # `decide` builds long-only portfolios; half of a long-short strategy is not that strategy.
    if parameters.get("short"):
        raise SettingsError(f"{path}: key 'parameters.short': accounts are long-only; remove it")
    return parameters
