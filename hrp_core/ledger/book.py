"""The book: cash and positions as a pure fold of cash flows, executions and commissions.

What belongs here: the arithmetic, for the account and for each strategy's share of it. Prices and valuation
are in `nav`; nothing here, or there, has ever seen a broker's own positions or cash.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from hrp_core.calendar import NEW_YORK
from hrp_core.ledger.records import AccountRecords
from hrp_core.ledger.types import CashFlow, Execution, OrderAllocation
from hrp_core.money import from_units, to_average, to_money, to_units
from hrp_core.portfolio.types import LedgerState, OrderSide

EXTERNAL = "EXTERNAL"
"""Strategy id of what was traded by orders that are not ours, or beyond an order's quantity."""


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
class FillPart:
    """One strategy's part of one execution. The parts of an execution sum to it, commission included.

    Attributes:
        intent_id: None for an order placed elsewhere.
        shares: positive; `side` gives the direction.
        commission: USD; None until reported.
        session: the session it traded in (New York date).
    """

    exec_id: str
    intent_id: str | None
    order_ref: str
    strategy_id: str
    symbol: str
    side: OrderSide
    shares: int
    price: Decimal
    commission: Decimal | None
    executed_at: datetime
    session: date


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

    def state(self) -> LedgerState:
        """Return cash and shares, the form in which planning takes the ledger."""
        return ledger_state(self.as_of, self.cash, self.holdings, self.strategies)


def read_book(records: AccountRecords, through: date | None = None) -> Book:
    """Return the book of a journal, through the end of a session, or with everything it knows."""
    return fold_book(records.cash_flows(), records.book_executions(), records.order_allocations(), through)


def read_carve_out(records: AccountRecords) -> Book:
    """Return what orders placed elsewhere did to the account and was carved out of the book."""
    return fold_book((), records.carved_out_executions(), {})


def fold_book(
    flows: Iterable[CashFlow],
    executions: Iterable[Execution],
    allocations: Mapping[str, OrderAllocation],
    through: date | None = None,
) -> Book:
    """Fold cash flows and executions into a book. The order in which they are given does not matter.

    Args:
        flows: all cash flows.
        executions: the effective executions (corrections applied), commissions joined.
        allocations: how orders are shared among strategies, by orderRef.
        through: last session to fold in; None for all.
    """
    counted = [flow for flow in flows if through is None or flow.session <= through]
    fold = BookFold(sum((flow.amount for flow in counted), Decimal(0)))
    fills: list[FillPart] = []
    for item in sorted(executions, key=lambda execution: (execution.executed_at, execution.exec_id)):
        if through is None or item.executed_at.astimezone(NEW_YORK).date() <= through:
            fills += fold.trade(item, allocations.get(item.order_ref))
    return Book(
        as_of=fold.as_of,
        cash=fold.cash,
        holdings=fold.holdings,
        strategies=fold.strategies,
        fills=tuple(fills),
        flows=tuple(counted),
        realized_pnl=fold.realized_pnl,
        commissions=fold.commissions,
        unreported_commissions=fold.unreported_commissions,
    )


class BookFold:
    """A book while it is being folded, one execution at a time in the order of their execution.

    Args:
        cash: USD at the start.

    Attributes:
        as_of: session of the newest execution; None without any.
        unreported_commissions: executions whose commission is missing; `cash` counts them as zero.
    """

    def __init__(self, cash: Decimal) -> None:
        self.as_of: date | None = None
        self.unreported_commissions = 0
        self._cash_units = to_units(cash)
        self._commission_units = 0
        self._account = _Positions()
        self._strategies: dict[str, _Positions] = {}
        self._progress: dict[str, _Progress] = {}

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

    def trade(self, item: Execution, allocation: OrderAllocation | None) -> list[FillPart]:
        """Fold in one execution and return each strategy's part of it."""
        self.as_of = item.executed_at.astimezone(NEW_YORK).date()
        self._cash_units -= item.side.sign * item.shares * to_units(item.price)
        if item.commission is None:
            self.unreported_commissions += 1
        else:
            self._commission_units += to_units(item.commission)
        self._account.trade(item.contract.symbol, item.side.sign * item.shares, item.price, self.as_of)
        parts = _parts(item, self.as_of, allocation, self._progress)
        for part in parts:
            held = self._strategies.setdefault(part.strategy_id, _Positions())
            held.trade(part.symbol, part.side.sign * part.shares, part.price, self.as_of)
        return parts

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


