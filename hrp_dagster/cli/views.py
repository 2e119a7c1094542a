"""`hrp status | positions | trades | orders | nav`: what is stored, as tables or JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, cast

import pandas as pd
import typer

from hrp_core.errors import NotReadyError
from hrp_core.execution.bookkeeping import kept_closes
from hrp_core.execution.trading import plan_orders, session_orders
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.nav import MarkSource
from hrp_core.platform.status import read_status
from hrp_core.settings import Settings
from hrp_core.store import Store, read_table, table
from hrp_dagster.cli.context import (
    JsonOption,
    load_settings,
    money,
    out,
    parse_session,
    print_facts,
    print_json,
    print_table,
)

SessionOption = Annotated[
    str | None, typer.Option("--session", help="Decision session; default: the newest.")
]

Rows = list[dict[str, object]]


def status(as_json: JsonOption = False) -> None:
    """Show mode, account, clock, latch, the newest plan and NAV, and what happens next."""
    current = asdict(read_status(load_settings()))
    if as_json:
        print_json(current)
        return
    current["clock"] = None if current["clock"] is None else f"{current['clock']:%Y-%m-%d %H:%M} New York"
    current["dry_run"] = "yes" if current["dry_run"] else "no"
    current["orders"] = ", ".join(f"{count} {state}" for state, count in current["orders"].items())
    current["newest"] = _newest_first(current["newest"])
    if current["nav"] is not None:
        current["nav"] = f"{money(current['nav'])} USD"
    looked, at = current.pop("provisional_nav"), current.pop("provisional_at")
    following = current.pop("next_step")
    if at is not None:
        current["provisional_nav"] = f"{money(looked)} USD, at the broker's prices of {at:%Y-%m-%d %H:%M}"
    current["next_step"] = following
    print_facts(
        [
            (label.replace("_", " "), "-" if value in (None, "") else str(value))
            for label, value in current.items()
        ]
    )


def positions(session: SessionOption = None, as_json: JsonOption = False) -> None:
    """Show the account's positions after a session."""
    settings = load_settings()
    _show(position_rows(settings, session), as_json, print_positions)


