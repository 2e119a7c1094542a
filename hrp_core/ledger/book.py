"""The book: cash and positions as a pure fold of cash flows, executions, commissions, crosses and splits.

What belongs here: the arithmetic, for the account and for each strategy's share of it. Prices and valuation
are in `nav`; nothing here, or there, has ever seen a broker's own positions or cash. A cross moves shares and
cash between strategies; the account's do not know of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from hrp_core.calendar import NEW_YORK
from hrp_core.ledger.allocation import FillPart, Progress, parts_of
from hrp_core.ledger.records import AccountRecords
from hrp_core.ledger.splits import divide_split, split_shares
from hrp_core.ledger.types import BookedCross, BookedSplit, CashFlow, Execution, OrderAllocation
from hrp_core.money import from_units, to_average, to_money, to_units
from hrp_core.portfolio.types import LedgerState, OrderSide

Move = Execution | BookedCross | BookedSplit
"""What moves shares."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Shares of one name.

    Attributes:
        shares: signed, never zero.
        average_price: entry price by average cost over our own executions, commissions excluded, USD a
            share, six places.
        since: session in which the holding began; a holding that changes sides begins anew.
    """

    shares: int
    average_price: Decimal
    since: date | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class StrategyMoney:
    """What one strategy's trading did in cash, USD. Opening balance and flows are no strategy's.

    Attributes:
        cash: sales less purchases, crosses included, less commissions reported so far.
        realized_pnl: against its own average prices, before commissions.
        commissions: its part of those reported so far.
    """

    cash: Decimal
    realized_pnl: Decimal
    commissions: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """The account after everything that was folded in.

    Attributes:
        as_of: session of the newest execution; None without any.
        cash: USD: flows, minus purchases, plus sales, minus the commissions reported so far.
        holdings: account holdings by symbol.
        strategies: holdings by strategy, then by symbol; they sum to `holdings` to the share.
        realized_pnl: USD against average prices, before commissions.
        unreported_commissions: executions whose commission is missing; `cash` counts them as zero.
        crosses: each strategy's part of each cross whose price is known; of the account they are no trades.
            Until then its shares have moved at the close of D, and it is not listed.
        money: by strategy that ever traded; with `unallocated_cash` it sums to `cash`.
    """

    as_of: date | None
    cash: Decimal
    holdings: Mapping[str, Holding]
    strategies: Mapping[str, Mapping[str, Holding]]
    fills: tuple[FillPart, ...]
    flows: tuple[CashFlow, ...]
    realized_pnl: Decimal
    commissions: Decimal
    unreported_commissions: int
    crosses: tuple[FillPart, ...] = ()
    money: Mapping[str, StrategyMoney] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """Every name that the account or one of its strategies holds."""
        return frozenset(self.holdings).union(*self.strategies.values())

    @property
    def unallocated_cash(self) -> Decimal:
        """Cash that no strategy's trading brought or took: the opening balance and all flows, USD."""
        return self.cash - sum((money.cash for money in self.money.values()), Decimal(0))

    def state(self) -> LedgerState:
        """Return cash and shares, the form in which planning takes the ledger."""
        return ledger_state(self.as_of, self.cash, self.holdings, self.strategies)


def read_book(records: AccountRecords, through: date | None = None) -> Book:
    """Return the book of a journal, through the end of a session, or with everything it knows."""
    return fold_book(
        records.cash_flows(),
        records.book_executions(),
        records.order_allocations(),
        through,
        [*records.book_crosses(), *records.splits()],
    )


def read_carve_out(records: AccountRecords) -> Book:
    """Return what orders placed elsewhere did to the account and was carved out of the book."""
    return fold_book((), records.carved_out_executions(), {})


def fold_book(
    flows: Iterable[CashFlow],
    executions: Iterable[Execution],
    allocations: Mapping[str, OrderAllocation],
    through: date | None = None,
    crosses: Iterable[BookedCross | BookedSplit] = (),
) -> Book:
    """Fold cash flows, executions, crosses and splits into a book, in whatever order they are given.

    Args:
        flows: all cash flows.
        executions: the effective executions (corrections applied), commissions joined.
        allocations: how orders are shared among strategies, by orderRef; recorded trades by execution id.
        through: last session to fold in; None for all.
        crosses: those whose open has passed; and the splits.
    """
    counted = [flow for flow in flows if through is None or flow.session <= through]
    fold = BookFold(sum((flow.amount for flow in counted), Decimal(0)))
    for item in in_order(executions, crosses):
        if through is None or session_of(item) <= through:
            fold.add(item, allocations)
    return fold.book(counted)


