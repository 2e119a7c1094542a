"""From the targets of all strategies to one basket for the account.

What belongs here: cash, sales beyond what the account holds, what strategies that trade against each other
take from one another, and the netting of the rest into orders whose allocations sum to the share. What does
not: what a strategy wants (`construction`), the risk rules (`risk`).
"""

from collections.abc import Sequence
from decimal import Decimal
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from hrp_core.money import from_units, to_units
from hrp_core.portfolio.construction import Book, Shares, Targets, code, fraction
from hrp_core.portfolio.types import Cross, OrderSide, PlannedOrder, PortfolioLimits, Reason

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
    """Leave out the orders that are worth less than `min_order_value` (USD).

    With `exits_pass` an order that ends the account's position is let through whatever its worth. What the
    strategies can take from one another needs no order and stays.
    """
    before, after = book.before.sum(axis=0), targets.shares.sum(axis=0)
    net = after - before
    small = (net != 0) & (np.abs(net) * book.price < to_units(min_order_value))
    if exits_pass:
        small &= after != 0
    return cut_changes(book, targets, np.where(small, net, 0), Reason.DROP_SMALL_ORDER)


def clip_to_cash(
    book: Book, targets: Targets, cash_units: int, reserve_units: int, limits: PortfolioLimits
) -> Targets:
    """Scale purchases down until cash after the basket, at the prices of the decision, keeps the reserve.

    The basket's own sales count as cash: all its orders execute at one moment, sales first. Commissions of
    all orders are set aside. All purchases shrink by one factor; one that falls below the smallest order is
    left out. The reserve is what covers an execution price above that of the decision. Orders with a limit
    count at it: the most that a purchase costs, the least that a sale brings.

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
    price = {
        column: _limit_units(int(book.price[column]), 1 if net[column] > 0 else -1, limits)
        or int(book.price[column])
        for column in columns
    }
    other = sum(int(purchase[column] - net[column]) * price[column] for column in columns)
    commissions = sum(_commission(abs(int(net[column])), limits) for column in columns)
    available = cash_units + other - commissions - reserve_units
    wanted = sum(int(purchase[column]) * price[column] for column in columns)
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
    return cut_changes(book, targets, excess, Reason.CLIP_CASH)


def net_orders(
    symbols: Sequence[str],
    strategy_ids: Sequence[str],
    book: Book,
    targets: Targets,
    limits: PortfolioLimits | None = None,
) -> tuple[PlannedOrder, ...]:
    """Return one order a name and leg: the account's change, and what of it is for which strategy.

    Where strategies trade against each other in one name, only the difference is ordered; what they can take
    from one another is in `net_crosses`.

    Args:
        symbols: n symbols.
        strategy_ids: S strategies.
        book: the inputs.
        targets: what is to be held.
        limits: type and limit of the orders; None: market orders.

    Returns:
        Decreases before increases, each sorted by symbol.
    """
    limits = limits or PortfolioLimits()
    change = targets.shares - book.before
    before, net = book.before.sum(axis=0), change.sum(axis=0)
    orders: list[PlannedOrder] = []
    for column in np.flatnonzero(net).tolist():
        start, delta = int(before[column]), int(net[column])
        closing = max(min(delta, -start), 0) if delta > 0 else min(max(delta, -start), 0)
        parts = [int(part) for part in change[:, column]]
        ordered = [part - share for part, share in zip(parts, _crossed(parts), strict=True)]
        closed = apportion(closing, ordered)
        opened = [part - share for part, share in zip(ordered, closed, strict=True)]
        for leg, shares, quantity in ((DECREASE, closed, closing), (INCREASE, opened, delta - closing)):
            if quantity:
                price = int(book.price[column])
                limit = _limit_units(price, quantity, limits)
                orders.append(
                    PlannedOrder(
                        symbol=symbols[column],
                        side=OrderSide.BUY if quantity > 0 else OrderSide.SELL,
                        quantity=abs(quantity),
                        leg=leg,
                        reference_price=from_units(price),
                        order_type=limits.order_type,
                        allocations=_named(strategy_ids, shares),
                        limit_price=None if limit is None else from_units(limit),
                    )
                )
    return tuple(sorted(orders, key=lambda order: (order.leg, order.symbol)))


def net_crosses(
    symbols: Sequence[str], strategy_ids: Sequence[str], book: Book, targets: Targets
) -> tuple[Cross, ...]:
    """Return what strategies on opposite sides of one name take from one another, sorted by symbol.

    The smaller side trades with the other one whole; the larger side gives up for it in proportion, by
    largest remainder, and orders the rest.
    """
    change = targets.shares - book.before
    opposed = (change > 0).any(axis=0) & (change < 0).any(axis=0)
    crosses = [
        Cross(
            symbol=symbols[column],
            shares=_named(strategy_ids, _crossed([int(part) for part in change[:, column]])),
            reference_price=from_units(int(book.price[column])),
        )
        for column in np.flatnonzero(opposed).tolist()
    ]
    return tuple(sorted(crosses, key=lambda cross: cross.symbol))


def _crossed(parts: Sequence[int]) -> list[int]:
    """Return what of signed changes cancels out among them: of each part's sign, summing to 0."""
    buys, sells = [max(part, 0) for part in parts], [max(-part, 0) for part in parts]
    quantity = min(sum(buys), sum(sells))
    if not quantity:
        return [0] * len(parts)
    bought, sold = apportion(quantity, buys), apportion(quantity, sells)
    return [gained - given for gained, given in zip(bought, sold, strict=True)]


def _named(strategy_ids: Sequence[str], shares: Sequence[int]) -> tuple[tuple[str, int], ...]:
    return tuple((name, share) for name, share in zip(strategy_ids, shares, strict=True) if share)


def order_prices(prices: Shares, limits: PortfolioLimits) -> Shares:
    """Return what purchases at these prices state: their limit where they have one, else the price."""
    if not limits.order_type.has_limit:
        return prices
    gap = 1 + fraction(limits.limit_gap_pct)
    return prices * gap.numerator // gap.denominator


def _limit_units(price: int, sign: int, limits: PortfolioLimits) -> int | None:
    """Return the limit of an order (its sign counts), rounded to its passive side; None without one."""
    if not limits.order_type.has_limit:
        return None
    gap = fraction(limits.limit_gap_pct)
    return floor(price * (1 + gap)) if sign > 0 else ceil(price * (1 - gap))


def _commission(quantity: int, limits: PortfolioLimits) -> int:
    """Return an upper estimate of the commission of one order, ten-thousandths of a dollar."""
    return max(to_units(limits.commission_minimum), to_units(limits.commission_per_share * quantity))


def cut_changes(book: Book, targets: Targets, excess: NDArray[np.int64], reason: Reason) -> Targets:
    """Take back `excess` (shape (n,)) shares of what is bought of each name, or sold where it is negative.

    The strategies that do so share it in proportion to what they change.
    """
    shares, reasons = targets.shares.copy(), targets.reason.copy()
    for column in np.flatnonzero(excess).tolist():
        change = shares[:, column] - book.before[:, column]
        moving = np.maximum(change, 0) if excess[column] > 0 else np.minimum(change, 0)
        cut = np.array(apportion(int(excess[column]), moving.tolist()), dtype=np.int64)
        shares[:, column] -= cut
        reasons[cut != 0, column] = code(reason)
    return Targets(shares, reasons)
