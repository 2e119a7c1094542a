"""The decision of one session: pure, the same in the daily run and in replay.

What belongs here: putting the inputs into one order, valuing the account, judging whether each strategy's
predictions are complete, and wording the result. What does not: the rules of sizing (`construction`) and of
the basket (`netting`); reading or storing anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hrp_core.errors import DataError, NotReadyError
from hrp_core.money import from_units, to_units
from hrp_core.portfolio.construction import (
    NO_REASON,
    REASONS,
    Book,
    Shares,
    Targets,
    build_targets,
    fraction,
    to_price_units,
)
from hrp_core.portfolio.netting import (
    clip_to_cash,
    clip_weights,
    drop_small_orders,
    keep_account_long,
    net_crosses,
    net_orders,
)
from hrp_core.portfolio.strategies import check_capital
from hrp_core.portfolio.types import (
    LedgerState,
    OrderType,
    Plan,
    PortfolioLimits,
    Reason,
    SessionPanel,
    Strategy,
    StrategySignals,
    TargetRow,
)
from hrp_core.settings import Settings

_CHANGED_LATER = (Reason.CLIP_SHORT, Reason.DROP_SMALL_ORDER, Reason.CLIP_WEIGHT, Reason.CLIP_CASH)


def limits_from_settings(settings: Settings) -> PortfolioLimits:
    """Return the limits that the settings state."""
    return PortfolioLimits(
        max_positions=settings.max_positions,
        max_position_pct=settings.max_position_pct,
        min_order_value=settings.min_order_value,
        cash_buffer_pct=settings.cash_buffer_pct,
        min_coverage=settings.min_coverage,
        capital=settings.capital,
        order_type=OrderType(settings.order_type),
        limit_gap_pct=settings.limit_gap_pct,
    )


def decide(
    panel: SessionPanel,
    signals: Sequence[StrategySignals],
    ledger: LedgerState,
    strategies: Sequence[Strategy],
    limits: PortfolioLimits,
    locked: Mapping[str, Decimal] | None = None,
) -> Plan:
    """Return the targets of every strategy and the account's basket for one session.

    Depends on nothing but its arguments, not on the order of anything in them. What is missing never sells: a
    held name without a score or price, and all of a strategy that is paused, no longer deployed, or without
    complete predictions, keeps its shares and says why.

    A strategy's predictions are complete when at least `min_coverage` of the universe has a finite score and
    each name it holds is among those it was asked to score; if the score of such a name is NaN, that name
    alone is kept.

    Args:
        panel: market after the close of D; holds each symbol that the ledger holds.
        signals: at most one a strategy; of strategies that are not among `strategies` they are left aside.
        ledger: account before the basket.
        strategies: deployed and paused ones.
        limits: limits of the account.
        locked: names with an order of unknown fate, each with the USD it may still cost (0 for a sale): they
            keep their shares, take a place, and the cash stays set aside.

    Raises:
        NotReadyError: a held name has no price, now or earlier, so that the account has no value.
        DataError: the inputs contradict each other (shares that do not sum up, symbols twice, shapes that
            differ, fills after D).
        SettingsError: the strategies' capital weights sum to more than 1.
    """
    check_capital(strategies)
    locked = locked or {}
    market = _market(panel, ledger)
    rows = _rows(market, signals, ledger, strategies, limits)
    book = Book(
        price=market.price,
        in_universe=market.in_universe,
        removed=np.array([symbol in panel.removed for symbol in market.symbols], dtype=bool),
        before=np.stack([row.before for row in rows]) if rows else market.empty_rows(np.int64),
        prediction=np.stack([row.prediction for row in rows]) if rows else market.empty_rows(np.float64),
        signal=np.stack([row.signal for row in rows]) if rows else market.empty_rows(np.float64),
        capital=[row.capital for row in rows],
        holds=[row.hold for row in rows],
        locked=np.isin(np.array(market.symbols, dtype=str), list(locked)),
    )
    cash_units = to_units(ledger.cash)
    equity_units = cash_units + int(book.before.sum(axis=0) @ market.value_price)
    base_units = max(int(equity_units * fraction(limits.capital)), 0)
    reserve_units = equity_units - int(base_units * (1 - fraction(limits.cash_buffer_pct)))
    reserve_units += to_units(sum(locked.values(), Decimal(0)))

    wanted = build_targets(book, base_units, limits.max_positions, limits.max_position_pct)
    targets = keep_account_long(book, wanted)
    targets = clip_weights(book, targets, base_units, limits.max_position_pct)
    targets = drop_small_orders(book, targets, limits.min_order_value)
    targets = clip_to_cash(book, targets, cash_units, reserve_units, limits)

    ids = [row.strategy_id for row in rows]
    notes = _undeployed_signals(signals, strategies)
    notes += [note for row in rows for note in row.notes]
    notes += [f"{name}: locked; nothing is ordered" for name in sorted(locked)]
    return Plan(
        session=panel.session,
        execution_session=panel.execution_session,
        equity=from_units(equity_units),
        cash=from_units(cash_units),
        targets=_target_rows(market, ids, book, wanted, targets, equity_units),
        orders=net_orders(market.symbols, ids, book, targets, limits),
        notes=tuple(notes),
        crosses=net_crosses(market.symbols, ids, book, targets),
    )


@dataclass(frozen=True, slots=True)
class _Market:
    """The panel in the order of its symbols, prices in ten-thousandths of a dollar (0 = none)."""

    symbols: tuple[str, ...]
    price: Shares
    value_price: Shares
    in_universe: NDArray[np.bool_]
    expected: NDArray[np.bool_]
    position: Mapping[str, int]

    def empty_rows(self, kind: type) -> NDArray:
        return np.empty((0, len(self.symbols)), dtype=kind)

    def locate(self, symbols: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return which of `symbols` the market knows, and the places of those."""
        own, asked = np.array(self.symbols, dtype=str), np.array(symbols, dtype=str)
        known = np.isin(asked, own)
        return known, np.searchsorted(own, asked[known]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Row:
    """One strategy's inputs, aligned with the symbols of the market."""

    strategy_id: str
    before: Shares
    prediction: NDArray[np.float64]
    signal: NDArray[np.float64]
    capital: Fraction
    hold: Reason | None
    notes: tuple[str, ...]


def _market(panel: SessionPanel, ledger: LedgerState) -> _Market:
    """Return the panel in canonical order, having checked it against the ledger."""
    n = len(panel.symbols)
    last = panel.close if panel.last_price is None else panel.last_price
    if len(set(panel.symbols)) != n or any(
        array.shape != (n,) for array in (panel.close, panel.in_universe, last)
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
    return _Market(symbols, price, value_price, panel.in_universe[order], expected[order], position)


def _rows(
    market: _Market,
    signals: Sequence[StrategySignals],
    ledger: LedgerState,
    strategies: Sequence[Strategy],
    limits: PortfolioLimits,
) -> list[_Row]:
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
        rows.append(
            _row(market, strategy_id, strategy, said.get(strategy_id), before, fraction(limits.min_coverage))
        )
    return rows


def _row(
    market: _Market,
    strategy_id: str,
    strategy: Strategy | None,
    said: StrategySignals | None,
    before: Shares,
    min_coverage: Fraction,
) -> _Row:
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
    if strategy is None:
        hold, why = Reason.HOLD_UNDEPLOYED, "is not deployed any more"
    elif strategy.paused:
        hold, why = Reason.HOLD_PAUSED, "is paused"
    else:
        why = _incompleteness(market, said is not None, asked, prediction, before, min_coverage)
        hold = Reason.HOLD_INCOMPLETE if why else None
    if hold is not None:
        notes.append(f"{strategy_id} {why}: it keeps its holdings and orders nothing")
    capital = Fraction(0) if strategy is None else fraction(strategy.capital_weight)
    return _Row(strategy_id, before, prediction, signal, capital, hold, tuple(notes))


def _check_signals(said: StrategySignals) -> None:
    n = len(said.symbols)
    if len(set(said.symbols)) != n or said.prediction.shape != (n,) or said.signal.shape != (n,):
        raise DataError(
            f"{said.strategy_id}: symbols occur twice or predictions and signals differ in length"
        )
    if not np.isfinite(said.signal).all():
        raise DataError(f"{said.strategy_id}: a signal is not a number; a name without a score has signal 0")


def _incompleteness(
    market: _Market,
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


def _undeployed_signals(signals: Iterable[StrategySignals], strategies: Iterable[Strategy]) -> list[str]:
    deployed = {strategy.strategy_id for strategy in strategies}
    return [
        f"{name}: signals left aside, it is not deployed"
        for name in sorted(each.strategy_id for each in signals if each.strategy_id not in deployed)
    ]


def _target_rows(
    market: _Market, ids: Sequence[str], book: Book, wanted: Targets, targets: Targets, equity_units: int
) -> tuple[TargetRow, ...]:
    """Return a row for each strategy and name that is held, wanted, or left for a reason."""
    result = []
    for row, column in np.argwhere(targets.reason != NO_REASON).tolist():
        reason = REASONS[targets.reason[row, column]]
        price = int(market.price[column])
        value_price = int(market.value_price[column])
        before, after = int(book.before[row, column]), int(targets.shares[row, column])
        note = ""
        if reason in _CHANGED_LATER:
            note = f"wanted {int(wanted.shares[row, column])} shares"
        elif reason is Reason.SIGNAL and not after:
            note = "one share costs more than the name's weight"
        elif not price and before:
            note = f"valued at the last price, {from_units(value_price)}"
        result.append(
            TargetRow(
                strategy_id=ids[row],
                symbol=market.symbols[column],
                signal=float(book.signal[row, column]),
                prediction=float(book.prediction[row, column]),
                price=from_units(price) if price else None,
                weight_before=_weight(before * value_price, equity_units),
                weight_target=_weight(after * value_price, equity_units),
                shares_before=before,
                shares_target=after,
                reason=reason,
                note=note,
            )
        )
    return tuple(result)


def _weight(value_units: int, equity_units: int) -> float:
    return value_units / equity_units if value_units and equity_units else 0.0
