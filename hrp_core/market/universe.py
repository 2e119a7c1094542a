"""What may be traded on a session, and what happened to the shares: universe and corporate actions.

What belongs here: reading both off validated prices, and combining prices with membership. What does not:
files (`membership`, `actions`).
"""

from datetime import date

import numpy as np
import pandas as pd

from hrp_core.errors import NotReadyError
from hrp_core.market.membership import Memberships, departure

_PRICED = "priced"
UNIVERSE_COLUMNS = ("session", "symbol", "in_universe", "reason")
CORPORATE_ACTION_COLUMNS = ("session", "symbol", "kind", "factor", "amount", "effective_session")


def universe(prices: pd.DataFrame, session: date, memberships: Memberships | None = None) -> pd.DataFrame:
    """Return which names may be bought on `session`: members with a price on it.

    Args:
        prices: frame of `PriceSource.load`; rows after `session` are not looked at.
        session: decision session.
        memberships: point-in-time universe; None = every name with a price is a member.

    Returns:
        One row a symbol known up to `session`, by a price or a membership, sorted: session, symbol,
        in_universe (bool), reason. The reason of a name that has left states its removal policy
        (`removal_policy`).

    Raises:
        NotReadyError: no name has a price on `session`.
    """
    known = prices.loc[prices["session"] <= session]
    priced = known.loc[known["session"] == session, "symbol"].unique()
    if not len(priced):
        last = f"prices end on {known['session'].max()}" if len(known) else "no earlier price either"
        raise NotReadyError(
            f"no prices for session {session} ({last}): bring the source up to date, or name another one "
            "(HRP_PRICE_SOURCE), then run market_data_job"
        )
    names = set(known["symbol"].unique())
    symbols = np.array(sorted(names | set(memberships.known(session) if memberships else ())), dtype=object)
    member = np.isin(symbols, priced)
    reasons = np.where(member, _PRICED, "no price on this session").astype(object)
    if memberships is not None:
        for index, symbol in enumerate(symbols):
            stay = memberships.latest(symbol, session)
            if stay is None or not stay.covers(session):
                member[index] = False
                reasons[index] = departure(stay) if stay else "not in the universe file on this session"
            elif member[index]:
                reasons[index] = f"member since {stay.start}, priced"
    return pd.DataFrame(
        {"session": session, "symbol": symbols, "in_universe": member, "reason": reasons},
        columns=list(UNIVERSE_COLUMNS),
    )


def corporate_actions(prices: pd.DataFrame) -> pd.DataFrame:
    """Return the splits and dividends that stand in `prices` (none for the sample, which is adjusted).

    Args:
        prices: frame of `PriceSource.load`.

    Returns:
        One row an action, sorted by session, symbol and kind: session, symbol, kind (dividend | split),
        factor (new shares for one old; null for a dividend), amount (USD a share; null for a split),
        effective_session (the first one that trades without the dividend, or at the new number of shares).
    """
    frames = []
    for kind, column, none, target in (
        ("dividend", "dividend", 0.0, "amount"),
        ("split", "split_factor", 1.0, "factor"),
    ):
        rows = prices.loc[prices[column].notna() & (prices[column] != none), ["session", "symbol", column]]
        frame = rows.rename(columns={column: target}).assign(kind=kind, effective_session=rows["session"])
        frames.append(frame.reindex(columns=list(CORPORATE_ACTION_COLUMNS)))
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    actions = pd.concat(filled, ignore_index=True).astype({"factor": "float64", "amount": "float64"})
    return actions.sort_values(["session", "symbol", "kind"], ignore_index=True)
