"""Claims about orders and the book: what was ordered, what was filled and what is held fit together.

What belongs here: judgements of the projections against each other. None of them blocks: the book is written
whatever it says, and whether trading goes on is decided by the reconciliation with the broker.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pandas as pd

from hrp_core.calendar import nyse
from hrp_core.checks.claims import Claim, Finding, Rows, Severity, each_session
from hrp_core.ledger.nav import MarkSource
from hrp_core.ledger.splits import split_ratio, split_shares

# Sessions back to the last book; a longer gap is judged as a new beginning.
_LOOK_BACK = 20
_UNSENT = ("pending", "sent")
_DOUBTFUL = ("unknown",)
# Each amount is rounded to ten-thousandths of a dollar.
_ROUNDING = Decimal("0.0001")


def orders_are_settled_or_working(rows: Rows, session: date) -> Finding:
    """Judge that every order has a known fate and is filled within its quantity."""
    orders = rows.at("orders", session)
    if orders.empty:
        return Finding(True, "no orders", 0.0)
    wrong = _DOUBTFUL if rows.limits.dry_run else (*_UNSENT, *_DOUBTFUL)
    bad = orders.loc[orders["status"].isin(wrong) | (orders["filled"] > orders["quantity"])]
    shown = bad[["order_ref", "symbol", "side", "quantity", "filled", "status", "reason"]]
    counts = ", ".join(f"{count} {status}" for status, count in orders["status"].value_counts().items())
    one_plan = orders["plan_id"].nunique() == 1
    return Finding(bad.empty and one_plan, f"{len(orders)} orders: {counts}", float(len(bad)), shown)


def fills_match_their_orders(rows: Rows, session: date) -> Finding:
    """Judge that fills are of an order's name and side and never more than it asked for."""
    fills, orders = rows.at("fills", session), rows.at("orders", session)
    if fills.empty:
        return Finding(True, "no fills", 0.0)
    ours = fills.loc[fills["intent_id"].notna()]
    known = (
        orders.set_index("intent_id")[["symbol", "side", "quantity"]]
        if len(orders)
        else pd.DataFrame(columns=["symbol", "side", "quantity"])
    )
    by_intent = ours.groupby("intent_id").agg(
        symbol=("symbol", "first"), side=("side", "first"), shares=("shares", "sum")
    )
    joined = by_intent.join(known, rsuffix="_ordered")
    good = (
        joined["symbol"].eq(joined["symbol_ordered"])
        & joined["side"].eq(joined["side_ordered"])
        & (joined["shares"] <= joined["quantity"].fillna(0))
    )
    bad = joined.loc[~good].reset_index()
    elsewhere = fills.loc[fills["intent_id"].isna(), "exec_id"].nunique()
    observed = f"{fills['exec_id'].nunique()} executions of {len(by_intent)} orders, {elsewhere} of others"
    return Finding(bad.empty, observed, float(len(bad)), bad)


def positions_are_the_previous_ones_plus_fills(rows: Rows, session: date) -> Finding:
    """Judge that shares changed by fills and splits since, and that the strategies' sum to the account's.

    A split that the ledger does not have yet is between the ledger and the broker.
    """
    positions = rows.at("positions", session)
    held = _shares(positions)
    account, strategies = held.get("", {}), _summed(held)
    earlier = rows.before("positions", session)
    problems = [
        {"symbol": symbol, "account": account.get(symbol, 0), "strategies": strategies.get(symbol, 0)}
        for symbol in sorted({*account, *strategies})
        if account.get(symbol, 0) != strategies.get(symbol, 0)
    ]
    if earlier is None:
        observed = f"{len(account)} names; no earlier positions within {_LOOK_BACK} sessions"
        return Finding(not problems, observed, float(len(problems)), pd.DataFrame(problems))
    before = _shares(earlier[1]).get("", {})
    traded: dict[str, int] = {}
    expected = dict(before)
    for day in nyse().between(nyse().next(earlier[0]), session):
        for symbol, ratio in _splits(rows, nyse().next(day)):
            expected[symbol] = split_shares(expected.get(symbol, 0), ratio)
        fills = rows.at("fills", day)
        if fills.empty:
            continue
        signed = fills["shares"].where(fills["side"] == "buy", -fills["shares"])
        for symbol, shares in signed.groupby(fills["symbol"]).sum().items():
            traded[str(symbol)] = traded.get(str(symbol), 0) + int(shares)
            expected[str(symbol)] = expected.get(str(symbol), 0) + int(shares)
    problems += [
        {"symbol": name, "before": before.get(name, 0), "traded": traded.get(name, 0), "account": now}
        for name in sorted({*account, *expected})
        if (now := account.get(name, 0))
        not in (expected.get(name, 0), before.get(name, 0) + traded.get(name, 0))
    ]
    observed = f"{len(account)} names, {len(problems)} that differ from those of {earlier[0]} plus fills"
    return Finding(not problems, observed, float(len(problems)), pd.DataFrame(problems))


