"""Builds inputs of `decide` for its tests: symbols by name, arrays made from mappings."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np

from hrp_core.portfolio import (
    LedgerState,
    Plan,
    PortfolioLimits,
    SessionPanel,
    Strategy,
    StrategySignals,
    decide,
)
from hrp_core.portfolio.types import TargetRow

D, E = date(2022, 12, 15), date(2022, 12, 16)
NAN = float("nan")
PLAIN = PortfolioLimits().without_rules()
"""The default limits with the risk rules and the no-trade band switched off."""
FULL = replace(
    PLAIN,
    max_position_pct=1.0,
    cash_buffer_pct=0.0,
    commission_minimum=Decimal(0),
    commission_per_share=Decimal(0),
    min_order_value=Decimal(0),
)


def panel(
    closes: Mapping[str, float], outside: Iterable[str] = (), last: Mapping[str, float] | None = None
) -> SessionPanel:
    symbols = tuple(sorted(closes))
    before = closes if last is None else {**closes, **last}
    return SessionPanel(
        session=D,
        execution_session=E,
        symbols=symbols,
        close=np.array([closes[symbol] for symbol in symbols]),
        in_universe=np.array([symbol not in set(outside) for symbol in symbols], dtype=bool),
        last_price=np.array([before[symbol] for symbol in symbols]),
    )


def strategy(strategy_id: str = "S", weight: str = "1", *, paused: bool = False) -> Strategy:
    return Strategy(strategy_id, strategy_id, "model", "rank", Decimal(weight), {}, paused)


def signals(
    scores: Mapping[str, float], wanted: Iterable[str] = "", strategy_id: str = "S"
) -> StrategySignals:
    symbols = tuple(sorted(scores))
    chosen = set(wanted)
    return StrategySignals(
        strategy_id=strategy_id,
        symbols=symbols,
        prediction=np.array([scores[symbol] for symbol in symbols]),
        signal=np.array([float(symbol in chosen) for symbol in symbols]),
        session=D,
    )


def ledger(cash: float | str, **held: Mapping[str, int]) -> LedgerState:
    """Return an account with cash and, by strategy id, its shares."""
    shares: dict[str, int] = {}
    for holdings in held.values():
        for symbol, quantity in holdings.items():
            shares[symbol] = shares.get(symbol, 0) + quantity
    return LedgerState(D, Decimal(cash), {name: count for name, count in shares.items() if count}, held)


def one(
    closes: Mapping[str, float],
    scores: Mapping[str, float],
    wanted: Iterable[str],
    account: LedgerState,
    limits: PortfolioLimits = FULL,
) -> Plan:
    """Decide for one strategy with all capital and every symbol in the universe."""
    return decide(panel(closes), [signals(scores, wanted)], account, [strategy()], limits)


def basket(plan: Plan) -> dict[str, int]:
    """Return the signed shares ordered by symbol."""
    ordered: dict[str, int] = {}
    for order in plan.orders:
        ordered[order.symbol] = ordered.get(order.symbol, 0) + order.side.sign * order.quantity
    return ordered


def row(plan: Plan, symbol: str, strategy_id: str = "S") -> TargetRow:
    (found,) = [each for each in plan.targets if (each.strategy_id, each.symbol) == (strategy_id, symbol)]
    return found
