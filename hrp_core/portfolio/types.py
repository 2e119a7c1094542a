"""The frozen values that travel between research, planning, the ledger and execution.

What belongs here: dataclasses without behaviour beyond validation. Arrays are aligned with the `symbols` of
the value they stand in, and symbols are always sorted. Past 400 lines: most of it says what a field means.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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

    @property
    def has_limit(self) -> bool:
        """Whether an order of this type needs a limit price."""
        return self in (OrderType.LIMIT, OrderType.LIMIT_ON_OPEN, OrderType.LIMIT_ON_CLOSE)


class Reason(StrEnum):
    """Why a name's target is what it is (column `reason` of target_portfolio)."""

    SIGNAL = "signal"  # the strategy's signal set the target
    EXIT = "exit"  # a finite score says: not among the names to hold
    EXIT_REMOVED = "exit_removed"  # it has left the universe, whose policy for it is to sell
    EXIT_RETIRED = "exit_retired"  # the strategy is retired: what it holds is sold
    EXIT_ORDERED = "exit_ordered"  # a person decided to sell the name
    HOLD_NO_SCORE = "hold_no_score"  # held, no finite score: keeps its shares
    HOLD_NO_PRICE = "hold_no_price"  # held, no finite price: keeps its shares
    HOLD_INCOMPLETE = "hold_incomplete"  # the strategy has no complete prediction set: keeps its holdings
    HOLD_PAUSED = "hold_paused"  # the strategy is paused: keeps its holdings
    HOLD_LOCKED = "hold_locked"  # an order in it has an unknown fate: nothing is ordered until resolved
    HOLD_UNDEPLOYED = "hold_undeployed"  # the strategy is no longer deployed: its holdings stay
    HOLD_STALE = "hold_stale"  # the predictions are not of this session: the strategy keeps its holdings
    HOLD_SCHEDULE = "hold_schedule"  # the strategy does not rebalance on this session
    HOLD_MIN_HOLDING = "hold_min_holding"  # held for fewer sessions than the strategy holds a name
    HOLD_BAND = "hold_band"  # too near to its target to be worth a trade
    HOLD_FROZEN = "hold_frozen"  # a person froze the name: nothing is ordered in it
    SKIP_NO_PRICE = "skip_no_price"  # wanted, not held, no finite price: not bought
    SKIP_NOT_IN_UNIVERSE = "skip_not_in_universe"  # wanted, outside the universe: not bought
    SKIP_RESTRICTED = "skip_restricted"  # wanted, on the restricted list or no-buy: not bought
    DROP_MAX_POSITIONS = (
        "drop_max_positions"  # wanted, beyond the largest number of names: not bought, or sold
    )
    DROP_SMALL_ORDER = "drop_small_order"  # the change is worth less than the smallest order: not traded
    DROP_COMMISSION = "drop_commission"  # the commission is too large a part of the order: not traded
    BLOCK_LOSS = "block_loss"  # not bought: a loss limit is reached, or what the account earned is unknown
    BLOCK_LATCH = "block_latch"  # not bought: the latch is at REDUCING, only exits may go
    BLOCK_PRICE = "block_price"  # not bought: the price is too far from the last adjusted close, or has none
    DROP_PERSON = "drop_person"  # a person took it out of the plan: not traded
    CLIP_WEIGHT = "clip_weight"  # bought less: the account would hold too much of the name
    CLIP_ORDER = "clip_order"  # bought less: one order may not be larger
    CLIP_VOLUME = "clip_volume"  # bought less: too large a share of what trades in a session
    CLIP_SECTOR = "clip_sector"  # bought less: the account would hold too much of the sector
    CLIP_EXPOSURE = "clip_exposure"  # bought less: gross or net exposure would be too large
    CLIP_TURNOVER = "clip_turnover"  # bought less: the session would trade too much of the account
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
        rebalance: daily, weekly (the first session of a week) or a weekday (monday ... friday); on other
            sessions it keeps what it holds.
        min_holding_sessions: a name is not sold for its score before it was held for so many sessions.
        band: share of a name's target by which a holding may differ from it without a trade; None: the
            account's; 0: every difference is traded.
        limits: fields of `PortfolioLimits` (those in `STRATEGY_LIMITS`) that are tighter for this strategy,
            as shares of the strategy's own capital.
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
    rebalance: str = "daily"
    min_holding_sessions: int = 0
    band: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PortfolioLimits:
    """The limits inside which `decide` builds a portfolio (settings of the same names).

    The order type is the account's, not a strategy's: what two strategies want of one name is one order, and
    an order has one type. An order with a limit has it `limit_gap_pct` (0.03 = three percent) from the close
    of D, on the side where it still trades after a gap of that size.

    Shares (`..._pct`) are of the trading equity: the account's equity times `capital`. None switches a rule
    off (in the settings: 0). docs/risk-rules.md says what each does.

    The two commission figures (USD, IBKR's fixed tariff without its cap of 1 % of the value) set cash aside
    for a basket and judge whether an order is worth it; what is paid is what the broker reports.

    Attributes:
        sectors: sector by symbol; None: none are given, and there is no cap.
        restricted: names that may be sold and not bought.
        band_pct: no trade while a holding is nearer to its target than this share of the target, or than
            `band_nav_pct` of the trading equity.
    """

    max_positions: int = 20
    max_position_pct: float = 0.10
    min_order_value: Decimal = Decimal(100)
    cash_buffer_pct: float = 0.02
    min_coverage: float = 0.95
    capital: Decimal = Decimal(1)
    commission_per_share: Decimal = Decimal("0.005")
    commission_minimum: Decimal = Decimal(1)
    order_type: OrderType = OrderType.MARKET
    limit_gap_pct: float = 0.03
    max_order_pct: float | None = 0.15
    max_volume_pct: float | None = 0.05
    max_gross: float | None = 1.0
    max_net: float | None = 1.0
    max_turnover_pct: float | None = 0.50
    price_collar_pct: float | None = 0.05
    max_sector_pct: float | None = 0.25
    max_unknown_sector_pct: float | None = 0.10
    sectors: Mapping[str, str] | None = None
    max_daily_loss_pct: float | None = 0.03
    max_drawdown_pct: float | None = 0.15
    max_commission_pct: float | None = 0.01
    restricted: tuple[str, ...] = ()
    band_pct: float | None = 0.20
    band_nav_pct: float | None = 0.005

    def without_rules(self) -> "PortfolioLimits":
        """Return these limits with every rule off that can be, and without the no-trade band."""
        return replace(self, sectors=None, restricted=(), **dict.fromkeys(SWITCHABLE))