def positions_are_at_their_close(rows: Rows, session: date) -> Finding:
    """Judge that every name held was valued at a close of the execution session.

    One that was not (halted, suspended, delisted) keeps its last close for some sessions only, and then the
    book stays open. Provisional positions have no such close yet.
    """
    positions = rows.at("positions", session)
    if positions.empty:
        return Finding(True, "nothing is held", 0.0)
    account = positions.loc[positions["strategy_id"] == ""]
    if (account["mark_source"] == MarkSource.BROKER_MARK.value).any():
        return Finding(True, f"{len(account)} names, provisional at the broker's prices", 0.0)
    kept = account.loc[account["mark_source"] == MarkSource.LAST_CLOSE.value]
    told = ", ".join(
        f"{symbol} at its close of {at:%Y-%m-%d}"
        for symbol, at in kept[["symbol", "mark_time"]].itertuples(index=False)
    )
    observed = f"{len(account)} names, {told or 'all at the close'}"
    shown = kept[["symbol", "shares", "mark", "market_value", "mark_time"]]
    return Finding(kept.empty, observed, float(len(kept)), shown)


def nav_is_continuous(rows: Rows, session: date) -> Finding:
    """Judge that the NAV is cash and positions, and moved no further than a portfolio does in a session."""
    frame = rows.at("nav", session)
    if frame.empty:
        return Finding(False, "no NAV")
    row = frame.iloc[0]
    positions = rows.at("positions", session)
    account = positions.loc[positions["strategy_id"] == "", "market_value"] if len(positions) else []
    value = sum(account, Decimal(0))
    adds_up = row["nav"] == row["cash"] + row["market_value"]
    marked = abs(value - row["market_value"]) <= _ROUNDING * (len(account) + 1)
    moved = float(row["daily_return"]) if not pd.isna(row["daily_return"]) else 0.0
    calm = abs(moved) <= rows.limits.max_daily_return
    observed = f"NAV {row['nav']} USD, {moved:+.2%}"
    if not adds_up or not marked:
        observed += f"; cash {row['cash']} and positions {value} do not add up to it"
    bad = frame[["nav", "cash", "market_value", "flows", "daily_return"]]
    passed = adds_up and marked and calm
    return Finding(bool(passed), observed, abs(moved), bad.iloc[:0] if passed else bad)


def ledger_and_broker_agree(rows: Rows, session: date) -> Finding:
    """Judge that the newest reconciliation of the session found no break."""
    breaks = rows.at("reconciliation", session)
    shown = breaks[["cause", "symbol", "message"]] if len(breaks) else breaks
    return Finding(breaks.empty, f"{len(breaks)} breaks", float(len(breaks)), shown)


def every_fill_is_measured(rows: Rows, session: date) -> Finding:
    """Judge that the fills that were measured are those that are stored, at their price."""
    fills, measured = rows.at("fills", session), rows.at("execution_quality", session)
    stored, known = _traded(fills), _traded(measured)
    differing = sorted({key[:2] for key in stored ^ known})
    observed = f"{len(measured)} of {len(fills)} fills, {len(differing)} that differ"
    bad = pd.DataFrame(differing, columns=["exec_id", "strategy_id"])
    return Finding(not differing, observed, float(len(differing)), bad)


