"""Reconciliation: the ledger against what the broker says of the account, as typed breaks.

What belongs here: comparing, as pure functions. What follows from a break is decided by whoever asked.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal

from hrp_core.execution.broker import BrokerOrder, BrokerPosition, BrokerSnapshot
from hrp_core.ledger.book import Book
from hrp_core.ledger.types import Attempt, Break, BreakKind, Intent

CASH_TOLERANCE = Decimal("0.01")


def reconcile(book: Book, snapshot: BrokerSnapshot, carve_out: Book | None = None) -> tuple[Break, ...]:
    """Return each difference between the ledger and a complete snapshot: any share, more than a cent.

    Args:
        book: the ledger.
        snapshot: what the broker says.
        carve_out: what was traded elsewhere in the account and is no part of the ledger.
    """
    shares = {symbol: holding.shares for symbol, holding in book.holdings.items()}
    cash, unreported = book.cash, book.unreported_commissions
    if carve_out is not None:
        for symbol, holding in carve_out.holdings.items():
            shares[symbol] = shares.get(symbol, 0) + holding.shares
        cash, unreported = cash + carve_out.cash, unreported + carve_out.unreported_commissions
    return (
        *share_breaks(shares, broker_shares(snapshot.positions)),
        *cash_breaks(cash, snapshot.values.cash, unreported),
    )


def broker_shares(positions: Iterable[BrokerPosition]) -> dict[str, int]:
    """Return shares by symbol; a name absent from a complete snapshot is flat (F12)."""
    shares: dict[str, int] = {}
    for position in positions:
        shares[position.contract.symbol] = shares.get(position.contract.symbol, 0) + position.shares
    return {symbol: count for symbol, count in sorted(shares.items()) if count}


def share_breaks(ledger: Mapping[str, int], broker: Mapping[str, int]) -> tuple[Break, ...]:
    """Return a break for each symbol whose shares differ."""
    return tuple(
        Break(
            BreakKind.SHARES,
            f"{symbol}: the ledger has {ledger.get(symbol, 0)} shares, the broker {broker.get(symbol, 0)}",
            symbol,
        )
        for symbol in sorted(ledger.keys() | broker.keys())
        if ledger.get(symbol, 0) != broker.get(symbol, 0)
    )


def cash_breaks(ledger: Decimal, broker: Decimal, unreported_commissions: int = 0) -> tuple[Break, ...]:
    """Return a break when cash differs by more than a cent.

    Args:
        ledger: USD.
        broker: USD.
        unreported_commissions: executions whose commission the ledger still counts as zero.
    """
    if abs(ledger - broker) <= CASH_TOLERANCE:
        return ()
    why = (
        f"; {unreported_commissions} commissions are not reported yet and may explain it"
        if unreported_commissions
        else ""
    )
    return (
        Break(
            BreakKind.CASH,
            f"cash: the ledger has {ledger} USD, the broker {broker} ({broker - ledger:+}){why}",
        ),
    )


def order_breaks(
    orders: Iterable[BrokerOrder],
    sent: Mapping[str, tuple[Attempt, Intent]],
    decided: Container[int] = (),
) -> tuple[Break, ...]:
    """Return a break for each order at the broker that is not ours, or not what we sent.

    Args:
        orders: open and completed orders of a snapshot.
        sent: every attempt with its intent, by orderRef.
        decided: permIds of orders placed elsewhere about which a decision was made.
    """
    found: list[Break] = []
    for order in orders:
        symbol = order.contract.symbol
        told = f"{order.side.value} {order.quantity} {symbol}"
        if order.order_ref not in sent and order.perm_id in decided:
            continue
        if order.order_ref not in sent:
            found.append(
                Break(
                    BreakKind.EXTERNAL,
                    f"order {order.order_ref!r} (permId {order.perm_id}, {told}, {order.status.value}) was "
                    "not sent from this journal",
                    symbol,
                    order.order_ref,
                )
            )
            continue
        attempt, intent = sent[order.order_ref]
        # The broker reports no quantity for a completed order that was not filled whole.
        quantity = order.quantity or attempt.quantity
        if (order.side, quantity, order.contract.con_id) != (
            intent.side,
            attempt.quantity,
            intent.contract.con_id,
        ):
            found.append(
                Break(
                    BreakKind.DIFFERENT_ORDER,
                    f"{order.order_ref} is {told} (conId {order.contract.con_id}) at the broker, but "
                    f"{intent.side.value} {attempt.quantity} {intent.contract.symbol} (conId "
                    f"{intent.contract.con_id}) was sent",
                    symbol,
                    order.order_ref,
                )
            )
    return tuple(found)


def missing_fills(orders: Iterable[BrokerOrder], filled: Mapping[str, int]) -> tuple[str, ...]:
    """Return a message for each order of ours whose executions do not add up to what its list entry says.

    Args:
        orders: open and completed orders of a snapshot.
        filled: shares of the known executions, by orderRef, of every attempt.
    """
    return tuple(
        f"{order.order_ref} ({order.side.value} {order.contract.symbol}): the broker's order list says "
        f"{order.filled} shares filled, its executions add up to {filled[order.order_ref]}"
        for order in orders
        if order.order_ref in filled and order.filled != filled[order.order_ref]
    )


def describe(breaks: Sequence[Break]) -> str:
    """Return the breaks as one sentence part."""
    return "; ".join(item.message for item in breaks)