SWITCHABLE = (
    "max_order_pct",
    "max_volume_pct",
    "max_gross",
    "max_net",
    "max_turnover_pct",
    "price_collar_pct",
    "max_sector_pct",
    "max_unknown_sector_pct",
    "max_daily_loss_pct",
    "max_drawdown_pct",
    "max_commission_pct",
    "band_pct",
    "band_nav_pct",
)
"""Fields of `PortfolioLimits` that None switches off."""

STRATEGY_LIMITS = (
    "max_positions",
    "max_position_pct",
    "max_order_pct",
    "max_volume_pct",
    "max_turnover_pct",
)
"""Fields of `PortfolioLimits` that a strategy may tighten for itself."""


@dataclass(frozen=True, slots=True)
class Performance:
    """What the account earned up to the close of D, net of deposits and withdrawals.

    Attributes:
        daily_return: of the session D, as a fraction; None: not known.
        drawdown: 0.1 = ten percent below the highest value so far of one dollar; None: not known.
        never_valued: the account has no NAV yet, so that there is nothing to have lost.
    """

    daily_return: float | None = None
    drawdown: float | None = None
    never_valued: bool = False


NEVER_VALUED = Performance(never_valued=True)


class RuleAction(StrEnum):
    """What a risk rule did."""

    ALLOW = "allow"  # nothing; recorded where a reader would ask why (an input that does not apply)
    CLIP = "clip"  # less is bought
    BLOCK = "block"  # nothing is bought, or the order is dropped
    HALT = "halt"  # the latch is set


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one risk rule said, about one name or (symbol "") about the whole account.

    Attributes:
        rule: code of the rule (docs/risk-rules.md).
        strategy_id: whose own limit it was; empty: the account's.
        before: shares ordered before the rule; None where it acts before anything is sized.
        after: shares ordered after it, likewise.
        reason: one sentence.
    """

    rule: str
    symbol: str
    strategy_id: str
    action: RuleAction
    before: int | None
    after: int | None
    reason: str


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
        traded_value: shape (n,), USD that trade in a session, the mean over the 20 up to D (a session without
            volume counts as 0); NaN where no volume is known. None: the source has none.
    """

    session: date
    execution_session: date
    symbols: tuple[str, ...]
    close: NDArray[np.float64]
    in_universe: NDArray[np.bool_]
    last_price: NDArray[np.float64] | None = None
    removed: frozenset[str] = frozenset()
    expected: NDArray[np.bool_] | None = None
    traded_value: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class StrategySignals:
    """One strategy's signals for one session, aligned with `symbols`.

    Attributes:
        strategy_id: whose signals.
        symbols: n symbols, sorted; those the strategy was asked to score.
        prediction: shape (n,), the model's score; NaN = not scored.
        signal: shape (n,), +1, 0 or -1; 0 where the score is NaN (the HOLD rules look at the score).
        session: decision session that the predictions are of; a decision takes no other's, and not None.
    """

    strategy_id: str
    symbols: tuple[str, ...]
    prediction: NDArray[np.float64]
    signal: NDArray[np.float64]
    session: date | None = None


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The account as the ledger of fills has it, after a session.

    Attributes:
        as_of: last session whose fills are folded in; None for a new account.
        cash: USD, four places.
        shares: account shares by symbol (no zeros).
        strategy_shares: by strategy id, shares by symbol; they sum to `shares` to the share.
        held_since: by strategy id, by symbol, the session in which the holding began; a name that is missing
            was held long enough.
    """

    as_of: date | None
    cash: Decimal
    shares: Mapping[str, int]
    strategy_shares: Mapping[str, Mapping[str, int]]
    held_since: Mapping[str, Mapping[str, date]] = field(default_factory=dict)


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
        allocations: signed shares by strategy that this order serves; all of the order's sign, they sum to
            ``side.sign * quantity``.
        reference_price: close of D, USD.
        limit_price: USD, before it is rounded to the contract's tick; None for types without a limit.
    """

    symbol: str
    side: OrderSide
    quantity: int
    leg: str
    reference_price: Decimal
    order_type: OrderType
    allocations: tuple[tuple[str, int], ...]
    limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Cross:
    """What strategies exchange of one name among themselves at the open of E; the account trades nothing.

    Attributes:
        shares: signed shares by strategy, sorted by strategy; they sum to 0.
        reference_price: close of D, USD.
    """

    symbol: str
    shares: tuple[tuple[str, int], ...]
    reference_price: Decimal


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
        crosses: sorted by symbol: what strategies that trade against each other take from one another.
        verdicts: what the risk rules changed, or found no input for, in the order in which they ran.
    """

    session: date
    execution_session: date
    equity: Decimal
    cash: Decimal
    targets: tuple[TargetRow, ...]
    orders: tuple[PlannedOrder, ...]
    notes: tuple[str, ...] = ()
    crosses: tuple[Cross, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
