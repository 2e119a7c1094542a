"""The rows of the Trading page: which columns are shown, in which order, and how figures read.

What belongs here: choosing and formatting, without Streamlit. What does not: computing anything, but sums and
counts of what is shown.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import pandas as pd

from hrp_core.calendar import NEW_YORK
from hrp_core.models.drift_checks import DriftReport, DriftStatus
from hrp_core.platform.status import Status

NONE = "–"
SHARES, MONEY, PRICE, PERCENT, SCORE, RANK = "{:,.0f}", "{:,.2f}", "{:,.4f}", "{:+.2%}", "{:+.4f}", "{:.0f}"
POSITION_FORMATS = {
    "Shares": SHARES,
    "Entry": PRICE,
    "Price": PRICE,
    "Value": MONEY,
    "Cost basis": MONEY,
    "Unrealised P&L": MONEY,
    "Unrealised": PERCENT,
}
TRADE_FORMATS = {"Shares": SHARES, "Price": PRICE, "Value": MONEY, "Commission": MONEY}
PREDICTION_FORMATS = {"Rank": RANK, "Score": SCORE}


@dataclass(frozen=True, slots=True)
class Unrealized:
    """Sum of the unrealised P&L of the names that have a price.

    Attributes:
        total: USD; None when names are held and none has a price.
        unpriced: names without a price, which the sum leaves out.
        as_of: moment of the newest mark; None when nothing is held.
    """

    total: Decimal | None
    unpriced: tuple[str, ...]
    as_of: datetime | None


def unrealized(positions: pd.DataFrame) -> Unrealized:
    """Return the unrealised P&L over the rows of `PlatformAPI.get_live_positions`."""
    if positions.empty:
        return Unrealized(Decimal(0), (), None)
    priced = positions.loc[positions["unrealized_pnl"].notna()]
    unpriced = tuple(sorted(set(positions["symbol"]) - set(priced["symbol"])))
    total = None if priced.empty else sum(priced["unrealized_pnl"], Decimal(0))
    return Unrealized(total, unpriced, positions["updated_at"].max().to_pydatetime())


def position_table(positions: pd.DataFrame) -> pd.DataFrame:
    """Return the positions as shown, by symbol; USD."""
    columns = {
        "symbol": "Symbol",
        "quantity": "Shares",
        "entry_price": "Entry",
        "current_price": "Price",
        "market_value": "Value",
        "cost_basis": "Cost basis",
        "unrealized_pnl": "Unrealised P&L",
        "unrealized_pnl_pct": "Unrealised",
        "hypothesis_id": "Strategy",
    }
    return _shown(positions.sort_values("symbol"), columns, POSITION_FORMATS)


def trade_table(trades: pd.DataFrame) -> pd.DataFrame:
    """Return trades as shown, in the order given; USD, New York time."""
    columns = {
        "filled_at": "Executed",
        "symbol": "Symbol",
        "side": "Side",
        "filled_quantity": "Shares",
        "filled_price": "Price",
        "commission": "Commission",
        "order_type": "Order type",
        "status": "Order",
        "hypothesis_id": "Strategy",
        "order_id": "Reference",
    }
    frame = _shown(trades, columns, TRADE_FORMATS)
    frame.insert(5, "Value", frame["Shares"] * frame["Price"])
    frame["Executed"] = [NONE if pd.isna(moment) else _moment(moment) for moment in trades["filled_at"]]
    return frame


def prediction_table(predictions: pd.DataFrame, rows: int) -> pd.DataFrame:
    """Return the best ranked names of a strategy, at most `rows`."""
    scored = predictions.loc[predictions["prediction"].notna()].head(rows)
    return _shown(scored, {"rank": "Rank", "symbol": "Symbol", "prediction": "Score"}, PREDICTION_FORMATS)


def state_table(status: Status, verdict: pd.DataFrame) -> list[tuple[str, str]]:
    """Return label and text of what an operator looks at first.

    Args:
        status: of the installation.
        verdict: newest verdict of the trade gate, one row or none.
    """
    latch = status.latch.upper() + (f": {status.latch_reason}" if status.latch_reason else "")
    orders = ", ".join(f"{count} {state}" for state, count in sorted(status.orders.items()))
    unknown = f"{status.unknown_orders} of unknown fate" if status.unknown_orders else "none of unknown fate"
    plan = NONE if status.plan is None else f"{status.plan}, {status.plan_status}"
    return [
        ("Mode", status.mode + (", dry run" if status.dry_run else "")),
        ("Account", status.account or NONE),
        ("Clock", NONE if status.clock is None else f"{_moment(status.clock)} New York"),
        ("Sessions", _sessions(status.decision_session, status.execution_session)),
        ("Latch", latch),
        ("Trade gate", gate_text(verdict)),
        ("Plan", plan),
        ("Its orders", f"{orders or 'none'}; {unknown}"),
        ("Next", status.next_step),
    ]


def gate_text(verdict: pd.DataFrame) -> str:
    """Return the newest verdict of the trade gate in one line, its objections included."""
    if verdict.empty:
        return "no verdict yet"
    row = verdict.iloc[0]
    reasons: Sequence[Mapping[str, str]] = json.loads(row["reasons"])
    why = "; ".join(f"{item['code']} ({item['message']})" for item in reasons)
    line = f"{row['verdict'].upper()} of session {row['session']}, judged {_moment(row['judged_at'])}"
    return f"{line}: {why}" if why else line


def drift_text(report: DriftReport | None, is_factor: bool, version: str | None) -> str:
    """Return the drift status of a strategy's model in one line."""
    if is_factor:
        return "not checked: a factor is not trained"
    if version is None:
        return "no version in production"
    if report is None:
        return "never checked"
    drifted = [check.subject for check in report.checks if check.status is DriftStatus.DRIFT]
    line = f"{report.status.value}, session {report.session}, {len(report.checks)} checks"
    return f"{line}, drift in {', '.join(drifted)}" if drifted else line


def figure(amount: Decimal | None) -> str:
    """Return an amount of USD with two places and separators; a dash for None."""
    return NONE if amount is None else f"{amount:,.2f}"


def moment_text(moment: datetime | None) -> str:
    """Return a moment in New York time to the minute; a dash for None."""
    return NONE if moment is None or pd.isna(moment) else _moment(moment)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"


def _sessions(decided: date | None, executed: date | None) -> str:
    return NONE if decided is None else f"decision {decided}, execution {executed}"


def _shown(frame: pd.DataFrame, columns: Mapping[str, str], formats: Mapping[str, str]) -> pd.DataFrame:
    """Return `columns` under their headings; figures as floats, which only a screen may have of money."""
    shown = frame[list(columns)].rename(columns=dict(columns)).reset_index(drop=True)
    figures = [name for name in formats if name in shown.columns]
    words = [name for name in shown.columns if name not in figures]
    shown[figures] = shown[figures].astype(float)
    shown[words] = shown[words].astype(object).where(shown[words].notna(), "")
    return shown
