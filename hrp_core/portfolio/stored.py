"""The stored inputs of a decision, as the values that `decide` takes, and its results as rows.

What belongs here: reading and shaping. What does not: any rule (`signals`, `decide`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.calendar import nyse
from hrp_core.errors import NotReadyError
from hrp_core.market import Panel, RemovalPolicy, removal_policy, to_panel
from hrp_core.models.registered import score_model
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.scoring import ScoringResult, score_strategies
from hrp_core.portfolio.signals import strategy_signals
from hrp_core.portfolio.types import Plan, SessionPanel, Strategy, StrategySignals
from hrp_core.store import Store, read_table, table

_LAST_PRICE_SESSIONS = 252
_VOLUME_SESSIONS = 20
_SIGNAL_COLUMNS = ("strategy_id", "symbol", "signal", "prediction", "method")


def score_session(
    store: Store, strategies: Sequence[Strategy], session: date, registry: ModelRegistry | None = None
) -> ScoringResult:
    """Score the universe of one session for every strategy, from the stored features.

    Names outside the universe are listed without a score: what may not be bought is not ranked. Those whose
    removal policy is no-buy are scored all the same, so that a score can sell what is held of them.

    Args:
        store: holds universe and features.
        strategies: deployed and paused ones.
        session: decision session D.
        registry: holds the trained models; None where only features score.

    Raises:
        NotReadyError: universe or features of the session are not stored.
    """
    with store.reading():
        members = _stored(store, "universe", session)
        features = _stored(store, "features", session)
    known = members[["symbol", "in_universe"]].merge(features, on="symbol", how="left")
    columns = [name for name in features.columns if name not in ("session", "symbol")]
    scored = known["in_universe"] | known["symbol"].isin(sell_only(members["symbol"], members["reason"]))
    known.loc[~scored, columns] = np.nan
    registered = (
        None
        if registry is None
        else lambda strategy_id, model, rows: score_model(strategy_id, model, rows, session, registry)
    )
    models = {strategy.strategy_id: strategy.model for strategy in strategies}
    return score_strategies(models, known, registered)


def signals_from_predictions(
    strategies: Sequence[Strategy],
    predictions: pd.DataFrame,
    holdings: Mapping[str, Mapping[str, int]] | None = None,
) -> list[StrategySignals]:
    """Return the signals of every strategy that has predictions, in the order of `strategies`.

    Args:
        strategies: deployed and paused ones.
        predictions: columns strategy_id, symbol, prediction of one session.
        holdings: for rules that remember: by strategy, the names held and for how many sessions.
    """
    groups = {str(key): rows for key, rows in predictions.groupby("strategy_id")}
    return [
        strategy_signals(
            strategy,
            rows["symbol"].tolist(),
            rows["prediction"].to_numpy(dtype=np.float64, na_value=np.nan),
            (holdings or {}).get(strategy.strategy_id),
        )
        for strategy in strategies
        if (rows := groups.get(strategy.strategy_id)) is not None
    ]


def session_signals(store: Store, strategies: Sequence[Strategy], session: date) -> list[StrategySignals]:
    """Return the signals that the stored predictions of a session give."""
    predictions = _stored(store, "predictions", session)
    holdings = {
        strategy.strategy_id: holding_ages(_signal_history(store, strategy, session))
        for strategy in strategies
        if strategy.method == "topk_dropout"
    }
    return signals_from_predictions(strategies, predictions, holdings)


def signals_frame(signals: Iterable[StrategySignals], strategies: Iterable[Strategy]) -> pd.DataFrame:
    """Return signals as rows of the `signals` table, without the session."""
    methods = {strategy.strategy_id: strategy.method for strategy in strategies}
    frames = [
        pd.DataFrame(
            {
                "strategy_id": each.strategy_id,
                "symbol": list(each.symbols),
                "signal": each.signal,
                "prediction": each.prediction,
                "method": methods[each.strategy_id],
            }
        )
        for each in signals
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(_SIGNAL_COLUMNS))


def read_signals(store: Store, session: date) -> list[StrategySignals]:
    """Return the stored signals of a session.

    Raises:
        NotReadyError: none are stored.
    """
    frame = _stored(store, "signals", session)
    return [
        StrategySignals(
            strategy_id=str(strategy_id),
            symbols=tuple(rows["symbol"]),
            prediction=rows["prediction"].to_numpy(dtype=np.float64),
            signal=rows["signal"].to_numpy(dtype=np.float64),
            session=session,
        )
        for strategy_id, rows in frame.groupby("strategy_id")
    ]


def holding_ages(history: Sequence[Set[str]]) -> dict[str, int]:
    """Return how many sessions in a row each name of the last set has been in the sets.

    Args:
        history: names held after each session, oldest first.
    """
    ages: dict[str, int] = {}
    for names in history:
        ages = {name: ages.get(name, 0) + 1 for name in names}
    return ages


def session_panel(store: Store, session: date, held: Iterable[str]) -> SessionPanel:
    """Return what is known of the market after the close of `session`, for its universe and all names held.

    Raises:
        NotReadyError: universe or prices of the session are not stored.
    """
    members = _stored(store, "universe", session)
    calendar = nyse()
    reach = min(_LAST_PRICE_SESSIONS, len(calendar.between(calendar.first, session)) - 1)
    prices = read_table(
        store,
        table("prices"),
        start=calendar.offset(session, -reach),
        end=session,
        columns=["session", "symbol", "close", "volume"],
    )
    if prices.empty or prices["session"].max() < session:
        raise NotReadyError(f"prices of session {session} are not stored; run market_data_job for it")
    in_universe = {
        str(symbol): bool(inside)
        for symbol, inside in zip(members["symbol"], members["in_universe"], strict=True)
    }
    removed = to_be_sold(members["symbol"], members["reason"])
    return panel_at(to_panel(prices, "close", "volume", end=session), session, in_universe, held, removed)


def to_be_sold(symbols: Iterable[str], reasons: Iterable[str]) -> frozenset[str]:
    """Return the names whose reason in the `universe` table states the removal policy to exit."""
    return _removed(symbols, reasons, RemovalPolicy.EXIT)


def sell_only(symbols: Iterable[str], reasons: Iterable[str]) -> frozenset[str]:
    """Return the names whose reason in the `universe` table states the removal policy no-buy."""
    return _removed(symbols, reasons, RemovalPolicy.NO_BUY)


def _removed(symbols: Iterable[str], reasons: Iterable[str], policy: RemovalPolicy) -> frozenset[str]:
    return frozenset(
        symbol for symbol, reason in zip(symbols, reasons, strict=True) if removal_policy(reason) is policy
    )


def panel_at(
    panel: Panel,
    session: date,
    members: Mapping[str, bool],
    held: Iterable[str],
    removed: Collection[str] = (),
) -> SessionPanel:
    """Return what is known of the market after the close of `session`.

    Args:
        panel: closes up to `session` at least, and volumes where there are; later rows are not looked at.
        session: decision session D.
        members: by name, whether it is in the universe of the session.
        held: names held, which the result must have.
        removed: names that have left the universe and are to be sold.
    """
    row = panel.position(session)
    closes = panel.close[max(0, row - _LAST_PRICE_SESSIONS) : row + 1]
    symbols = tuple(sorted({*members, *held}))
    places = np.searchsorted(panel.symbols, symbols)
    known = np.array(
        [
            place < len(panel.symbols) and panel.symbols[place] == name
            for place, name in zip(places, symbols, strict=True)
        ],
        dtype=bool,
    )
    window = np.full((len(closes), len(symbols)), np.nan)
    window[:, known] = closes[:, places[known]]
    finite = np.isfinite(window)
    # A delivery that lacks names must not look complete by lacking them in the universe as well.
    lost = finite[-2] & ~finite[-1] if len(finite) > 1 else np.zeros(len(symbols), dtype=bool)
    in_universe = np.array([members.get(symbol, False) for symbol in symbols], dtype=bool)
    newest = len(closes) - 1 - np.argmax(finite[::-1], axis=0)
    return SessionPanel(
        session=session,
        execution_session=nyse().next(session),
        symbols=symbols,
        close=window[-1],
        in_universe=in_universe,
        expected=in_universe | lost,
        last_price=window[newest, np.arange(len(symbols))],
        removed=frozenset(removed),
        traded_value=_traded_value(panel, row, places, known),
    )


def _traded_value(
    panel: Panel, row: int, places: NDArray[np.int64], known: NDArray[np.bool_]
) -> NDArray[np.float64] | None:
    """Return the mean value traded in the 20 sessions up to `row`, USD; NaN where no volume is known.

    In whole ten-thousandths of a dollar: the sum must not depend on how the arrays lie in memory.
    """
    volume = panel.fields.get("volume")
    if volume is None:
        return None
    rows = slice(max(0, row + 1 - _VOLUME_SESSIONS), row + 1)
    columns = places[known]
    recent, close = volume[rows, columns], panel.close[rows, columns]
    stated = np.isfinite(recent) & np.isfinite(close)
    if not stated.any():
        return None
    value = np.where(stated, np.rint(np.where(stated, close * 10_000, 0)) * np.where(stated, recent, 0), 0)
    total = value.astype(np.int64).sum(axis=0) // _VOLUME_SESSIONS
    result = np.full(known.shape, np.nan)
    result[known] = np.where(stated.any(axis=0), total / 10_000, np.nan)
    return result


def targets_frame(plan: Plan, plan_id: str) -> pd.DataFrame:
    """Return a plan's targets as rows of the `target_portfolio` table."""
    columns = (
        "strategy_id",
        "symbol",
        "signal",
        "prediction",
        "price",
        "weight_before",
        "weight_target",
        "shares_before",
        "shares_target",
        "reason",
        "note",
    )
    frame = pd.DataFrame(
        [{name: getattr(row, name) for name in columns} for row in plan.targets], columns=list(columns)
    )
    frame["reason"] = [row.reason.value for row in plan.targets]
    return frame.assign(session=plan.session, plan_id=plan_id)


def _signal_history(store: Store, strategy: Strategy, session: date) -> list[Set[str]]:
    """Return the names with a positive signal on each stored session before `session`, oldest first."""
    calendar = nyse()
    before = read_table(
        store,
        table("signals"),
        end=calendar.previous(session),
        columns=["session", "strategy_id", "symbol", "signal"],
    )
    rows = before.loc[(before["strategy_id"] == strategy.strategy_id) & (before["signal"] > 0)]
    by_session: dict[date, set[str]] = defaultdict(set)
    for day, symbol in zip(rows["session"].tolist(), rows["symbol"].tolist(), strict=True):
        by_session[day].add(symbol)
    if not by_session:
        return []
    return [
        by_session.get(day, set()) for day in calendar.between(min(by_session), calendar.previous(session))
    ]


def _stored(store: Store, name: str, session: date) -> pd.DataFrame:
    frame = read_table(store, table(name), sessions=[session])
    if frame.empty:
        job = "market_data_job" if name in ("universe", "features") else "predictions_job"
        raise NotReadyError(f"{name} of session {session} are not stored; run {job} for it first")
    return frame
