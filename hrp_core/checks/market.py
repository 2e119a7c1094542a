"""Claims about market data and features: complete, fresh, and every large move explained.

What belongs here: judgements of universe, corporate_actions, prices and features. What does not: what a valid
value is when a source is read (`hrp_core.market.validate`).
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.checks.claims import Claim, Finding, Rows, each_session
from hrp_core.checks.expectations import import_expectations, matches_declaration
from hrp_core.market import adjusted_close, to_panel

# How far back a name's last close is looked for; and the largest plausible number of new shares for one old.
_LOOK_BACK = 5
_LARGEST_FACTOR = 100.0
# Fewer names than this say nothing about a whole delivery.
_FEW = 5
_EXACT = 1e-9


def enough_names(rows: Rows, session: date) -> Finding:
    """Judge that the universe has not shrunk: a delivery that lacks names makes it smaller."""
    members = _members(rows.at("universe", session))
    earlier = rows.before("universe", session)
    known = _members(earlier[1]) if earlier else members
    left = len(members & known) / len(known) if known else 0.0
    lost = pd.DataFrame({"symbol": sorted(known - members)})
    observed = f"{len(members)} names, {len(lost)} fewer of those of the session before"
    return Finding(bool(members) and left >= rows.limits.min_universe, observed, left, lost)


def actions_are_plausible(rows: Rows, session: date) -> Finding:
    """Judge that a split has a plausible factor and a dividend an amount."""
    actions = rows.at("corporate_actions", session)
    if actions.empty:
        return Finding(True, "no actions", 0.0)
    factor, amount = actions["factor"].to_numpy(dtype=float), actions["amount"].to_numpy(dtype=float)
    split = (actions["kind"] == "split").to_numpy()
    with np.errstate(invalid="ignore"):
        good = np.where(split, (factor >= 1 / _LARGEST_FACTOR) & (factor <= _LARGEST_FACTOR), amount > 0)
    bad = actions.loc[~good].drop(columns="session")
    return Finding(bad.empty, f"{len(actions)} actions, {len(bad)} implausible", float(len(bad)), bad)


def prices_are_complete(rows: Rows, session: date) -> Finding:
    """Judge that the names of the universe have a close, and that closes are not those of the day before."""
    members = rows.at("universe", session)
    if members.empty:
        return Finding(False, f"no universe of {session} is stored to compare with")
    closes = _closes(rows.at("prices", session))
    earlier = rows.before("prices", session)
    known = _closes(earlier[1]) if earlier else closes.iloc[:0]
    # A name that had a close a session ago and has none now is missing, in the universe or not.
    expected = _members(members) | (set(known.index) & set(members["symbol"]))
    missing = sorted(expected - set(closes.index))
    share = 1 - len(missing) / len(expected) if expected else 0.0
    both = closes.index.intersection(known.index)
    unchanged = float((closes[both] == known[both]).mean()) if len(both) >= _FEW else 0.0
    fresh = unchanged < rows.limits.max_unchanged
    observed = f"{share:.1%} of {len(expected)} expected names have a close"
    if not fresh:
        observed += f"; {unchanged:.0%} of the closes equal those of the session before: a stale delivery"
    offending = pd.DataFrame({"symbol": missing, "problem": "no close"})
    return Finding(share >= rows.limits.min_coverage and fresh, observed, share, offending)


def moves_are_explained(rows: Rows) -> dict[date, Finding]:
    """Judge that no adjusted close moves further in a session than names do without a corporate action."""
    found: dict[date, Finding] = {}
    moves = _moves(rows)
    limit = rows.limits.max_unexplained_return
    for session in rows.sessions:
        at = moves.loc[moves["session"] == session]
        wild = at.loc[~(at["adjusted_return"].abs() <= limit), _MOVE_COLUMNS]
        largest = float(at["adjusted_return"].abs().max()) if len(at) else 0.0
        found[session] = Finding(wild.empty, f"largest move {largest:.1%} of {len(at)} names", largest, wild)
    return found


def adjusted_prices_follow_the_actions(rows: Rows) -> dict[date, Finding]:
    """Judge that adjusted and raw closes differ by the stored corporate actions and by nothing else."""
    found: dict[date, Finding] = {}
    moves = _moves(rows)
    for session in rows.sessions:
        at = moves.loc[moves["session"] == session].set_index("symbol")
        stated = _stated_actions(rows.at("corporate_actions", session))
        factors = at[["split_factor", "dividend"]]
        told = stated.reindex(at.index).fillna({"split_factor": 1.0, "dividend": 0.0})
        gross = told["split_factor"] * (at["close"] + told["dividend"]) / at["previous_close"] - 1
        differs = (
            ~np.isclose(factors["split_factor"], told["split_factor"])
            | ~np.isclose(factors["dividend"], told["dividend"])
            | (np.abs(gross - at["adjusted_return"]) > _EXACT)
        )
        wrong = at.loc[differs].reset_index()[_MOVE_COLUMNS]
        observed = f"{len(stated)} names with an action, {len(wrong)} adjusted otherwise"
        found[session] = Finding(wrong.empty, observed, float(len(wrong)), wrong)
    return found


def features_are_complete(rows: Rows, session: date) -> Finding:
    """Judge that every priced name has features, and that names of the session before have no fewer now."""
    features, earlier = rows.at("features", session), rows.before("features", session)
    priced = set(_closes(rows.at("prices", session)).index)
    if not priced:
        return Finding(False, f"no prices of {session} are stored to compare with")
    known = set(features["symbol"]) if len(features) else set()
    missing = sorted(priced - known)
    share = 1 - len(missing) / len(priced)
    # A new listing has no history and is no loss.
    filled = _filled(features, set(earlier[1]["symbol"]) if earlier else known)
    before = _filled(earlier[1], known) if earlier else filled
    observed = f"{share:.1%} of {len(priced)} priced names, {filled:.1%} of the values"
    complete = share >= rows.limits.min_coverage and filled >= before - (1 - rows.limits.min_coverage)
    if filled < before:
        observed += f" ({before:.1%} a session before)"
    return Finding(complete, observed, share, pd.DataFrame({"symbol": missing, "problem": "no features"}))


_MOVE_COLUMNS = [
    *("symbol", "previous_close", "close", "split_factor", "dividend", "raw_return", "adjusted_return"),
]


def _moves(rows: Rows) -> pd.DataFrame:
    """Return one row a session judged and name with a close before, with raw and adjusted return."""
    prices = rows.all("prices")
    if prices.empty:
        return pd.DataFrame(columns=["session", *_MOVE_COLUMNS])
    panel = to_panel(prices, "close", "split_factor", "dividend", end=rows.sessions[-1])
    close, adjusted = panel.close, adjusted_close(panel, dividends=True)
    before, adjusted_before = _last_known(close), _last_known(adjusted)
    wanted = np.isin(np.array(panel.sessions, dtype=object), np.array(rows.sessions, dtype=object))
    day, name = np.nonzero(wanted[:, None] & np.isfinite(close) & np.isfinite(before))
    return pd.DataFrame(
        {
            "session": np.array(panel.sessions, dtype=object)[day],
            "symbol": np.array(panel.symbols, dtype=object)[name],
            "previous_close": before[day, name],
            "close": close[day, name],
            "split_factor": np.nan_to_num(panel.field("split_factor")[day, name], nan=1.0),
            "dividend": np.nan_to_num(panel.field("dividend")[day, name], nan=0.0),
            "raw_return": close[day, name] / before[day, name] - 1,
            "adjusted_return": adjusted[day, name] / adjusted_before[day, name] - 1,
        }
    )


def _last_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each row the newest finite value of the rows before it, shape (T, n)."""
    return pd.DataFrame(values).ffill().shift(1).to_numpy(dtype=np.float64)


