"""The orders an engine knows: those that can still trade, and those that ended today.

What belongs here: keeping them and finding them in the order in which they trade. What trades is decided in
the engine.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import date

from hrp_core.matching.orders import Order, Side


class OrderBook:
    """Tradable and completed orders.

    An order whose cancellation came too late is in both lists: the broker calls it cancelled, and it trades.

    Args:
        tradable: orders that can still trade.
        completed: orders that ended on the clock's day in New York.
    """

    def __init__(self, tradable: Iterable[Order], completed: Iterable[Order]) -> None:
        self._tradable: dict[int, Order] = {}
        self._selling: Counter[str] = Counter()
        for order in tradable:
            self.keep(order)
        self._completed = {order.perm_id: order for order in completed}

    @property
    def tradable(self) -> tuple[Order, ...]:
        """Orders that can still trade, by perm id."""
        return tuple(self._tradable[perm_id] for perm_id in sorted(self._tradable))

    @property
    def completed(self) -> tuple[Order, ...]:
        """Orders that ended today, by (closed_at, perm_id)."""
        return tuple(
            sorted(self._completed.values(), key=lambda order: (str(order.closed_at), order.perm_id))
        )

    def find(self, perm_id: int) -> Order:
        """Return an order of today.

        Raises:
            KeyError: it is neither open nor did it end today.
        """
        return self._tradable.get(perm_id) or self._completed[perm_id]

    def open_order(self, perm_id: int) -> Order:
        """Return an open order.

        Raises:
            KeyError: no open order has that perm id.
        """
        order = self._tradable[perm_id]
        if not order.state.is_open:
            raise KeyError(perm_id)
        return order

    def good_for(self, session: date) -> list[Order]:
        """Return the session's tradable orders in the order in which they trade."""
        orders = [order for order in self._tradable.values() if order.session == session]
        # Sales first, so that a basket's purchases can be paid for from its own sales at the same auction.
        return sorted(orders, key=lambda order: (order.side is Side.BUY, order.active_from, order.perm_id))

    def selling(self, symbol: str) -> int:
        """Return the shares of `symbol` in tradable sales."""
        return self._selling[symbol]

    def keep(self, order: Order) -> None:
        """Take in a tradable order, or its newer version."""
        self.drop(order.perm_id)
        self._tradable[order.perm_id] = order
        if order.side is Side.SELL:
            self._selling[order.symbol] += order.remaining

    def drop(self, perm_id: int) -> None:
        """Let an order trade no more."""
        order = self._tradable.pop(perm_id, None)
        if order is not None and order.side is Side.SELL:
            self._selling[order.symbol] -= order.remaining

    def replace(self, order: Order) -> None:
        """Put the newer version of an order wherever the older one is.

        An order that ended on an earlier day and traded after all is a completed order of today.
        """
        if order.perm_id in self._tradable:
            self.keep(order)
        if not order.state.is_open:
            self._completed[order.perm_id] = order

    def end(self, order: Order) -> None:
        """Make an order a completed one."""
        self.drop(order.perm_id)
        self._completed[order.perm_id] = order

    def forget_completed(self) -> None:
        """Empty the list of completed orders, as midnight does."""
        self._completed.clear()