def in_order(executions: Iterable[Execution], crosses: Iterable[BookedCross | BookedSplit]) -> list[Move]:
    """Return what moved shares, in the order in which it did; executions last of what is of one moment."""
    return sorted([*executions, *crosses], key=_place)


def _place(item: Move) -> tuple[datetime, int, str]:
    if isinstance(item, BookedSplit):
        return item.executes_at, 0, item.symbol
    if isinstance(item, BookedCross):
        return item.executes_at, 1, item.cross_id
    return item.executed_at, 2, item.exec_id


def session_of(item: Move) -> date:
    """Return the session in which an execution, a cross or a split took effect (New York date)."""
    return item.executed_at.astimezone(NEW_YORK).date() if isinstance(item, Execution) else item.session


class BookFold:
    """A book while it is being folded, one execution, cross or split at a time in the order of `in_order`.

    Args:
        cash: USD at the start.

    Attributes:
        as_of: session of the newest execution, cross or split; None without any.
        unreported_commissions: executions whose commission is missing; `cash` counts them as zero.
        fills: parts of the executions folded in; whoever folds session by session may empty it.
        crosses: likewise of the crosses whose price is known.
    """

    def __init__(self, cash: Decimal) -> None:
        self.as_of: date | None = None
        self.unreported_commissions = 0
        self.fills: list[FillPart] = []
        self.crosses: list[FillPart] = []
        self._cash_units = to_units(cash)
        self._commission_units = 0
        self._account = _Positions()
        self._strategies: dict[str, _Positions] = {}
        self._progress: dict[str, Progress] = {}
        self._spent: dict[str, int] = {}
        self._paid: dict[str, int] = {}

    @property
    def cash(self) -> Decimal:
        """Cash after what was folded in, USD."""
        return from_units(self._cash_units - self._commission_units)

    @property
    def commissions(self) -> Decimal:
        """Commissions reported so far, USD."""
        return from_units(self._commission_units)

    @property
    def realized_pnl(self) -> Decimal:
        """Profit realized against average prices, before commissions, USD."""
        return self._account.realized

    @property
    def holdings(self) -> Mapping[str, Holding]:
        """The account's holdings by symbol."""
        return dict(self._account.holdings)

    @property
    def strategies(self) -> Mapping[str, Mapping[str, Holding]]:
        """Holdings by strategy, then by symbol, without strategies that hold nothing."""
        return {name: dict(held.holdings) for name, held in self._strategies.items() if held.holdings}

    def add_cash(self, amount: Decimal) -> None:
        """Add cash that moved without an execution (USD, signed)."""
        self._cash_units += to_units(amount)

    @property
    def money(self) -> Mapping[str, StrategyMoney]:
        """Cash and profit by strategy that ever traded."""
        return {
            name: StrategyMoney(
                cash=from_units(-self._spent[name] - self._paid[name]),
                realized_pnl=held.realized,
                commissions=from_units(self._paid[name]),
            )
            for name, held in sorted(self._strategies.items())
        }

    def add(self, item: Move, allocations: Mapping[str, OrderAllocation]) -> None:
        """Fold in what moved shares; `allocations` by orderRef, or execution id where there is none."""
        if isinstance(item, BookedSplit):
            self.split(item)
        elif isinstance(item, BookedCross):
            self.cross(item)
        else:
            self.trade(item, allocations.get(item.order_ref or item.exec_id))

    def trade(self, item: Execution, allocation: OrderAllocation | None) -> None:
        """Fold in one execution."""
        self.as_of = session_of(item)
        self._cash_units -= item.side.sign * item.shares * to_units(item.price)
        if item.commission is None:
            self.unreported_commissions += 1
        else:
            self._commission_units += to_units(item.commission)
        self._account.trade(item.contract.symbol, item.side.sign * item.shares, item.price, self.as_of)
        parts = parts_of(item, self.as_of, allocation, self._progress)
        self._give(parts)
        self.fills += parts

    def cross(self, item: BookedCross) -> None:
        """Fold in one cross: at its price, or at the close of D while that is not known."""
        self.as_of = item.session
        parts = [
            FillPart(
                exec_id=item.cross_id,
                intent_id=None,
                order_ref=item.cross_id,
                strategy_id=name,
                symbol=item.symbol,
                side=OrderSide.BUY if shares > 0 else OrderSide.SELL,
                shares=abs(shares),
                price=item.reference_price if item.price is None else item.price,
                commission=Decimal(0),
                executed_at=item.executes_at,
                session=item.session,
            )
            for name, shares in sorted(item.shares)
        ]
        self._give(parts)
        if item.price is not None:
            self.crosses += parts

    def split(self, item: BookedSplit) -> None:
        """Fold in one split: shares times its ratio, average prices divided by it, cash as it was.

        The fraction of a share that it leaves goes at no price: what is paid for it is a cash flow.
        """
        self.as_of = item.session
        held = self._account.holdings.get(item.symbol)
        if held is not None:
            self._account.split(item, split_shares(held.shares, item.ratio))
        owned = {
            name: each.holdings[item.symbol].shares
            for name, each in self._strategies.items()
            if item.symbol in each.holdings
        }
        for name, shares in divide_split(owned, item.ratio).items():
            self._strategies[name].split(item, shares)

    def _give(self, parts: Sequence[FillPart]) -> None:
        for part in parts:
            name, signed = part.strategy_id, part.side.sign * part.shares
            self._strategies.setdefault(name, _Positions()).trade(
                part.symbol, signed, part.price, part.session
            )
            self._spent[name] = self._spent.get(name, 0) + signed * to_units(part.price)
            self._paid[name] = self._paid.get(name, 0) + to_units(part.commission or 0)

    def book(self, flows: Iterable[CashFlow]) -> Book:
        """Return the book as it stands; `flows` are those behind its cash."""
        return Book(
            as_of=self.as_of,
            cash=self.cash,
            holdings=self.holdings,
            strategies=self.strategies,
            fills=tuple(self.fills),
            flows=tuple(flows),
            realized_pnl=self.realized_pnl,
            commissions=self.commissions,
            unreported_commissions=self.unreported_commissions,
            crosses=tuple(self.crosses),
            money=self.money,
        )

    def state(self) -> LedgerState:
        """Return cash and shares, the form in which planning takes the ledger."""
        return ledger_state(self.as_of, self.cash, self.holdings, self.strategies)


