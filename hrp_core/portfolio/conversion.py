"""The public converter from signals to orders, for notebooks and for other programs.

What belongs here: a small face on the sizing and netting of `decide`, for one portfolio without a ledger.
What does not: any rule of its own.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd

from hrp_core.errors import DataError
from hrp_core.money import is_price, to_units
from hrp_core.portfolio.construction import (
    NO_REASON,
    REASONS,
    Book,
    build_targets,
    strength,
    to_price_units,
)
from hrp_core.portfolio.netting import DECREASE, drop_small_orders, net_orders
from hrp_core.portfolio.signals import predictions_to_signals
from hrp_core.portfolio.types import PlannedOrder, Reason

_log = logging.getLogger(__name__)
_ORDERED = (Reason.SIGNAL, Reason.EXIT)


@dataclass(frozen=True, slots=True)
class ConversionConfig:
    """Limits of a conversion.

    Attributes:
        portfolio_value: USD, what the whole portfolio is worth.
        max_positions: most names to hold.
        max_position_pct: most of the portfolio in one name, above 0, at most 1.
        min_order_value: smallest order, USD.
        strategy_id: whom the orders are allocated to.

    Raises:
        ValueError: a value is out of range.
    """

    portfolio_value: Decimal | float
    max_positions: int = 20
    max_position_pct: float = 0.10
    min_order_value: Decimal | float = 100
    strategy_id: str = ""

    def __post_init__(self) -> None:
        if not is_price(self.portfolio_value):
            raise ValueError("portfolio_value must be positive")
        if not 0 < self.max_position_pct <= 1:
            raise ValueError("max_position_pct must be between 0 and 1")
        if self.max_positions <= 0:
            raise ValueError("max_positions must be positive")
        if not self.min_order_value >= 0:
            raise ValueError("min_order_value must not be negative")


@dataclass(frozen=True, slots=True)
class Conversion:
    """Orders, and why other names got none.

    Attributes:
        orders: exits, decreases, then increases, the strongest prediction first.
        skipped: reason by symbol, for names held or wanted that have no order for it.
    """

    orders: tuple[PlannedOrder, ...]
    skipped: Mapping[str, Reason]


class SignalConverter:
    """Turns the signals of one session into orders.

    Args:
        config: the limits.
    """

    def __init__(self, config: ConversionConfig) -> None:
        self._config = config

    def signals_to_orders(
        self,
        signals: pd.DataFrame,
        method: str = "rank",
        current_prices: Mapping[str, float] | None = None,
        current_positions: Mapping[str, float] | None = None,
    ) -> list[PlannedOrder]:
        """Return the orders of `convert`; names without one are logged with their reason."""
        conversion = self.convert(signals, method, current_prices, current_positions)
        for symbol, reason in conversion.skipped.items():
            _log.warning("no order for %s: %s", symbol, reason.value)
        return list(conversion.orders)

    def convert(
        self,
        signals: pd.DataFrame,
        method: str = "rank",
        current_prices: Mapping[str, float] | None = None,
        current_positions: Mapping[str, float] | None = None,
    ) -> Conversion:
        """Return the orders that take the portfolio to its signals.

        Names with a signal above 0 are held, the strongest predictions first, at most `max_positions`, each
        at min(max_position_pct, 1 / number of names) of the portfolio, in whole shares. A held name with a
        finite prediction and another signal is sold. A held name without prediction or price keeps its
        shares.

        Args:
            signals: columns symbol, prediction and, unless `method` is to make it, signal; one session.
            method: rule for frames without a signal column (`predictions_to_signals`, its defaults).
            current_prices: USD a share by symbol; a symbol without a finite positive price is skipped.
            current_positions: whole shares held, by symbol.

        Raises:
            ValueError: no prices are given, a position is no whole number, or the method is unknown.
            DataError: the frame lacks a column, has a symbol twice, or covers several sessions.
        """
        if current_prices is None:
            raise ValueError("current_prices is required: a mapping of symbol to price in USD")
        if "signal" not in signals.columns:
            signals = predictions_to_signals(signals, method)
        rows = _by_symbol(signals)
        positions = {symbol: _whole(symbol, shares) for symbol, shares in (current_positions or {}).items()}
        symbols = sorted({*rows.index, *positions})
        rows = rows.reindex(symbols)
        prices = [current_prices.get(symbol) for symbol in symbols]
        book = Book(
            price=to_price_units(np.array([np.nan if price is None else float(price) for price in prices])),
            in_universe=np.ones(len(symbols), dtype=bool),
            removed=np.zeros(len(symbols), dtype=bool),
            before=np.array([[positions.get(symbol, 0) for symbol in symbols]], dtype=np.int64),
            prediction=rows["prediction"].to_numpy(dtype=np.float64, na_value=np.nan)[None, :],
            signal=rows["signal"].fillna(0.0).to_numpy(dtype=np.float64)[None, :],
            capital=[Fraction(1)],
            holds=[None],
        )
        config = self._config
        base_units = to_units(config.portfolio_value)
        targets = build_targets(book, base_units, config.max_positions, config.max_position_pct)
        smallest = Decimal(str(config.min_order_value))
        targets = drop_small_orders(book, targets, smallest, exits_pass=False)
        orders = net_orders(symbols, [config.strategy_id], book, targets)

        places = dict(zip(symbols, strength(book.prediction, book.signal > 0).tolist(), strict=True))
        after = dict(zip(symbols, targets.shares[0].tolist(), strict=True))
        phase = {
            order: (order.leg != DECREASE, after[order.symbol] != 0, places[order.symbol], order.symbol)
            for order in orders
        }
        reasons = [None if index == NO_REASON else REASONS[index] for index in targets.reason[0].tolist()]
        skipped = {
            symbol: reason
            for symbol, reason in zip(symbols, reasons, strict=True)
            if reason is not None and reason not in _ORDERED
        }
        return Conversion(tuple(sorted(orders, key=phase.__getitem__)), skipped)


def _by_symbol(signals: pd.DataFrame) -> pd.DataFrame:
    """Return signals indexed by symbol, having checked that they are of one session."""
    for column in ("symbol", "prediction"):
        if column not in signals.columns:
            raise DataError(f"signals have no column {column!r}; they need symbol, prediction and signal")
    if "session" in signals.columns and signals["session"].nunique() > 1:
        raise DataError("signals cover several sessions; convert one session at a time")
    if signals["symbol"].duplicated().any():
        twice = signals.loc[signals["symbol"].duplicated(), "symbol"].iloc[0]
        raise DataError(f"{twice} has two signals; signals need one row a symbol")
    return signals.set_index("symbol")[["prediction", "signal"]]


def _whole(symbol: str, shares: float) -> int:
    if int(shares) != shares:
        raise ValueError(f"position of {symbol} is {shares}; whole shares only")
    return int(shares)