def trades(
    session: SessionOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows shown.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show the newest fills first."""
    settings = load_settings()
    _show(trade_rows(settings, session, limit), as_json, print_trades)


def orders(session: SessionOption = None, as_json: JsonOption = False) -> None:
    """Show the orders of a session's plan with their state, from the journal.

    Without a session also those of other plans (a flatten, a single order, an earlier session) that may still
    trade.
    """
    settings = load_settings()
    journal = Journal(settings.journal_path)
    try:
        planned = journal.plan_facts()
        wanted = parse_session(session) if session else max(planned, default=None)
        frame = session_orders(journal, wanted) if wanted and wanted in planned else pd.DataFrame()
        rows = _records(frame)
        shown = {row["plan_id"] for row in rows}
        live = [] if session else [attempt.order_ref for attempt in journal.live_attempts()]
        others = [
            row
            for plan_id in dict.fromkeys(intent.plan_id for _, intent in journal.sent(live).values())
            if plan_id not in shown
            for row in _records(plan_orders(journal, journal.plan(plan_id)))
            if row["order_ref"] in live
        ]
        traded = [] if rows or others else [plan.session for plan in journal.plans() if plan.intents]
    finally:
        journal.close()
    if as_json:
        print_json(rows + others)
        return
    if rows or not others:
        _print_orders(rows)
    if others:
        _print_orders(others, "Other orders that may still trade")
    if rows or others:
        return
    if wanted not in planned:
        out.print("There is no plan yet." if wanted is None else f"{wanted} has no plan.")
        return
    out.print(f"The plan of {wanted} orders nothing: `hrp plan show --session {wanted}` says why.")
    if traded:
        out.print(f"The newest session with orders is {max(traded)} (--session {max(traded)}).")


def nav(as_json: JsonOption = False) -> None:
    """Show cash, market value and NAV per session."""
    settings = load_settings()
    _show(nav_rows(settings), as_json, lambda rows: print_nav(settings, rows))


def position_rows(settings: Settings, session: str | None = None) -> Rows:
    """Return the account's positions after a session (default: the newest), USD."""
    return [row for row in _rows(settings, "positions", session) if row["strategy_id"] == ""]


def trade_rows(settings: Settings, session: str | None = None, limit: int = 50) -> Rows:
    """Return fills, the newest first, USD."""
    frame = _read(settings, "fills", None if session is None else [parse_session(session)])
    newest = frame.sort_values(["executed_at", "exec_id"], ascending=False).head(limit)
    return _records(newest)


def nav_rows(settings: Settings) -> Rows:
    """Return the rows of the `nav` table, oldest first."""
    return _records(_read(settings, "nav", None))


def print_positions(rows: Rows) -> None:
    """Print positions as a table of at most 80 columns."""
    print_table(
        _positions_title(rows),
        [
            ("symbol", "Symbol"),
            ("shares", ">Shares"),
            ("entry", ">Entry"),
            ("mark", ">Mark"),
            ("value", ">Value"),
            ("pnl", ">Unrealised"),
        ],
        [
            {
                "symbol": row["symbol"],
                "shares": row["shares"],
                "entry": money(row["average_price"]),
                "mark": f"{money(row['mark'])}{' *' * _is_kept(row)}",
                "value": money(row["market_value"]),
                "pnl": money(row["unrealized_pnl"]),
            }
            for row in rows
        ],
    )
    for row in filter(_is_kept, rows):
        out.print(f"* {_kept_words(row, row['symbol'], format(row['mark_time'], '%Y-%m-%d'))}")


def _positions_title(rows: Rows) -> str:
    if not rows:
        return "Positions"
    asked = [row["mark_time"] for row in rows if row["mark_source"] == MarkSource.BROKER_MARK.value]
    if not asked:
        return f"Positions at the close of {rows[0]['valuation_session']} (USD)"
    return f"Positions at the broker's prices of {asked[0]:%Y-%m-%d %H:%M}, provisional (USD)"


def print_trades(rows: Rows) -> None:
    """Print fills as a table of at most 80 columns."""
    print_table(
        "Trades, newest first (USD)",
        [
            ("time", "Executed"),
            ("strategy_id", "Strategy"),
            ("symbol", "Symbol"),
            ("side", "Side"),
            ("shares", ">Shares"),
            ("price", ">Price"),
            ("commission", ">Comm."),
        ],
        [
            {
                **row,
                "time": f"{row['executed_at']:%Y-%m-%d %H:%M}",
                "price": money(row["price"]),
                "commission": money(row["commission"]),
            }
            for row in rows
        ],
    )


def print_nav(settings: Settings, rows: Rows) -> None:
    """Print NAV rows as a table of at most 80 columns, and the names that were valued at an earlier close."""
    print_table(
        "Net asset value (USD)",
        [
            ("session", "Decided"),
            ("valuation_session", "Valued"),
            ("cash", ">Cash"),
            ("value", ">Positions"),
            ("nav", ">NAV"),
            ("change", ">Return"),
        ],
        [
            {
                "session": row["session"],
                "valuation_session": f"{row['valuation_session']}{' *' * _is_provisional(row)}",
                "cash": money(row["cash"]),
                "value": money(row["market_value"]),
                "nav": money(row["nav"]),
                "change": _percent(row["daily_return"]),
            }
            for row in rows
        ],
    )
    for row in filter(_is_provisional, rows):
        out.print(f"* provisional, at the broker's prices of {row['mark_time']:%Y-%m-%d %H:%M} New York")
    kept = kept_closes(Store(settings.database_path)) if rows else {}
    for row in rows:
        for symbol, day in kept.get(cast(date, row["session"]), {}).items():
            out.print(_kept_words(row, symbol, str(day)))


def _print_orders(rows: Rows, title: str = "") -> None:
    print_table(
        title or ("Orders" if not rows else f"Orders of {rows[0]['plan_id']}"),
        [
            ("order_ref", "Reference"),
            ("symbol", "Symbol"),
            ("side", "Side"),
            ("quantity", ">Shares"),
            ("filled", ">Filled"),
            ("status", "Status"),
        ],
        rows,
    )


def _newest_first(newest: Mapping[str, date | None]) -> str:
    """Return assets by the session they end with, the newest first."""
    ends = sorted({session for session in newest.values() if session is not None}, reverse=True)
    return "\n".join(
        f"{end}: {', '.join(asset for asset, session in newest.items() if session == end)}" for end in ends
    )


def _is_kept(row: Mapping[str, Any]) -> bool:
    return row["mark_source"] == MarkSource.LAST_CLOSE.value


def _kept_words(row: Mapping[str, Any], symbol: object, day: str) -> str:
    return f"{symbol} has no price of {row['valuation_session']} and is valued at its close of {day}"


def _is_provisional(row: Mapping[str, Any]) -> bool:
    return row["mark_source"] != MarkSource.OFFICIAL_CLOSE.value


def _percent(value: object) -> str:
    return f"{value:+.2%}" if isinstance(value, float) and value == value else ""


def _show(rows: Rows, as_json: bool, print_rows: Callable[[Rows], None]) -> None:
    if as_json:
        print_json(rows)
    else:
        print_rows(rows)


def _rows(settings: Settings, name: str, session: str | None) -> Rows:
    """Return the rows of one session of a table; by default of the newest one stored."""
    if session is not None:
        return _records(_read(settings, name, [parse_session(session)]))
    frame = _read(settings, name, None)
    return _records(frame.loc[frame["session"] == frame["session"].max()] if len(frame) else frame)


def _read(settings: Settings, name: str, sessions: Sequence[date] | None) -> pd.DataFrame:
    """Return rows of a table; none when it was never written."""
    declared = table(name)
    try:
        return read_table(Store(settings.database_path), declared, sessions=sessions)
    except NotReadyError:
        return pd.DataFrame(columns=list(declared.column_names))


def _records(frame: pd.DataFrame) -> Rows:
    return [
        {str(key): None if value is None or value is pd.NaT else value for key, value in row.items()}
        for row in frame.to_dict(orient="records")
    ]
