"""The layout of the Trading page in Streamlit.

What belongs here: where things stand on the page. What does not: what they say (`tables`) and what the
buttons do (`actions`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import altair as alt
import pandas as pd
import streamlit as st

from hrp_core.dashboard import tables
from hrp_core.dashboard.actions import Level, Message, check_drift, sync_positions
from hrp_core.errors import HrpError
from hrp_core.features import FEATURES
from hrp_core.ledger.nav import official_rows
from hrp_core.ledger.types import LatchState
from hrp_core.platform import PlatformAPI

TRADES = 50
BEST = 5  # names a card shows
_ROW, _HEADER, _LONGEST = 26, 37, 560  # pixels
_TICKS = 6
_LOSS = "color: #b3261e"
_MESSAGE = "message"
_SHOW = {Level.DONE: st.success, Level.WARNING: st.warning, Level.ERROR: st.error}

# Streamlit spaces a page out for reading; this one is scanned.
STYLE = """<style>
.block-container {padding: 1.2rem 2rem 2rem 2rem; max-width: 1500px;}
[data-testid="stVerticalBlock"] {gap: 0.55rem;}
[data-testid="stMetricValue"] {font-size: 1.45rem; font-variant-numeric: tabular-nums;}
[data-testid="stMetricLabel"] p {font-size: 0.8rem;}
h1 {font-size: 1.35rem !important; padding: 0 !important;}
h3 {font-size: 1rem !important; padding: 0.4rem 0 0.2rem 0 !important;}
[data-testid="stMarkdownContainer"], [data-testid="stCaptionContainer"] {margin-bottom: 0 !important;}
[data-testid="stTable"] thead {display: none;}
[data-testid="stHeader"], [data-testid="stAppDeployButton"] {display: none;}
[data-testid="stTable"] td, [data-testid="stTable"] th {padding: 0.15rem 0.6rem; font-size: 0.83rem;}
[data-testid="stCaptionContainer"] p {margin: 0;}
</style>"""


def show(api: PlatformAPI) -> None:
    """Draw the whole page from what is stored now; a button pressed acts first."""
    title, sync, drift = st.columns([6, 1, 1], vertical_alignment="center")
    title.title("Trading", anchor=False)
    if sync.button("Sync positions", width="stretch", help="Ask the broker, and store what it says"):
        with st.spinner("Asking the broker"):
            st.session_state[_MESSAGE] = sync_positions(api)
    if drift.button("Run drift check", width="stretch", help="Check the models in production now"):
        with st.spinner("Checking the models in production"):
            st.session_state[_MESSAGE] = check_drift(api)
    message: Message | None = st.session_state.get(_MESSAGE)
    if message is not None:
        _SHOW[message.level](_plain(message.text))
    with _said():
        _latch(api)
    _figures(api)
    left, right = st.columns([5, 6], gap="medium")
    with left, _said():
        _state(api)
    with right, _said():
        _nav(api)
    with _said():
        _positions(api)
    with _said():
        _strategies(api)
    with _said():
        _trades(api)


def _latch(api: PlatformAPI) -> None:
    status = api.get_status()
    if status.latch != LatchState.ACTIVE.value:
        what = "only exits are sent" if status.latch == LatchState.REDUCING.value else "nothing is sent"
        why = f"{what} ({status.latch_reason})" if status.latch_reason else what
        st.error(_plain(f"Trading is {status.latch}: {why}. A person ends it with hrp resume --reason WHY"))


def _figures(api: PlatformAPI) -> None:
    value, pnl, held, cash = st.columns(4)
    with value, _said():
        st.metric("Portfolio value, USD", tables.figure(api.get_portfolio_value()))
        marked = api.get_status().newest["prices"]
        st.caption(f"at the official close of {marked}" if marked else "no prices are stored")
    with pnl, _said():
        positions = api.get_live_positions()
        found = tables.unrealized(positions)
        st.metric("Unrealised P&L, USD", tables.figure(found.total))
        missing = f"; no price for {', '.join(found.unpriced)}" if found.unpriced else ""
        prices = "nothing is held" if found.as_of is None else f"prices of {tables.moment_text(found.as_of)}"
        st.caption(prices + missing)
    with held, _said():
        st.metric("Open positions", len(api.get_live_positions()))
        st.caption("names")
    with cash, _said():
        st.metric("Cash, USD", tables.figure(api.get_cash()))
        st.caption("of the ledger")


def _state(api: PlatformAPI) -> None:
    st.subheader("State", anchor=False)
    rows = tables.state_table(api.get_status(), api.get_gate_verdict())
    frame = pd.DataFrame({"": [_plain(text) for _, text in rows]}, index=[label for label, _ in rows])
    st.table(frame)


def _nav(api: PlatformAPI) -> None:
    st.subheader("Net asset value, USD", anchor=False)
    every = api.get_nav()
    nav = official_rows(every)
    if len(every) and every.index[-1] not in nav.index:
        row = every.iloc[-1]
        st.caption(
            f"Provisional, at the broker's prices of {tables.moment_text(row['mark_time'])}: "
            f"{tables.figure(row['nav'])}{_change(row)}. The official value follows at 17:45 New York."
        )
    if nav.empty:
        st.caption("The first book writes the first value: book_job, 17:45 New York after the first orders.")
        return
    days = pd.to_datetime(nav["valuation_session"])
    frame = pd.DataFrame(
        {"session": days, "nav": nav["nav"].astype(float), "cash": nav["cash"].astype(float)}
    )
    ticks = [days.iloc[round(i * (len(days) - 1) / (_TICKS - 1))] for i in range(_TICKS)]
    marks = [alt.DateTime(year=day.year, month=day.month, date=day.day) for day in sorted(set(ticks))]
    chart = (
        alt.Chart(frame)
        .mark_line(point=len(frame) <= 2 * _TICKS, strokeWidth=1.5, color="#1f4e79")
        .encode(
            x=alt.X("session:T", title=None, axis=alt.Axis(format="%Y-%m-%d", values=marks, grid=False)),
            y=alt.Y("nav:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=",.0f")),
            tooltip=[
                alt.Tooltip("session:T", title="Close of", format="%Y-%m-%d"),
                alt.Tooltip("nav:Q", title="NAV", format=",.2f"),
                alt.Tooltip("cash:Q", title="Cash", format=",.2f"),
            ],
        )
        .properties(height=235)
    )
    st.altair_chart(chart, width="stretch")
    last = nav.iloc[-1]
    st.caption(
        f"Close of {last['valuation_session']}: {tables.figure(last['nav'])}{_change(last)}, drawdown "
        f"{last['drawdown']:.2%}, gross exposure {last['gross_exposure']:.1%}"
    )


def _change(row: "pd.Series[Any]") -> str:
    return "" if pd.isna(row["daily_return"]) else f", return {row['daily_return']:+.2%}"


def _positions(api: PlatformAPI) -> None:
    st.subheader("Positions, USD", anchor=False)
    positions = api.get_live_positions()
    if positions.empty:
        st.caption("Nothing is held.")
        return
    _table(tables.position_table(positions), tables.POSITION_FORMATS, ["Unrealised P&L", "Unrealised"])


def _strategies(api: PlatformAPI) -> None:
    st.subheader("Deployed strategies", anchor=False)
    strategies = api.get_deployed_strategies()
    if strategies.empty:
        st.caption("No strategy is deployed: set state = deployed in a file of strategies/.")
        return
    per_row = 3
    for start in range(0, len(strategies), per_row):
        cards = st.columns(per_row)
        for card, (_, row) in zip(cards, strategies.iloc[start : start + per_row].iterrows(), strict=False):
            with card, st.container(border=True), _said():
                _card(api, row)


def _card(api: PlatformAPI, row: "pd.Series[Any]") -> None:
    is_factor = row["model_name"] in FEATURES
    version = row["model_version"]
    report = None if is_factor or version is None else api.get_drift_report(row["model_name"], version)
    predictions = api.get_latest_predictions(row["strategy_id"])
    deployed = "with the code" if is_factor else tables.moment_text(row["deployed_at"])
    facts = {
        "State": f"{row['state']}, {row['capital_weight']:.0%} of the capital",
        "Model": row["model_name"],
        "Version": version or tables.NONE,
        "Deployed": deployed,
        "Drift": tables.drift_text(report, is_factor, version),
        "Scored": tables.NONE
        if predictions.empty
        else f"session {predictions['session'].iloc[0]}, {predictions['prediction'].notna().sum()} names, "
        f"version {predictions['model_version'].iloc[0]}",
    }
    st.markdown(f"**{_plain(row['name'])}** ({_plain(row['strategy_id'])})")
    st.table(pd.DataFrame({"": [_plain(text) for text in facts.values()]}, index=list(facts)))
    if predictions.empty:
        st.caption("No predictions are stored: predictions_job, 18:15 New York.")
    else:
        _table(tables.prediction_table(predictions, BEST), tables.PREDICTION_FORMATS)


def _trades(api: PlatformAPI) -> None:
    st.subheader(f"Last {TRADES} trades, USD, New York time", anchor=False)
    trades = api.get_executed_trades(limit=TRADES)
    if trades.empty:
        st.caption("Nothing has traded yet.")
        return
    _table(tables.trade_table(trades), tables.TRADE_FORMATS)


def _table(frame: pd.DataFrame, formats: dict[str, str], signed: list[str] | None = None) -> None:
    """Draw a table; losses of the columns `signed` are red, figures stand flush right."""
    styled = frame.style.format(cast(Any, formats), na_rep=tables.NONE)
    if signed:
        styled = styled.apply(_losses, subset=pd.Index(signed))
    height = min(_HEADER + _ROW * len(frame) + 4, _LONGEST)
    st.dataframe(styled, hide_index=True, width="stretch", row_height=_ROW, height=height)


def _losses(column: "pd.Series[Any]") -> list[str]:
    return [_LOSS if value < 0 else "" for value in column.astype(float)]


@contextmanager
def _said() -> Iterator[None]:
    """Show an error of the system where the part of the page would stand; the rest is drawn."""
    try:
        yield
    except HrpError as error:
        st.error(_plain(str(error)))


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is; two dollar signs would make a formula of what is between."""
    for sign in "\\$*_[]<>~":
        text = text.replace(sign, f"\\{sign}")
    return text
