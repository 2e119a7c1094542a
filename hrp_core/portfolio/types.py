"""The frozen values that travel between research, planning, the ledger and execution.

What belongs here: dataclasses without behaviour beyond validation. Arrays are aligned with the `symbols` of
the value they stand in, and symbols are always sorted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class OrderSide(StrEnum):
    """Direction of an order or a fill."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is OrderSide.BUY else -1


class OrderType(StrEnum):
    """How an order asks to be filled."""

    MARKET = "market"
    LIMIT = "limit"
    MARKET_ON_OPEN = "market_on_open"
    LIMIT_ON_OPEN = "limit_on_open"
    MARKET_ON_CLOSE = "market_on_close"
    LIMIT_ON_CLOSE = "limit_on_close"


class Reason(StrEnum):
    """Why a name's target is what it is (column `reason` of target_portfolio)."""

    SIGNAL = "signal"  # the strategy's signal set the target
    EXIT = "exit"  # a finite score says: not among the names to hold
    EXIT_REMOVED = "exit_removed"  # it has left the universe, whose policy for it is to sell
    HOLD_NO_SCORE = "hold_no_score"  # held, no finite score: keeps its shares
    HOLD_NO_PRICE = "hold_no_price"  # held, no finite price: keeps its shares
    HOLD_INCOMPLETE = "hold_incomplete"  # the strategy has no complete prediction set: keeps its holdings
    HOLD_PAUSED = "hold_paused"  # the strategy is paused: keeps its holdings
    HOLD_LOCKED = "hold_locked"  # an order in it has an unknown fate: nothing is ordered until resolved
    HOLD_UNDEPLOYED = "hold_undeployed"  # the strategy is no longer deployed: its holdings stay
    SKIP_NO_PRICE = "skip_no_price"  # wanted, not held, no finite price: not bought
    SKIP_NOT_IN_UNIVERSE = "skip_not_in_universe"  # wanted, outside the universe: not bought
    DROP_MAX_POSITIONS = (
        "drop_max_positions"  # wanted, beyond the largest number of names: not bought, or sold
    )
    DROP_SMALL_ORDER = "drop_small_order"  # the change is worth less than the smallest order: not traded
    DROP_PERSON = "drop_person"  # a person took it out of the plan: not traded
    CLIP_WEIGHT = "clip_weight"  # bought less: the account would hold too much of the name
    CLIP_SHORT = "clip_short"  # sold less, or not at all: the account has fewer shares than the strategies
    CLIP_CASH = "clip_cash"  # bought less, or not at all, for want of cash


class SymbolAction(StrEnum):
    """What a person decided about one name, for every strategy."""

    FREEZE = "freeze"  # nothing is ordered in it
    NO_BUY = "no-buy"  # it may be sold, not bought
    EXIT = "exit"  # what is held of it is sold, nothing is bought


class Purpose(StrEnum):
    """What a plan is for."""

    DAILY = "daily"
    FLATTEN = "flatten"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Strategy:
    """One deployed strategy (= hypothesis).

    Attributes:
        strategy_id: public id such as HYP-2026-001.
        name: short human name.
        model: what scores the universe: a registered feature used as a factor, e.g. ``momentum_12_1``.
        method: rule that turns predictions into signals: rank, threshold, zscore or topk_dropout.
        parameters: the method's parameters, e.g. ``{"top_pct": 0.25}``.
        capital_weight: share of the trading equity given to it, 0 to 1; all deployed ones sum to at most 1.
        paused: a paused strategy holds what it has.
        retired: a retired strategy sells what it has.
        content_hash: hash of the file it was read from; stored with every plan.
    """

    strategy_id: str
    name: str
    model: str
    method: str
    capital_weight: Decimal
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)
    paused: bool = False
    retired: bool = False
    content_hash: str = ""


