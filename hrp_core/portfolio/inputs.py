"""The inputs of a decision in one order, checked: the market by symbol, and each strategy beside it.

What belongs here: aligning what `decide` is given, and judging whether a strategy's predictions are complete.
What does not: what is then wanted (`construction`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hrp_core.errors import DataError, NotReadyError
from hrp_core.portfolio.construction import Shares, fraction, to_price_units
from hrp_core.portfolio.schedule import rebalances, sessions_held
from hrp_core.portfolio.types import (
    LedgerState,
    PortfolioLimits,
    Reason,
    RuleAction,
    SessionPanel,
    Strategy,
    StrategySignals,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Market:
    """The panel in the order of its symbols, prices in ten-thousandths of a dollar (0 = none)."""

    symbols: tuple[str, ...]
    price: Shares
    value_price: Shares
    in_universe: NDArray[np.bool_]
    expected: NDArray[np.bool_]
    traded_value: NDArray[np.float64]
    position: Mapping[str, int]

    def flags(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Return which symbols are among `names`."""
        found = np.zeros(len(self.symbols), dtype=bool)
        for name in names:
            if name in self.position:
                found[self.position[name]] = True
        return found

    def empty_rows(self, kind: type) -> NDArray:
        """Return an array of no strategies."""
        return np.empty((0, len(self.symbols)), dtype=kind)

    def locate(self, symbols: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return which of `symbols` the market knows, and the places of those."""
        own, asked = np.array(self.symbols, dtype=str), np.array(symbols, dtype=str)
        known = np.isin(asked, own)
        return known, np.searchsorted(own, asked[known]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy's inputs, aligned with the symbols of the market."""

    strategy_id: str
    before: Shares
    prediction: NDArray[np.float64]
    signal: NDArray[np.float64]
    capital: Fraction
    hold: Reason | None
    notes: tuple[str, ...]
    strategy: Strategy | None
    young: NDArray[np.bool_]
    stale: Verdict | None


def read_market(panel: SessionPanel, ledger: LedgerState) -> Market:
    """Return the panel in canonical order, having checked it against the ledger."""
    n = len(panel.symbols)
    last = panel.close if panel.last_price is None else panel.last_price
    traded = np.full(n, np.nan) if panel.traded_value is None else panel.traded_value
    if len(set(panel.symbols)) != n or any(
        array.shape != (n,) for array in (panel.close, panel.in_universe, last, traded)
    ):
        raise DataError(
            f"panel of {panel.session}: symbols occur twice or its arrays differ in length; rebuild it"
        )
    if ledger.as_of is not None and ledger.as_of > panel.session:
        raise DataError(
            f"the ledger holds fills up to {ledger.as_of}, after session {panel.session}; decide with the "
            "ledger as it stood then"
        )
    held: dict[str, int] = {}
    for shares in ledger.strategy_shares.values():
        for symbol, quantity in shares.items():
            held[symbol] = held.get(symbol, 0) + quantity
    account = {symbol: quantity for symbol, quantity in ledger.shares.items() if quantity}
    if {symbol: quantity for symbol, quantity in held.items() if quantity} != account:
        wrong = sorted(
            symbol for symbol in held.keys() | account.keys() if held.get(symbol, 0) != account.get(symbol, 0)
        )
        raise DataError(
            f"the strategies' shares do not sum to the account's in {', '.join(wrong)}; rebuild the book "
            "from the journal before planning"
        )
    missing = sorted(held.keys() - set(panel.symbols))
    if missing:
        raise DataError(
            f"panel of {panel.session} lacks held names: {', '.join(missing)}; build it with them"
        )
    order = np.argsort(np.array(panel.symbols, dtype=str), kind="stable")
    symbols = tuple(panel.symbols[index] for index in order)
    price = to_price_units(panel.close[order])
    value_price = np.where(price > 0, price, to_price_units(last[order]))
    position = {symbol: index for index, symbol in enumerate(symbols)}
    worthless = sorted(symbol for symbol in account if not value_price[position[symbol]])
    if worthless:
        raise NotReadyError(
            f"no price for {', '.join(worthless)}, held, on {panel.session} or before: the account cannot be "
            "valued; load their prices, then plan again"
        )
    expected = panel.in_universe if panel.expected is None else panel.expected
    return Market(
        symbols, price, value_price, panel.in_universe[order], expected[order], traded[order], position
    )


def read_rows(
    market: Market,
    session: date,
    signals: Sequence[StrategySignals],
    ledger: LedgerState,
    strategies: Sequence[Strategy],
    limits: PortfolioLimits,
) -> list[Row]:
    """Return one row a strategy that is deployed or holds something, sorted by id."""
    by_id = {strategy.strategy_id: strategy for strategy in strategies}
    said = {each.strategy_id: each for each in signals}
    if len(by_id) != len(strategies) or len(said) != len(signals):
        raise DataError("a strategy, or the signals of one, are given twice; each strategy needs one")
    holders = {name for name, shares in ledger.strategy_shares.items() if any(shares.values())}
    rows = []
    for strategy_id in sorted(by_id.keys() | holders):
        before = np.zeros(len(market.symbols), dtype=np.int64)
        for symbol, quantity in ledger.strategy_shares.get(strategy_id, {}).items():
            before[market.position[symbol]] = quantity
        strategy = by_id.get(strategy_id)
        since = ledger.held_since.get(strategy_id, {})
        rows.append(
            _row(market, session, strategy_id, strategy, said.get(strategy_id), before, since, limits)
        )
    return rows


def _row(
    market: Market,
    session: date,
    strategy_id: str,
    strategy: Strategy | None,
    said: StrategySignals | None,
    before: Shares,
    since: Mapping[str, date],
    limits: PortfolioLimits,
) -> Row:
    prediction = np.full(len(market.symbols), np.nan)
    signal = np.zeros(len(market.symbols))
    asked = np.zeros(len(market.symbols), dtype=bool)
    notes: list[str] = []
    if said is not None:
        _check_signals(said)
        known, places = market.locate(said.symbols)
        prediction[places], signal[places], asked[places] = said.prediction[known], said.signal[known], True
        prediction[~np.isfinite(prediction)] = np.nan
        if not known.all():
            notes.append(
                f"{strategy_id}: {int((~known).sum())} scored names are not in the panel and left aside"
            )
        if (signal < 0).any():
            notes.append(f"{strategy_id}: {int((signal < 0).sum())} short signals; the account is long-only")

    hold: Reason | None = None
    why = ""
    stale = None
    if strategy is None:
        hold, why = Reason.HOLD_UNDEPLOYED, "is not deployed any more"
    elif strategy.retired:
        notes.append(f"{strategy_id} is retired: what it holds is sold")
    elif strategy.paused:
        hold, why = Reason.HOLD_PAUSED, "is paused"
    elif not rebalances(strategy.rebalance, session):
        hold, why = Reason.HOLD_SCHEDULE, f"rebalances {strategy.rebalance}, not on this session"
    elif said is not None and said.session != session:
        of = "an unknown session" if said.session is None else f"session {said.session}"
        hold, why = Reason.HOLD_STALE, f"has predictions of {of}, not of {session}"
        stale = Verdict("stale_prediction", "", strategy_id, RuleAction.BLOCK, None, None, f"it {why}")
    else:
        why = _incompleteness(
            market, said is not None, asked, prediction, before, fraction(limits.min_coverage)
        )
        hold = Reason.HOLD_INCOMPLETE if why else None
    if hold is not None:
        notes.append(f"{strategy_id} {why}: it keeps its holdings and orders nothing")
    capital = Fraction(0) if strategy is None else fraction(strategy.capital_weight)
    young = np.zeros(len(market.symbols), dtype=bool)
    if strategy is not None and strategy.min_holding_sessions:
        young = market.flags(
            name
            for name, first in since.items()
            if sessions_held(first, session) < strategy.min_holding_sessions
        )
    return Row(strategy_id, before, prediction, signal, capital, hold, tuple(notes), strategy, young, stale)


def _check_signals(said: StrategySignals) -> None:
    n = len(said.symbols)
    if len(set(said.symbols)) != n or said.prediction.shape != (n,) or said.signal.shape != (n,):
        raise DataError(
            f"{said.strategy_id}: symbols occur twice or predictions and signals differ in length"
        )
    if not np.isfinite(said.signal).all():
        raise DataError(f"{said.strategy_id}: a signal is not a number; a name without a score has signal 0")


def _incompleteness(
    market: Market,
    present: bool,
    asked: NDArray[np.bool_],
    prediction: NDArray[np.float64],
    before: Shares,
    min_coverage: Fraction,
) -> str:
    """Return why a strategy's predictions are not complete, or nothing when they are."""
    if not present:
        return "has no predictions for this session"
    universe = int(market.expected.sum())
    scored = int((np.isfinite(prediction) & market.expected).sum())
    if not universe:
        return "has no universe to score: no name may be bought on this session"
    if scored < min_coverage * universe:
        return f"has scores for {scored} of {universe} names, fewer than {float(min_coverage):.0%}"
    left_out = (before != 0) & ~asked
    if left_out.any():
        names = ", ".join(market.symbols[index] for index in np.flatnonzero(left_out).tolist())
        return f"was not asked to score {names}, which it holds"
    return ""
