"""From IB's values to ours and back, as pure functions.

What belongs here: what a raw status, order, execution, commission, position or account figure means in our
types, and the contract and order that we send. No connection, no state, no import of the client library: its
objects come in as they are and its classes as an argument.
"""

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import BrokerError, IncompleteSnapshotError
from hrp_core.execution.broker import (
    AccountValues,
    BrokerOrder,
    BrokerPosition,
    OrderRequest,
)
from hrp_core.execution.order_terms import TERMS, check_request
from hrp_core.ledger.types import Contract, Execution, OrderStatus
from hrp_core.money import is_price, to_average, to_money
from hrp_core.portfolio.types import OrderSide

# IB writes "no value" as the largest double or the largest 32-bit integer.
UNSET_DOUBLE = 1e300
_UNSET_INTEGER = 2**31 - 1
_SIDES = {
    "BUY": OrderSide.BUY,
    "BOT": OrderSide.BUY,
    "SELL": OrderSide.SELL,
    "SLD": OrderSide.SELL,
    "SSHORT": OrderSide.SELL,
}
_FIGURES = ("NetLiquidation", "TotalCashValue")
_BALANCE = "CashBalance"
ACCOUNT_TAGS = (*_FIGURES, "$LEDGER:ALL")
"""What is asked for: two figures in the base currency, and the balances of every currency."""


@dataclass(frozen=True, slots=True)
class RawStatus:
    """One orderStatus message."""

    order_id: int
    client_id: int
    perm_id: int
    status: str
    filled: float
    remaining: float
    why_held: str


@dataclass(frozen=True, slots=True)
class RawOrder:
    """One openOrder or completedOrder message; the fields are the library's objects."""

    contract: Any
    order: Any
    state: Any


def ib_symbol(symbol: str) -> str:
    """Return IB's spelling of a US stock symbol: BRK.B is `BRK B` there (F24)."""
    return symbol.replace(".", " ")


def own_symbol(raw: Any) -> str:
    """Return our symbol for a raw contract.

    Only a US stock gets a plain symbol; anything else gets one that no stock can have, so that an option on
    AAPL, or AAPL quoted in another currency, is never taken for the stock.
    """
    if raw.secType == "STK" and raw.currency == "USD":
        return raw.symbol.replace(" ", ".").upper()
    return f"{raw.localSymbol or raw.symbol} ({raw.secType} {raw.currency})"


def to_contract(raw: Any, min_tick: Decimal = Decimal("0.01")) -> Contract:
    """Return our contract for a raw one."""
    return Contract(
        symbol=own_symbol(raw),
        con_id=int(raw.conId),
        primary_exchange=raw.primaryExchange or "",
        currency=raw.currency,
        min_tick=min_tick,
    )


def to_side(action: str) -> OrderSide:
    """Return the side of a raw action (BUY, SELL, SSHORT) or execution side (BOT, SLD)."""
    try:
        return _SIDES[action]
    except KeyError:
        raise BrokerError(
            f"the broker reported an unknown side {action!r}; nothing is assumed about it"
        ) from None


def to_shares(value: float, what: str) -> int:
    """Return a raw quantity as whole shares.

    Raises:
        BrokerError: it is no whole number; the ledger has no fractional shares.
    """
    if not math.isfinite(value) or value != int(value):
        raise BrokerError(
            f"{what}: quantity {value!r} is not a whole number of shares; this system trades no fractions: "
            "close the fractional part by hand in TWS"
        )
    return int(value)


def to_status(raw: str, *, filled: float = 0, why_held: str = "", rejected: bool = False) -> OrderStatus:
    """Return our state for a raw order status.

    A reject comes as Inactive, or as an error followed by Cancelled; both are REJECTED once an error of the
    code table said so (F8). Inactive without such an error is HELD, not dead (F9).

    Args:
        raw: IB's status.
        filled: shares filled so far; an order with fills was not rejected (F11).
        why_held: IB's reason for holding the order, such as `locate`.
        rejected: whether an error has said that the order was not accepted.
    """
    match raw:
        case "PendingSubmit" | "ApiPending":
            return OrderStatus.SENT
        case "PreSubmitted" | "Submitted":
            if filled > 0:
                return OrderStatus.PARTIALLY_FILLED
            return OrderStatus.HELD if "locate" in why_held else OrderStatus.SUBMITTED
        case "PendingCancel":
            return OrderStatus.PENDING_CANCEL
        case "Cancelled" | "ApiCancelled":
            return OrderStatus.REJECTED if rejected and filled <= 0 else OrderStatus.CANCELLED
        case "Filled":
            return OrderStatus.FILLED
        case "Inactive":
            return OrderStatus.REJECTED if rejected else OrderStatus.HELD
        case _:
            return OrderStatus.UNKNOWN