def allocate(allocation: OrderAllocation, filled: int) -> dict[str, int]:
    """Return the signed shares of each strategy once `filled` shares of an order have traded.

    Largest remainder, applied share by share: each share goes to the strategy that is furthest behind its
    proportion (first by name among equals). So the parts always sum to the fills, depend on the cumulative
    quantity alone and not on how it was split into executions, never shrink as it grows (which largest
    remainder on the total does, from three strategies on: the Alabama paradox), and end at the allocation.

    Args:
        allocation: how the order is shared. Strategies on the other side than the order's are served in
            proportion, from the strategies on its side.
        filled: shares traded over all attempts, 0 to `allocation.quantity`.
    """
    names = sorted(name for name, shares in allocation.shares if shares)
    wanted = dict(allocation.shares)
    sign = allocation.side.sign
    with_order = [name for name in names if wanted[name] * sign > 0]
    against = [name for name in names if wanted[name] * sign < 0]
    crossed = sum(abs(wanted[name]) for name in against) * filled // allocation.quantity
    shares = dict.fromkeys(names, 0)
    for group, units, direction in ((with_order, filled + crossed, sign), (against, crossed, -sign)):
        for name, count in zip(group, _apportion([abs(wanted[n]) for n in group], units), strict=True):
            shares[name] = direction * count
    return shares


def _apportion(weights: Sequence[int], units: int) -> list[int]:
    total = sum(weights)
    if units >= total:
        return list(weights)
    if len(weights) == 1:
        return [units]
    given = [0] * len(weights)
    for count in range(1, units + 1):
        behind = [weight * count - have * total for weight, have in zip(weights, given, strict=True)]
        given[behind.index(max(behind))] += 1
    return given


@dataclass(slots=True)
class _Progress:
    """How far an order has been filled and who got what."""

    filled: int = 0
    shares: dict[str, int] = field(default_factory=dict)


def _parts(
    item: Execution, session: date, allocation: OrderAllocation | None, progress: dict[str, _Progress]
) -> list[FillPart]:
    signed = item.side.sign * item.shares
    given: dict[str, int] = {}
    if allocation is not None and allocation.side is item.side:
        done = progress.setdefault(allocation.intent_id, _Progress())
        done.filled += item.shares
        now = allocate(allocation, min(done.filled, allocation.quantity))
        given = {name: shares - done.shares.get(name, 0) for name, shares in now.items()}
        done.shares = now
    rest = signed - sum(given.values())
    if rest:
        given[EXTERNAL] = given.get(EXTERNAL, 0) + rest
    parts = [(name, shares) for name, shares in sorted(given.items()) if shares]
    commissions = _split_commission(item.commission, [abs(shares) for _, shares in parts])
    return [
        FillPart(
            exec_id=item.exec_id,
            intent_id=None if allocation is None else allocation.intent_id,
            order_ref=item.order_ref,
            strategy_id=name,
            symbol=item.contract.symbol,
            side=OrderSide.BUY if shares > 0 else OrderSide.SELL,
            shares=abs(shares),
            price=item.price,
            commission=commission,
            executed_at=item.executed_at,
            session=session,
        )
        for (name, shares), commission in zip(parts, commissions, strict=True)
    ]


def _split_commission(commission: Decimal | None, weights: Sequence[int]) -> list[Decimal | None]:
    """Split a commission in proportion, by largest remainder in ten-thousandths of a dollar."""
    if commission is None:
        return [None] * len(weights)
    units, total = to_units(commission), sum(weights)
    parts = [units * weight // total for weight in weights]
    remainders = [units * weight % total for weight in weights]
    behind = sorted(range(len(weights)), key=lambda index: (-remainders[index], index))
    for index in behind[: units - sum(parts)]:
        parts[index] += 1
    return [from_units(part) for part in parts]


class _Positions:
    """Holdings and realized profit by average cost, while they are being folded."""

    def __init__(self) -> None:
        self.holdings: dict[str, Holding] = {}
        self.realized = Decimal(0)

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
