"""What a decision must satisfy before it is frozen, whoever made it.

What belongs here: contradictions within one plan. What does not: whether it is a good plan (`portfolio`), and
whether it may be sent (`execution`).
"""

from hrp_core.errors import DataError
from hrp_core.money import is_price
from hrp_core.portfolio.types import Plan


def check_plan(plan: Plan) -> None:
    """Refuse orders and crosses that contradict themselves.

    Raises:
        DataError: shares that do not sum up, an order without shares, a missing or needless limit price.
    """
    for order in plan.orders:
        if sum(shares for _, shares in order.allocations) != order.side.sign * order.quantity:
            raise DataError(
                f"the allocations of {order.symbol} {order.allocations} do not sum to "
                f"{order.side.value} {order.quantity}; nothing was frozen"
            )
        if order.quantity <= 0:
            raise DataError(
                f"the order in {order.symbol} asks for {order.quantity} shares; nothing was frozen"
            )
        if any(shares * order.side.sign <= 0 for _, shares in order.allocations):
            raise DataError(
                f"the {order.side.value} order in {order.symbol} serves strategies on the other side "
                f"{order.allocations}; nothing was frozen"
            )
        if order.order_type.has_limit is not is_price(order.limit_price):
            limit = "no limit price" if order.order_type.has_limit else f"the limit price {order.limit_price}"
            raise DataError(
                f"the {order.order_type.value} order in {order.symbol} has {limit}; nothing was frozen"
            )
    for cross in plan.crosses:
        if sum(shares for _, shares in cross.shares) or not all(shares for _, shares in cross.shares):
            raise DataError(
                f"the cross of {cross.symbol} {cross.shares} takes and gives different numbers of shares; "
                "nothing was frozen"
            )
