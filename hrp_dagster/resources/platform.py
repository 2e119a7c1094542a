"""The settings and what is built from them, as one Dagster resource.

Hands out plain domain objects; holds no logic and no open connection.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from hrp_core.calendar import Clock
from hrp_core.execution.config import ClientRole
from hrp_core.execution.ibkr_bars import ConnectingBars
from hrp_core.ledger.journal import Journal
from hrp_core.market import PriceSource, source_from_settings
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.tracking import Tracking
from hrp_core.portfolio.strategies import load_strategies
from hrp_core.portfolio.types import Strategy
from hrp_core.settings import ENV_FILE, Settings
from hrp_core.store import Store
from hrp_dagster.resources.ibkr import IBKRResource


@lru_cache(maxsize=4)
def _registry(home: Path) -> ModelRegistry:
    # It keeps the versions it has loaded, which never change; which one is in production it asks each time.
    return ModelRegistry(Tracking(home))


@lru_cache(maxsize=8)
def _settings(
    home: str,
    dry_run: bool | None,
    auto_rollback: bool | None,
    _environment: tuple[tuple[str, str], ...],
    _file: tuple[int, int] | None,
) -> Settings:
    # Checking every setting takes milliseconds, and a run asks for them dozens of times: what they are read
    # from is part of the key.
    given: dict[str, Any] = {
        "home": Path(home) if home else None,
        "dry_run": dry_run,
        "auto_rollback": auto_rollback,
    }
    return Settings(**{name: value for name, value in given.items() if value is not None})


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file does; None without the file."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_size


class Platform(dg.ConfigurableResource):
    """Settings, clock, store, journal, price source and strategies of this installation."""

    home: str = Field(default="", description="Overrides HRP_HOME; empty for the setting.")
    dry_run: bool | None = Field(default=None, description="Overrides HRP_DRY_RUN.")
    auto_rollback: bool | None = Field(default=None, description="Overrides HRP_AUTO_ROLLBACK.")

    def settings(self) -> Settings:
        """Return the settings, read from the environment now."""
        environment = tuple(os.environ.items())
        return _settings(self.home, self.dry_run, self.auto_rollback, environment, _stamp(ENV_FILE))

    def clock(self) -> Clock:
        """Return the clock of the mode: the simulated gateway's in sim, the wall clock otherwise."""
        return self.settings().clock()

    def store(self) -> Store:
        """Return the DuckDB store (opens nothing yet)."""
        return Store(self.settings().database_path)

    def journal(self) -> Journal:
        """Return the order journal."""
        return Journal(self.settings().journal_path)

    def source(self) -> PriceSource:
        """Return where prices come from, where that needs no connection.

        Raises:
            SettingsError: prices come from the broker: use `open_source`.
        """
        return source_from_settings(self.settings())

    @contextmanager
    def open_source(self, ibkr: IBKRResource) -> Iterator[PriceSource]:
        """Yield where prices come from; a connection to the broker is opened when needed, and closed."""
        settings = self.settings()
        if settings.price_source != "ibkr":
            yield source_from_settings(settings)
            return
        with ConnectingBars(lambda: ibkr.connect(settings, ClientRole.PRICES)) as bars:
            yield source_from_settings(settings, bars)

    def registry(self) -> ModelRegistry:
        """Return the model registry (opens nothing yet)."""
        return _registry(self.settings().home)

    def strategies(self) -> Sequence[Strategy]:
        """Return the deployed strategies."""
        return load_strategies(self.settings().strategies)
