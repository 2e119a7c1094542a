"""From a price source to the rows of the market tables, for a set of sessions.

What belongs here: asking a source for the right range and refusing what is not there. What does not: reading
files, storing rows.
"""

from collections.abc import Sequence
from datetime import date

import pandas as pd

from hrp_core.calendar import nyse
from hrp_core.errors import NotReadyError
from hrp_core.market.sources import PriceSource
from hrp_core.market.universe import corporate_actions, universe

# A name without a price for this long is no longer asked about.
KNOWN_SESSIONS = 252


def load_prices(source: PriceSource, sessions: Sequence[date]) -> pd.DataFrame:
    """Return the source's bars of `sessions` (see `PriceSource.load`).

    Raises:
        NotReadyError: the source has no bar at all for one of them.
        DataError: the source breaks the schema.
    """
    frame = source.load(min(sessions), max(sessions))
    frame = frame.loc[frame["session"].isin(set(sessions))].reset_index(drop=True)
    missing = sorted(set(sessions) - set(frame["session"].unique()))
    if missing:
        raise NotReadyError(
            f"the price source {source.name!r} has no prices for {missing[0]}"
            f"{f' and {len(missing) - 1} more sessions' if len(missing) > 1 else ''}; it reaches from "
            f"{source.first_session()} to {source.last_session()}"
        )
    return frame


def load_history(source: PriceSource, before: date) -> pd.DataFrame:
    """Return all bars of sessions before `before`; empty when the source begins later."""
    first = source.first_session()
    if first >= before:
        return source.load(before, before).iloc[:0]
    return source.load(first, nyse().previous(nyse().next_session_from(before)))


def load_universe(source: PriceSource, sessions: Sequence[date]) -> pd.DataFrame:
    """Return the universe of each session, from the source's prices of the year up to it and its memberships.

    Raises:
        NotReadyError: no name has a price on one of them.
    """
    prices = source.load(_known_since(min(sessions)), max(sessions))
    memberships = source.memberships()
    return pd.concat(
        [universe(prices, session, memberships) for session in sorted(sessions)], ignore_index=True
    )


def load_corporate_actions(source: PriceSource, sessions: Sequence[date]) -> pd.DataFrame:
    """Return the splits and dividends that take effect on `sessions`."""
    frame = source.load(min(sessions), max(sessions))
    return corporate_actions(frame.loc[frame["session"].isin(set(sessions))])


def _known_since(session: date) -> date:
    calendar = nyse()
    known = calendar.between(calendar.first, session)
    return known[max(0, len(known) - 1 - KNOWN_SESSIONS)]