def to_execution(raw_contract: Any, raw: Any, order_ref: str) -> Execution:
    """Return a fill without its commission; `order_ref` is used where the broker repeats none."""
    return Execution(
        exec_id=raw.execId,
        account=raw.acctNumber,
        order_ref=raw.orderRef or order_ref,
        perm_id=int(raw.permId),
        contract=to_contract(raw_contract),
        side=to_side(raw.side),
        shares=to_shares(raw.shares, f"execution {raw.execId}"),
        price=to_money(raw.price),
        executed_at=raw.time.astimezone(NEW_YORK),
    )


def to_commission(raw: Any) -> Decimal | None:
    """Return the commission of a raw report in USD; None when it reports none (F17).

    IB sends the largest double, or nothing at all, for a commission that is not known yet.
    """
    if not math.isfinite(raw.commission) or abs(raw.commission) >= UNSET_DOUBLE or raw.currency != "USD":
        return None
    return to_money(raw.commission)


def to_position(raw_contract: Any, shares: float, average_cost: float) -> BrokerPosition:
    """Return a position; the average cost is IB's, commission included."""
    contract = to_contract(raw_contract)
    return BrokerPosition(
        contract=contract,
        shares=to_shares(shares, f"position in {contract.symbol}"),
        average_cost=to_average(Decimal(repr(average_cost))),
    )


def to_completed_order(raw: RawOrder, rejected: Container[int] = ()) -> BrokerOrder:
    """Return a completed order; these carry neither an order id nor a client id.

    IB leaves the total quantity of a completed order at 0 and only reports what was filled, so the quantity
    of one that was not filled whole is 0: not reported.

    Args:
        raw: the message.
        rejected: permIds of orders that an error has said were not accepted.
    """
    order, state = raw.order, raw.state
    what = f"completed order {order.orderRef or order.permId}"
    filled = to_shares(_or_zero(order.filledQuantity), what)
    quantity = to_shares(_or_zero(order.totalQuantity), what)
    # Among the completed orders Inactive is no longer "held": the order is dead without having worked.
    dead = state.status == "Inactive" or int(order.permId) in rejected
    status = to_status(state.status, filled=filled, rejected=dead)
    if quantity == 0 and status is OrderStatus.FILLED:
        quantity = filled
    return BrokerOrder(
        order_ref=order.orderRef,
        perm_id=int(order.permId),
        contract=to_contract(raw.contract),
        side=to_side(order.action),
        quantity=quantity,
        filled=filled,
        status=status,
        raw_status=f"{state.status}: {state.completedStatus}" if state.completedStatus else state.status,
    )


def fold_open_orders(
    messages: Iterable[RawOrder | RawStatus],
    filled_by_perm_id: Mapping[int, int],
    rejected: Container[int] = (),
) -> tuple[BrokerOrder, ...]:
    """Return the orders still open after the messages of one answer, oldest mention first.

    A message that the broker pushed meanwhile is among them and is as true as the answer; an order that it
    ended is left out here and shows up among the completed orders, which are asked for afterwards.

    Args:
        messages: everything received between the request and its end marker.
        filled_by_perm_id: shares filled according to executions, for an order without a status message (F15).
        rejected: permIds of orders that an error has said were not accepted.
    """
    orders: dict[tuple[int, int, int], RawOrder] = {}
    statuses: dict[tuple[int, int, int], RawStatus] = {}
    for message in messages:
        if isinstance(message, RawStatus):
            statuses[_order_key(message.perm_id, message.client_id, message.order_id)] = message
        else:
            order = message.order
            orders[_order_key(order.permId, order.clientId, order.orderId)] = message
    folded = (
        _to_open_order(raw, statuses.get(key), filled_by_perm_id, rejected) for key, raw in orders.items()
    )
    return tuple(order for order in folded if not order.status.is_terminal)


