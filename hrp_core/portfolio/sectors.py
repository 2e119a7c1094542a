"""The file of sectors: which name belongs to which sector.

What belongs here: reading and checking that one file. What does not: the cap on a sector (`risk`).
"""

from pathlib import Path

import pandas as pd

from hrp_core.errors import SettingsError

COLUMNS = ("symbol", "sector")


def read_sectors(path: Path) -> dict[str, str]:
    """Return the sector by symbol, sorted by symbol; a row without a sector is a name of unknown sector.

    Args:
        path: CSV or Parquet with the columns symbol and sector.

    Raises:
        SettingsError: the file cannot be read, lacks a column, or gives a name two sectors.
    """
    try:
        # NA is a text like any other here: it is a symbol.
        frame = (
            pd.read_parquet(path)
            if path.suffix == ".parquet"
            else pd.read_csv(path, dtype=str, keep_default_na=False)
        )
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{path}: cannot be read as a file of sectors (HRP_SECTORS_FILE): {error}"
        ) from error
    for column in COLUMNS:
        if column not in frame.columns:
            raise SettingsError(
                f"{path}: column {column!r} is missing; a file of sectors has {', '.join(COLUMNS)}"
            )
    sectors: dict[str, str] = {}
    for symbol, sector in zip(frame["symbol"], frame["sector"], strict=True):
        name, group = str(symbol).strip().upper(), "" if pd.isna(sector) else str(sector).strip()
        if sectors.get(name, group) != group:
            raise SettingsError(
                f"{path}: {name} has the sectors {sectors[name]!r} and {group!r}; give it one"
            )
        sectors[name] = group
    return {name: group for name, group in sorted(sectors.items()) if name and group}
