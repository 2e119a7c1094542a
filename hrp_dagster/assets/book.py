"""The book: fills, positions and net asset value of a session.

What belongs here: what came of the orders. What does not: arithmetic (`hrp_core.ledger`).
"""

from collections.abc import Mapping
from datetime import date

import dagster as dg
import pandas as pd

from hrp_core.execution.book_fills import reconciled_fills
from hrp_core.execution.bookkeeping import kept_closes, past_navs, session_nav, session_positions
from hrp_core.execution.config import ClientRole
from hrp_core.execution.projections import project_book
from hrp_core.execution.session_reconciliation import session_reconciliation
from hrp_core.ledger.nav import MarkSource
from hrp_dagster.assets.session_asset import requested_session, session_asset
from hrp_dagster.metadata import numbers
from hrp_dagster.plots import embedded, nav_plot
from hrp_dagster.resources.ibkr import IBKRResource
from hrp_dagster.resources.platform import Platform

GROUP = "book"


@session_asset(
    group=GROUP, kinds={"python", "sqlite", "interactivebrokers"}, deps=["orders", "broker_account"]
)
def fills(
    context: dg.AssetExecutionContext, platform: Platform, ibkr: IBKRResource
) -> dg.Output[pd.DataFrame]:
    """Executions of the session's orders and crosses between strategies, a row a strategy.

    The broker is asked for the book session only; fills of earlier sessions come from the journal. Trades and
    live positions (executed_trades, live_positions, strategy_positions) are rewritten from the journal.
    """
    clock, settings = platform.clock(), platform.settings()
    session, journal = requested_session(context, clock), platform.journal()
    frame = reconciled_fills(
        settings,
        platform.store(),
        journal,
        lambda: ibkr.connect(settings, ClientRole.READER),
        session,
        clock.now(),
        run_id=context.run.run_id,
    )
    project_book(platform.store(), journal)
    executed = frame.loc[frame["order_ref"] != frame["exec_id"]]
    traded = (executed["shares"] * executed["price"]).sum() if len(executed) else 0
    return dg.Output(
        frame,
        metadata={
            "executions": int(executed["exec_id"].nunique()),
            "crosses": int(frame["exec_id"].nunique() - executed["exec_id"].nunique()),
            "traded_value": float(traded),
            "commissions_missing": int(frame["commission"].isna().sum()),
        },
    )


@session_asset(
    group=GROUP,
    kinds={"python", "interactivebrokers"},
    deps=["fills"],
    code_version="2",
)
def positions(
    context: dg.AssetExecutionContext, platform: Platform, ibkr: IBKRResource
) -> dg.Output[pd.DataFrame]:
    """A fold of every fill up to the execution session, at its official closes.

    A name without one keeps its last close, for ten sessions at most, and a check names it. Before the
    closes are stored all are valued, provisionally, at the broker's prices. The live positions are rewritten
    as well: their prices may have come after the fills.
    """
    clock, settings = platform.clock(), platform.settings()
    store, journal = platform.store(), platform.journal()
    session = requested_session(context, clock)
    frame = session_positions(
        settings, store, journal, lambda: ibkr.connect(settings, ClientRole.READER), session, clock.now()
    )
    project_book(store, journal, valued=frame)
    account = frame.loc[frame["strategy_id"] == ""]
    sources = account["mark_source"].value_counts()
    older = account.loc[account["mark_source"] == MarkSource.LAST_CLOSE.value, ["symbol", "mark_time"]]
    kept = {symbol: at.date() for symbol, at in older.itertuples(index=False)}
    return dg.Output(
        frame,
        metadata={
            "names": len(account),
            "market_value": float(account["market_value"].sum()) if len(account) else 0.0,
            # A value before the official closes has at least one price of the broker.
            "provisional": bool((account["mark_source"] == MarkSource.BROKER_MARK.value).any()),
            "marks": ", ".join(
                f"{count} at {str(source).replace('_', ' ')}" for source, count in sources.items()
            )
            or "nothing is held",
            **(
                {"mark_time": f"{account['mark_time'].max():%Y-%m-%d %H:%M} New York"} if len(account) else {}
            ),
            **_kept(kept),
        },
    )


@session_asset(group=GROUP, kinds={"python"}, deps=["positions"])
def nav(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pd.DataFrame]:
    """Our own arithmetic: opening cash, flows, fills, commissions, official closes; nothing of the broker.

    Before the official closes are stored the row is provisional, at the marks of the positions: it is there
    to be looked at, and nothing builds on it.
    """
    clock = platform.clock()
    session = requested_session(context, clock)
    frame = session_nav(platform.store(), platform.journal(), session, clock.now())
    row = frame.iloc[0]
    curve = [(past.valuation_session, past.nav) for past in past_navs(platform.store(), before=session)]
    curve.append((row["valuation_session"], row["nav"]))
    provisional = row["mark_source"] != MarkSource.OFFICIAL_CLOSE.value
    return dg.Output(
        frame,
        metadata={
            **numbers(
                nav=row["nav"],
                cash=row["cash"],
                gross_exposure=row["gross_exposure"],
                net_exposure=row["net_exposure"],
                daily_return=row["daily_return"],
                drawdown=row["drawdown"],
                turnover=row["turnover"],
            ),
            "provisional": provisional,
            "mark_source": row["mark_source"],
            "mark_time": f"{row['mark_time']:%Y-%m-%d %H:%M} New York",
            **_kept(kept_closes(platform.store(), session).get(session, {})),
            **embedded(
                "nav",
                nav_plot(pd.DataFrame(curve, columns=["valuation_session", "nav"]), provisional=provisional),
            ),
        },
    )


@session_asset(
    group=GROUP, kinds={"python", "sqlite", "interactivebrokers"}, deps=["positions", "broker_account"]
)
def reconciliation(
    context: dg.AssetExecutionContext, platform: Platform, ibkr: IBKRResource
) -> dg.Output[pd.DataFrame]:
    """Ledger against broker, to the share and the cent; the trade gate wants a run after each close.

    The broker is asked for the book session only; of earlier sessions the rows are those of their last run.
    """
    clock, settings = platform.clock(), platform.settings()
    session = requested_session(context, clock)
    found = session_reconciliation(
        settings,
        platform.store(),
        platform.journal(),
        lambda: ibkr.connect(settings, ClientRole.READER),
        session,
        clock.now(),
        run_id=context.run.run_id,
    )
    return dg.Output(found.rows, metadata={"status": found.status, "breaks": len(found.rows)})


def _kept(closes: Mapping[str, date]) -> dict[str, str]:
    """Return the entry that names what is valued at an earlier close, where there is any."""
    named = ", ".join(f"{symbol} (close of {day})" for symbol, day in closes.items())
    return {"without_a_close": named} if named else {}