def _traded(rows: pd.DataFrame) -> set[tuple[str, str, int, Decimal]]:
    if rows.empty:
        return set()
    columns = ("exec_id", "strategy_id", "shares", "price")
    return set(zip(*(rows[name].tolist() for name in columns), strict=True))


def _splits(rows: Rows, executed: date) -> list[tuple[str, Fraction]]:
    """Return new shares for one old one by name, of the splits that take effect in an execution session."""
    actions = rows.at("corporate_actions", executed)
    if actions.empty:
        return []
    splits = actions.loc[(actions["effective_session"] == executed) & actions["factor"].notna()]
    return [
        (str(symbol), split_ratio(factor))
        for symbol, factor in splits[["symbol", "factor"]].itertuples(index=False)
    ]


def _shares(positions: pd.DataFrame) -> dict[str, dict[str, int]]:
    held: dict[str, dict[str, int]] = {}
    if len(positions):
        for strategy_id, symbol, shares in positions[["strategy_id", "symbol", "shares"]].itertuples(
            index=False
        ):
            held.setdefault(str(strategy_id), {})[str(symbol)] = int(shares)
    return held


def _summed(held: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for strategy_id, shares in held.items():
        for symbol, count in shares.items() if strategy_id else ():
            total[symbol] = total.get(symbol, 0) + count
    return total


CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "orders": (
        Claim(
            "orders",
            "orders_are_settled_or_working",
            "State of every order of the plan: known at the broker, or ended, within its quantity.",
            lambda _: "none pending, unanswered or unknown",
            each_session(orders_are_settled_or_working),
            reads=(("orders", 0),),
            severity=Severity.WARN,
        ),
    ),
    "fills": (
        Claim(
            "fills",
            "fills_match_their_orders",
            "Name, side and shares of the fills against the orders they fill.",
            lambda _: "every fill within its order",
            each_session(fills_match_their_orders),
            reads=(("fills", 0), ("orders", 0)),
        ),
    ),
    "positions": (
        Claim(
            "positions",
            "positions_are_the_previous_ones_plus_fills",
            "Shares by name against those of the last book and the stored fills and splits since; and the "
            "strategies' shares against the account's.",
            lambda _: "equal to the share",
            each_session(positions_are_the_previous_ones_plus_fills),
            reads=(("positions", _LOOK_BACK), ("fills", _LOOK_BACK), ("corporate_actions", _LOOK_BACK)),
            reads_next=("corporate_actions",),
        ),
        Claim(
            "positions",
            "positions_are_at_their_close",
            "Names valued at an earlier close than that of the session: halted all day, suspended or "
            "delisted. Look up what became of each; after ten sessions without a price the book stays open.",
            lambda _: "every name has a close of the session",
            each_session(positions_are_at_their_close),
            reads=(("positions", 0),),
            severity=Severity.WARN,
        ),
    ),
    "nav": (
        Claim(
            "nav",
            "nav_is_continuous",
            "NAV against cash and positions, and its return net of flows.",
            lambda limits: f"adds up to the cent; at most {limits.max_daily_return:.0%} either way",
            each_session(nav_is_continuous),
            reads=(("nav", 0), ("positions", 0)),
            severity=Severity.WARN,
        ),
    ),
    "reconciliation": (
        Claim(
            "reconciliation",
            "ledger_and_broker_agree",
            "Breaks of the newest reconciliation of the session.",
            lambda _: "no break",
            each_session(ledger_and_broker_agree),
            reads=(("reconciliation", 0),),
            severity=Severity.WARN,
        ),
    ),
    "execution_quality": (
        Claim(
            "execution_quality",
            "every_fill_is_measured",
            "Executions, shares and prices measured against the stored fills.",
            lambda _: "every fill, at its price",
            each_session(every_fill_is_measured),
            reads=(("execution_quality", 0), ("fills", 0)),
            severity=Severity.WARN,
        ),
    ),
}
