"""From the targets of all strategies to one basket for the account.

What belongs here: cash, sales beyond what the account holds, and the netting of strategies into orders whose
allocations sum to the share. What does not: what a strategy wants (`construction`), the risk rules (`risk`).
"""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from hrp_core.money import from_units, to_units
from hrp_core.portfolio.construction import Book, Targets, code
from hrp_core.portfolio.types import OrderSide, OrderType, PlannedOrder, PortfolioLimits, Reason

DECREASE = "decrease"
INCREASE = "increase"


def apportion(total: int, parts: Sequence[int]) -> list[int]:
    """Split `total` in proportion to `parts`, whole numbers that sum to it (method of largest remainders).

    Equal remainders go to the earlier part. `parts` may differ in sign; they may sum to 0 only if `total` is.
    """
    whole = sum(parts)
    if total == 0:
        return [0] * len(parts)
    if whole < 0:
        return [-share for share in apportion(-total, [-part for part in parts])]
    shares = [total * part // whole for part in parts]
    remainders = [total * part % whole for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda index: (-remainders[index], index))
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return shares


def keep_account_long(book: Book, targets: Targets) -> Targets:
    """Leave a name as it is where its sale would take the account below zero (or further below it).

    The account then has fewer shares than a strategy believes: somebody else's sale is in the ledger under
    another name.
    """
    before, after = book.before.sum(axis=0), targets.shares.sum(axis=0)
    short = after < np.minimum(before, 0)
    changed = short & (targets.shares != book.before)
    return Targets(
        np.where(changed, book.before, targets.shares),
        np.where(changed, np.int8(code(Reason.CLIP_SHORT)), targets.reason),
    )


def drop_small_orders(
    book: Book, targets: Targets, min_order_value: Decimal, *, exits_pass: bool = True
) -> Targets:
    """Leave names as they are whose net change is worth less than `min_order_value` (USD).

    With `exits_pass` an order that ends the account's position is let through whatever its worth.
    """
    before, after = book.before.sum(axis=0), targets.shares.sum(axis=0)
    net = after - before
    small = (net != 0) & (np.abs(net) * book.price < to_units(min_order_value))
    if exits_pass:
        small &= after != 0
    changed = small & (targets.shares != book.before)
    return Targets(
        np.where(changed, book.before, targets.shares),
        np.where(changed, np.int8(code(Reason.DROP_SMALL_ORDER)), targets.reason),
    )


def clip_to_cash(
    book: Book, targets: Targets, cash_units: int, reserve_units: int, limits: PortfolioLimits
) -> Targets:
    """Scale purchases down until cash after the basket, at the prices of the decision, keeps the reserve.

    The basket's own sales count as cash: all its orders execute at one moment, sales first. Commissions of
    all orders are set aside. All purchases shrink by one factor; one that falls below the smallest order is
    left out. The reserve is what covers an execution price above that of the decision.

    Args:
        book: the inputs.
        targets: what all strategies want.
        cash_units: cash before the basket, ten-thousandths of a dollar.
        reserve_units: cash that must remain.
        limits: smallest order and the estimate of commissions.
    """
    before, after = book.before.sum(axis=0), targets.shares.sum(axis=0)
    net = after - before
    # What closes a short position is an exit and is not scaled.
    purchase = np.maximum(after - np.maximum(before, 0), 0)
    if not purchase.any():
        return targets
    columns = np.flatnonzero(net).tolist()
    other = sum(int(purchase[column] - net[column]) * int(book.price[column]) for column in columns)
    commissions = sum(_commission(abs(int(net[column])), limits) for column in columns)
    available = cash_units + other - commissions - reserve_units
    wanted = sum(int(purchase[column]) * int(book.price[column]) for column in columns)
    if wanted <= available:
        return targets
    smallest = to_units(limits.min_order_value)
    excess = np.zeros_like(purchase)
    for column in np.flatnonzero(purchase).tolist():
        quantity = int(purchase[column])
        affordable = quantity * max(available, 0) // wanted
        if affordable * int(book.price[column]) < smallest:
            affordable = 0
        excess[column] = quantity - affordable
    return cut_purchases(book, targets, excess, Reason.CLIP_CASH)


def net_orders(
    symbols: Sequence[str], strategy_ids: Sequence[str], book: Book, targets: Targets
) -> tuple[PlannedOrder, ...]:
    """Return one order a name and leg: the account's change, and what of it is for which strategy.

    Where strategies trade against each other in one name, only the difference is ordered and the allocations
    have both signs; where they cancel out there is no order and their holdings stay as they are.

    Returns:
        Decreases before increases, each sorted by symbol.
    """
    change = targets.shares - book.before
    before, net = book.before.sum(axis=0), change.sum(axis=0)
    orders: list[PlannedOrder] = []
    for column in np.flatnonzero(net).tolist():
        start, delta = int(before[column]), int(net[column])
        closing = max(min(delta, -start), 0) if delta > 0 else min(max(delta, -start), 0)
        parts = [int(part) for part in change[:, column]]
        closed = apportion(closing, parts)
        opened = [part - share for part, share in zip(parts, closed, strict=True)]
        for leg, shares, quantity in ((DECREASE, closed, closing), (INCREASE, opened, delta - closing)):
            if quantity:
                orders.append(
                    PlannedOrder(
                        symbol=symbols[column],
                        side=OrderSide.BUY if quantity > 0 else OrderSide.SELL,
                        quantity=abs(quantity),
                        leg=leg,
                        reference_price=from_units(int(book.price[column])),
                        order_type=OrderType.MARKET,
                        allocations=tuple(
                            (name, share) for name, share in zip(strategy_ids, shares, strict=True) if share
                        ),
                    )
                )
    return tuple(sorted(orders, key=lambda order: (order.leg, order.symbol)))


def _commission(quantity: int, limits: PortfolioLimits) -> int:
    """Return an upper estimate of the commission of one order, ten-thousandths of a dollar."""
    return max(to_units(limits.commission_minimum), to_units(limits.commission_per_share * quantity))


def cut_purchases(book: Book, targets: Targets, excess: NDArray[np.int64], reason: Reason) -> Targets:
    """Take `excess` shares, shape (n,), from the purchases of each name, shared among its strategies."""
    shares, reasons = targets.shares.copy(), targets.reason.copy()
    for column in np.flatnonzero(excess).tolist():
        growth = np.maximum(shares[:, column] - book.before[:, column], 0)
        cut = np.array(apportion(int(excess[column]), growth.tolist()), dtype=np.int64)
        shares[:, column] -= cut
        reasons[cut > 0, column] = code(reason)
    return Targets(shares, reasons)
