"""How new the stored prices are, name by name.

What belongs here: two short reads. What does not: how old is too old (`hrp_core.timetable`).
"""

from datetime import date

from hrp_core.store import Store
from hrp_core.store.schema import stored_columns


def recent_universe(store: Store, sessions: int = 5) -> tuple[str, ...]:
    """Return the names that were in the universe in one of its newest `sessions` sessions, sorted.

    A name that stops having prices leaves the universe the same day; for a few sessions more somebody should
    ask where it is.

    Raises:
        NotReadyError: the database does not exist.
        StoreError: the database stays locked.
    """
    with store.read() as connection:
        if not stored_columns(connection, "universe"):
            return ()
        rows = connection.execute(
            "SELECT DISTINCT symbol FROM universe WHERE in_universe AND session IN "
            "(SELECT DISTINCT session FROM universe ORDER BY session DESC LIMIT ?) ORDER BY symbol",
            [sessions],
        ).fetchall()
    return tuple(symbol for (symbol,) in rows)


def newest_prices(store: Store, symbols: tuple[str, ...]) -> dict[str, date]:
    """Return the newest session with an official close of each symbol that has one.

    Raises:
        NotReadyError: the database does not exist.
        StoreError: the database stays locked.
    """
    with store.read() as connection:
        if not symbols or not stored_columns(connection, "prices"):
            return {}
        marks = ", ".join("?" * len(symbols))
        rows = connection.execute(
            f"SELECT symbol, max(session) FROM prices WHERE symbol IN ({marks}) AND close IS NOT NULL "
            "GROUP BY symbol ORDER BY symbol",
            list(symbols),
        ).fetchall()
    return dict(rows)
