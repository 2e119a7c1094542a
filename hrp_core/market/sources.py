"""Where prices come from, behind one Protocol.

What belongs here: sources and how the settings choose one. Each hands out validated frames of one schema;
nothing above this layer knows a file format or a vendor.
"""

from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import pandas as pd

from hrp_core.errors import DataError, SettingsError
from hrp_core.market.actions import apply_actions, read_actions
from hrp_core.market.bars import BarsProvider, IbkrSource
from hrp_core.market.membership import Memberships, read_memberships
from hrp_core.market.read import ACTIONS_STEM, UNIVERSE_STEM, file_beside, price_files, read_file
from hrp_core.market.validate import PriceTable, build_table
from hrp_core.market.yahoo import YahooSource
from hrp_core.settings import Settings

SAMPLE_FILE = Path(__file__).resolve().parent / "sample" / "sp500_20.parquet"


class PriceSource(Protocol):
    """Daily prices of US stocks."""

    @property
    def name(self) -> str:
        """Short name, as in the column `source`."""
        ...

    def first_session(self) -> date:
        """Return the first session with a price."""
        ...

    def last_session(self) -> date:
        """Return the last session with a price."""
        ...

    def load(self, start: date, end: date) -> pd.DataFrame:
        """Return the prices of the sessions from `start` to `end`, both included.

        Returns:
            Long frame with the columns `PRICE_COLUMNS`, sorted by session and symbol, one row each:
            session (datetime.date), symbol (upper case), open, high, low, close (USD a share), volume
            (shares), split_factor (new shares for one old, on the first session at the new basis), dividend
            (USD a share, on the ex-date), source. Numbers are float64; NaN = the source has none, which close
            never is.

        Raises:
            DataError: a value breaks the schema; nothing is returned then.
        """
        ...

    def memberships(self) -> Memberships | None:
        """Return the point-in-time universe; None = every name with a price belongs to it.

        Raises:
            DataError: its file breaks the schema.
        """
        ...


class FilesSource:
    """Prices from one CSV or Parquet file, or from all such files of a folder, in long format.

    All files are read and validated together, whatever slice is asked for, so that one bad row anywhere keeps
    everything out. A file that changed is read anew. `corporate_actions.*` and `universe.*` may stand beside
    them (`read_actions`, `read_memberships`).

    Args:
        path: file or folder.
    """

    name = "files"

    def __init__(self, path: Path) -> None:
        self._path = path

    def first_session(self) -> date:
        """Return the first session with a price."""
        return self._table().sessions[0]

    def last_session(self) -> date:
        """Return the last session with a price."""
        return self._table().sessions[-1]

    def load(self, start: date, end: date) -> pd.DataFrame:
        """Return the prices from `start` to `end`; see `PriceSource.load`."""
        return self._table().frame(start, end)

    def memberships(self) -> Memberships | None:
        """Return the point-in-time universe of the file `universe.*`, where there is one."""
        return memberships_beside(self._path)

    def _table(self) -> PriceTable:
        actions = file_beside(self._path, ACTIONS_STEM)
        return _read_table(
            tuple(_stamp(path) for path in price_files(self._path)),
            _stamp(actions) if actions else None,
            self.name,
        )


class SampleSource(FilesSource):
    """The prices that ship with the package: 20 names of the S&P 500, 1990 to 2022, adjusted closes only."""

    name = "sample"

    def __init__(self) -> None:
        super().__init__(SAMPLE_FILE)


def source_from_settings(settings: Settings, bars_provider: BarsProvider | None = None) -> PriceSource:
    """Return the price source that HRP_PRICE_SOURCE names.

    Args:
        settings: which source, and its files or names.
        bars_provider: whoever holds the connection to Interactive Brokers; needed for the source `ibkr`
            alone.

    Raises:
        SettingsError: the source is `ibkr` and there is no provider, or `yahoo` and the extra is not
            installed.
        DataError: a file beside the prices breaks its schema.
    """
    folder = settings.price_files
    if settings.price_source == "files":
        # Settings refuse the source `files` without a path.
        assert folder is not None
        return FilesSource(folder)
    if settings.price_source == "yahoo":
        return YahooSource(settings.symbols, memberships=memberships_beside(folder) if folder else None)
    if settings.price_source == "ibkr":
        if bars_provider is None:
            raise SettingsError(
                "HRP_PRICE_SOURCE=ibkr needs a connection to Interactive Brokers, which only the jobs open "
                "(`hrp job run market-data`); where there is no connection use files or yahoo"
            )
        actions = file_beside(folder, ACTIONS_STEM) if folder else None
        return IbkrSource(
            bars_provider,
            settings.symbols,
            read_actions(actions) if actions else (),
            memberships_beside(folder) if folder else None,
        )
    return SampleSource()


def memberships_beside(path: Path) -> Memberships | None:
    """Return the universe of the file `universe.*` in the folder `path`, or beside the file, if any."""
    found = file_beside(path, UNIVERSE_STEM)
    return read_memberships(found) if found else None


def _stamp(path: Path) -> tuple[Path, int, int]:
    """Return what changes when a file does."""
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=2)
def _read_table(
    prices: tuple[tuple[Path, int, int], ...], actions: tuple[Path, int, int] | None, name: str
) -> PriceTable:
    """Return the validated rows of these files; size and time of change are part of the key."""
    files = [read_file(path) for path, _, _ in prices]
    if not any(file.rows for file in files):
        raise DataError(
            f"no rows in {', '.join(str(path) for path, _, _ in prices)}; add prices and load again"
        )
    return apply_actions(build_table(files, name), read_actions(actions[0]) if actions else ())
