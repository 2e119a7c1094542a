"""Features of stored prices: the step between the two tables.

What belongs here: reading the window of prices that a range of sessions needs. What does not: formulas
(`registry`) and array work (`compute`).
"""

from datetime import date

import pandas as pd

from hrp_core.errors import NotReadyError
from hrp_core.features.compute import features_frame, window_start
from hrp_core.features.registry import FEATURES, INPUT_FIELDS
from hrp_core.market import to_panel
from hrp_core.store import Store, read_table, table

_COLUMNS = ["session", "symbol", *INPUT_FIELDS]


def stored_features(store: Store, start: date, end: date) -> pd.DataFrame:
    """Return the features of the sessions from `start` to `end`, both included, from the stored prices.

    Returns:
        As `features_frame`: session, symbol, one column a feature.

    Raises:
        NotReadyError: prices of the last session are not stored; the message names the job that loads them.
    """
    prices = read_table(
        store,
        table("prices"),
        start=window_start(start),
        end=end,
        columns=_COLUMNS,
    )
    if prices.empty or prices["session"].max() < end:
        raise NotReadyError(
            f"prices of session {end} are not stored; run market_data_job for it (and history_job once, "
            "for the look-back)"
        )
    panel = to_panel(prices, *INPUT_FIELDS, end=end)
    return features_frame(panel, max(start, panel.sessions[0]), end)


def history_features(store: Store, before: date) -> pd.DataFrame:
    """Return the features of all stored sessions before `before`; empty when there are none."""
    prices = read_table(store, table("prices"), columns=_COLUMNS)
    panel = to_panel(prices.loc[prices["session"] < before], *INPUT_FIELDS)
    if not panel.sessions:
        return pd.DataFrame(columns=["session", "symbol", *FEATURES])
    return features_frame(panel, panel.sessions[0], panel.sessions[-1])