def ledger_state(
    as_of: date | None,
    cash: Decimal,
    holdings: Mapping[str, Holding],
    strategies: Mapping[str, Mapping[str, Holding]],
) -> LedgerState:
    """Return the shares behind holdings, sorted, as planning takes them."""
    return LedgerState(
        as_of=as_of,
        cash=cash,
        shares={symbol: holding.shares for symbol, holding in sorted(holdings.items())},
        strategy_shares={
            name: {symbol: holding.shares for symbol, holding in sorted(held.items())}
            for name, held in sorted(strategies.items())
        },
        held_since={
            name: {symbol: each.since for symbol, each in sorted(held.items()) if each.since is not None}
            for name, held in sorted(strategies.items())
        },
    )


class _Positions:
    """Holdings and realized profit by average cost, while they are being folded."""

    def __init__(self) -> None:
        self.holdings: dict[str, Holding] = {}
        self.realized = Decimal(0)

    def split(self, item: BookedSplit, after: int) -> None:
        """Turn the shares of a holding into `after`; what rounding takes or gives is realized at no price."""
        held, ratio = self.holdings[item.symbol], item.ratio
        average = to_average(held.average_price * ratio.denominator / ratio.numerator)
        rounded = held.shares * ratio - after
        self.realized -= to_money(average * rounded.numerator / rounded.denominator)
        if after:
            self.holdings[item.symbol] = Holding(after, average, held.since)
        else:
            del self.holdings[item.symbol]

    def trade(self, symbol: str, signed: int, price: Decimal, session: date | None = None) -> None:
        """Apply `signed` shares: reducing realizes, increasing averages, crossing zero does both."""
        held = self.holdings.get(symbol, Holding(0, Decimal(0), session))
        after = held.shares + signed
        if held.shares * signed < 0:
            closed = min(abs(signed), abs(held.shares))
            direction = 1 if held.shares > 0 else -1
            self.realized += to_money((price - held.average_price) * closed * direction)
            average = held.average_price if after * held.shares > 0 else price
        elif signed:
            average = (held.average_price * held.shares + price * signed) / after
        else:
            return
        if after:
            since = held.since if after * held.shares >= 0 else session
            self.holdings[symbol] = Holding(after, to_average(average), since)
        else:
            del self.holdings[symbol]
