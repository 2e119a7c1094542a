"""Dividends that the account is to receive: from stored prices and our own holdings, matched with its cash.

What belongs here: what is expected, and which expectation explains a difference in cash. What follows is
decided by `reconciliation`. A dividend is paid weeks after its ex-date, so that only cash that has moved by
exactly the amount is taken for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from hrp_core.calendar import Calendar
from hrp_core.errors import NotReadyError
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import CashFlow, FlowKind
from hrp_core.store import Store, read_table, table

PAID_WITHIN = 90
"""Sessions after the ex-date in which a dividend is expected."""
_CENT = Decimal("0.01")
_HALF_A_CENT = Decimal("0.005")


@dataclass(frozen=True, slots=True)
class ExpectedDividend:
    """One dividend of one name that was held at the close before its ex-date.

    Attributes:
        ex_date: first session that trades without it.
        per_share: USD.
        shares: held at the close before, signed.
    """

    symbol: str
    ex_date: date
    per_share: Decimal
    shares: int

    @property
    def amount(self) -> Decimal:
        """USD to the cent; negative on a short."""
        return (self.per_share * self.shares).quantize(_CENT, ROUND_HALF_EVEN)

    @property
    def reference(self) -> str:
        """Name of the cash flow that records it."""
        return f"dividend-{self.symbol}-{self.ex_date}"

    def __str__(self) -> str:
        return f"{self.symbol} {self.per_share} x {self.shares} of {self.ex_date} = {self.amount} USD"

    def flow(self, session: date, now: datetime) -> CashFlow:
        """Return the cash flow that records it as paid."""
        return CashFlow(
            self.reference, FlowKind.DIVIDEND, self.amount, session, now, "reconciliation", str(self)
        )


def expected_dividends(
    store: Store, journal: Journal, through: date, calendar: Calendar
) -> tuple[ExpectedDividend, ...]:
    """Return the dividends that the account is owed and that no cash flow has recorded, oldest first.

    Args:
        store: its prices state dividends on their ex-dates; a source without any expects none.
        journal: holdings and cash flows.
        through: last ex-date that counts.
        calendar: of the exchange.
    """
    try:
        rows = read_table(
            store,
            table("prices"),
            start=calendar.offset(through, -PAID_WITHIN),
            end=through,
            columns=["session", "symbol", "dividend"],
        )
    except NotReadyError:
        return ()
    paid = [flow for flow in journal.cash_flows() if flow.kind is FlowKind.DIVIDEND]
    stated = rows[rows["dividend"].fillna(0) > 0].sort_values(["session", "symbol"])
    held: dict[date, dict[str, int]] = {}
    found: list[ExpectedDividend] = []
    for ex_date, symbol, per_share in stated[["session", "symbol", "dividend"]].itertuples(index=False):
        before = calendar.previous(ex_date)
        if before not in held:
            holdings = read_book(journal, through=before).holdings
            held[before] = {name: holding.shares for name, holding in holdings.items()}
        shares = held[before].get(str(symbol), 0)
        item = ExpectedDividend(str(symbol), ex_date, Decimal(repr(float(per_share))), shares)
        if item.amount and not _is_recorded(item, paid):
            found.append(item)
    return tuple(found)


def matching_dividends(
    expected: Sequence[ExpectedDividend], difference: Decimal
) -> tuple[ExpectedDividend, ...]:
    """Return the dividends that explain a difference in cash (broker less ledger) to the cent.

    One of them alone, or all together; nothing where two different ones would do, for then nobody can tell
    which was paid.
    """
    alone = [item for item in expected if abs(item.amount - difference) <= _HALF_A_CENT]
    if alone:
        return tuple(alone) if len(alone) == 1 else ()
    total = sum((item.amount for item in expected), Decimal(0))
    return tuple(expected) if expected and abs(total - difference) <= _HALF_A_CENT else ()


def _is_recorded(item: ExpectedDividend, paid: Iterable[CashFlow]) -> bool:
    """Whether it was recorded, by us or under a name of his own by a person."""
    return any(
        flow.reference == item.reference or (flow.amount == item.amount and flow.session >= item.ex_date)
        for flow in paid
    )