def _stated_actions(actions: pd.DataFrame) -> pd.DataFrame:
    if actions.empty:
        return pd.DataFrame(columns=["split_factor", "dividend"], dtype=float)
    return actions.groupby("symbol").agg(
        split_factor=("factor", lambda values: values.prod(skipna=True)),
        dividend=("amount", lambda values: values.sum(skipna=True)),
    )


def _members(universe: pd.DataFrame) -> set[str]:
    return set(universe.loc[universe["in_universe"], "symbol"]) if len(universe) else set()


def _closes(prices: pd.DataFrame) -> pd.Series:
    return prices.set_index("symbol")["close"] if len(prices) else pd.Series(dtype=float)


def _filled(features: pd.DataFrame, names: set[str]) -> float:
    if features.empty:
        return 0.0
    values = features.loc[features["symbol"].isin(names)].drop(columns=["session", "symbol"])
    return float(values.notna().to_numpy().mean()) if values.size else 0.0


CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "universe": (
        Claim(
            "universe",
            "universe_has_not_shrunk",
            "Names in the universe against those of the session before.",
            lambda limits: f"at least {limits.min_universe:.0%} of the names of the session before",
            each_session(enough_names),
            reads=(("universe", _LOOK_BACK),),
            blocking=True,
        ),
    ),
    "corporate_actions": (
        Claim(
            "corporate_actions",
            "actions_are_plausible",
            "A split has a factor, a dividend an amount, both of a plausible size.",
            lambda _: f"factor within 1/{_LARGEST_FACTOR:g} to {_LARGEST_FACTOR:g}, amount above 0",
            each_session(actions_are_plausible),
            reads=(("corporate_actions", 0),),
        ),
    ),
    "prices": (
        Claim(
            "prices",
            "prices_match_their_schema",
            "Keys, ranges and required values of every row (Great Expectations).",
            lambda _: "no value outside its declaration",
            matches_declaration("prices"),
            reads=(("prices", 0),),
            blocking=True,
            imports=import_expectations,
        ),
        Claim(
            "prices",
            "prices_are_complete_and_fresh",
            "Names with a close against the universe, and closes against those of the session before.",
            lambda limits: (
                f"at least {limits.min_coverage:.0%} of the names; fewer than {limits.max_unchanged:.0%} of "
                "the closes unchanged"
            ),
            each_session(prices_are_complete),
            reads=(("prices", _LOOK_BACK), ("universe", 0)),
            blocking=True,
        ),
        Claim(
            "prices",
            "moves_are_explained",
            "Adjusted returns: a move beyond the limit needs a corporate action. When it is real, raise "
            "HRP_MAX_UNEXPLAINED_RETURN for the day.",
            lambda limits: f"at most {limits.max_unexplained_return:.0%} either way",
            moves_are_explained,
            reads=(("prices", _LOOK_BACK),),
            blocking=True,
        ),
        Claim(
            "prices",
            "adjusted_prices_follow_the_actions",
            "Adjusted against raw closes, and both against the table of corporate actions.",
            lambda _: "equal to the stated splits and dividends",
            adjusted_prices_follow_the_actions,
            reads=(("prices", _LOOK_BACK), ("corporate_actions", 0)),
            blocking=True,
        ),
    ),
    "features": (
        Claim(
            "features",
            "features_match_their_schema",
            "Keys and ranges of every row (Great Expectations).",
            lambda _: "no value outside its declaration",
            matches_declaration("features"),
            reads=(("features", 0),),
            blocking=True,
            imports=import_expectations,
        ),
        Claim(
            "features",
            "features_are_complete",
            "Names with features against names with a price, and values against the session before.",
            lambda limits: f"at least {limits.min_coverage:.0%} of the priced names",
            each_session(features_are_complete),
            reads=(("features", 1), ("prices", 0)),
            blocking=True,
        ),
    ),
}