def to_account_values(rows: Iterable[tuple[str, str, str, str]], account: str) -> AccountValues:
    """Return the account's own figures.

    Args:
        rows: (account, tag, value, currency) as received.
        account: the configured account; rows of others are ignored.

    The total cash counts every currency as dollars; where there is another one, cash is the balance in USD.

    Raises:
        IncompleteSnapshotError: a figure is missing in USD.
    """
    values: dict[str, Decimal] = {}
    balances: dict[str, Decimal] = {}
    currencies: set[str] = set()
    for row_account, tag, value, currency in rows:
        if row_account == account and tag in _FIGURES:
            currencies.add(currency)
            if currency == "USD":
                values[tag] = to_money(value)
        elif row_account == account and tag == _BALANCE and currency != "BASE":
            balances[currency] = to_money(value)
    missing = [tag for tag in _FIGURES if tag not in values]
    if missing:
        raise IncompleteSnapshotError(
            f"the broker did not report {' and '.join(missing)} of the account in USD (currencies reported: "
            f"{', '.join(sorted(currencies)) or 'none'}); the base currency of the account must be USD"
        )
    dollars, cash = balances.pop("USD", None), values["TotalCashValue"]
    others = sorted(currency for currency, balance in balances.items() if balance)
    if others and dollars is None:
        raise IncompleteSnapshotError(
            f"the account holds cash in {', '.join(others)} and the broker did not report its balance in USD"
        )
    return AccountValues(
        account,
        net_liquidation=values["NetLiquidation"],
        cash=dollars if others and dollars is not None else cash,
    )


def to_min_tick(value: float) -> Decimal:
    """Return a raw minimum price increment; one cent where IB knows none."""
    return Decimal(repr(value)) if is_price(value) and value < UNSET_DOUBLE else Decimal("0.01")


def build_contract(library: Any, contract: Contract) -> Any:
    """Return the library's contract for one of ours: routed SMART, identified by its conId."""
    return library.Contract(
        secType="STK",
        conId=contract.con_id,
        symbol=ib_symbol(contract.symbol),
        exchange="SMART",
        primaryExchange=contract.primary_exchange,
        currency=contract.currency,
    )


def build_order(library: Any, request: OrderRequest, account: str) -> Any:
    """Return the library's order with every field that matters: presets of TWS fill in what is left out (F1).

    Raises:
        RefusedError: the request cannot be sent as it stands. Nothing was sent.
    """
    check_request(request)
    order = library.Order(
        action="BUY" if request.side is OrderSide.BUY else "SELL",
        totalQuantity=request.quantity,
        orderType=TERMS[request.order_type].order_type,
        tif=request.tif,
        account=account,
        orderRef=request.order_ref,
        transmit=True,
        outsideRth=request.outside_rth,
    )
    if request.limit_price is not None:
        order.lmtPrice = float(request.limit_price)
    return order


def _order_key(perm_id: int, client_id: int, order_id: int) -> tuple[int, int, int]:
    """Key an order within one connection by its permId, or by its ids while it has none (0 is no key)."""
    return (perm_id, 0, 0) if perm_id else (0, client_id, order_id)


def _to_open_order(
    raw: RawOrder, status: RawStatus | None, filled_by_perm_id: Mapping[int, int], rejected: Container[int]
) -> BrokerOrder:
    order = raw.order
    what = f"open order {order.orderRef or order.permId}"
    filled = to_shares(status.filled, what) if status else filled_by_perm_id.get(int(order.permId), 0)
    raw_status = status.status if status else raw.state.status
    return BrokerOrder(
        order_ref=order.orderRef,
        perm_id=int(order.permId),
        contract=to_contract(raw.contract),
        side=to_side(order.action),
        quantity=to_shares(order.totalQuantity, what),
        filled=filled,
        status=to_status(
            raw_status,
            filled=filled,
            why_held=status.why_held if status else "",
            rejected=int(order.permId) in rejected,
        ),
        raw_status=raw_status,
        client_id=int(order.clientId),
        order_id=int(order.orderId),
    )


def _or_zero(value: float) -> float:
    return 0.0 if abs(value) >= UNSET_DOUBLE else value