@dataclass(frozen=True, slots=True)
class PortfolioLimits:
    """The limits inside which `decide` builds a portfolio (settings of the same names).

    The two commission figures (USD, IBKR's fixed tariff without its cap of 1 % of the value) only set cash
    aside for a basket; what is paid is what the broker reports.
    """

    max_positions: int = 20
    max_position_pct: float = 0.10
    min_order_value: Decimal = Decimal(100)
    cash_buffer_pct: float = 0.02
    min_coverage: float = 0.95
    capital: Decimal = Decimal(1)
    commission_per_share: Decimal = Decimal("0.005")
    commission_minimum: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class SessionPanel:
    """What is known of the market after the close of one decision session.

    Attributes:
        session: decision session D.
        execution_session: session E whose open follows.
        symbols: n symbols, sorted: the universe and every name held.
        close: shape (n,), official close of D in USD as of D; NaN where there is none.
        in_universe: shape (n,), whether new entries are allowed.
        expected: shape (n,), names that a complete set of scores has: those of the universe, and those that
            had a price a session ago and none now. None: the universe.
        removed: names that have left the universe and are to be sold whatever their score.
        last_price: shape (n,), last finite close at or before D; only values a holding that has no close of
            D, never sizes an order. None: there is none beside `close`.
    """

    session: date
    execution_session: date
    symbols: tuple[str, ...]
    close: NDArray[np.float64]
    in_universe: NDArray[np.bool_]
    last_price: NDArray[np.float64] | None = None
    removed: frozenset[str] = frozenset()
    expected: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class StrategySignals:
    """One strategy's signals for one session, aligned with `symbols`.

    Attributes:
        strategy_id: whose signals.
        symbols: n symbols, sorted; those the strategy was asked to score.
        prediction: shape (n,), the model's score; NaN = not scored.
        signal: shape (n,), +1, 0 or -1; 0 where the score is NaN (the HOLD rules look at the score).
    """

    strategy_id: str
    symbols: tuple[str, ...]
    prediction: NDArray[np.float64]
    signal: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The account as the ledger of fills has it, after a session.

    Attributes:
        as_of: last session whose fills are folded in; None for a new account.
        cash: USD, four places.
        shares: account shares by symbol (no zeros).
        strategy_shares: by strategy id, shares by symbol; they sum to `shares` to the share.
    """

    as_of: date | None
    cash: Decimal
    shares: Mapping[str, int]
    strategy_shares: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class TargetRow:
    """What one strategy wants of one name, with the reason (a row of target_portfolio).

    Weights are fractions of the whole equity, those of the shares held before and of `shares_target`; prices
    USD a share (None: no close of D); shares whole.
    """

    strategy_id: str
    symbol: str
    signal: float
    prediction: float
    price: Decimal | None
    weight_before: float
    weight_target: float
    shares_before: int
    shares_target: int
    reason: Reason
    note: str = ""


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """One order of a basket before it has a plan id: the account's net change in one name.

    Attributes:
        leg: ``decrease`` (towards zero) or ``increase`` (away from zero); a flip is one of each.
        allocations: signed shares by strategy that this order serves; they sum to ``side.sign * quantity``.
        reference_price: close of D, USD.
    """

    symbol: str
    side: OrderSide
    quantity: int
    leg: str
    reference_price: Decimal
    order_type: OrderType
    allocations: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision for one session: targets per strategy and one netted basket for the account.

    Pure result of `decide`; it has no identity yet. Freezing it in the journal gives the plan and each
    order an id.

    Attributes:
        equity: USD, the whole account: ledger cash and ledger shares at the close of D, before `capital`.
        cash: USD, ledger cash.
        targets: sorted by strategy, then symbol: every name held, wanted or to be left.
        orders: decreases before increases, each sorted by symbol.
        notes: what a person should know of the decision, one sentence each.
    """

    session: date
    execution_session: date
    equity: Decimal
    cash: Decimal
    targets: tuple[TargetRow, ...]
    orders: tuple[PlannedOrder, ...]
    notes: tuple[str, ...] = ()
