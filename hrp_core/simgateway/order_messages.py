"""Messages to clients about orders: openOrder, orderStatus, completedOrder, execDetails, commissionReport.

What belongs here: their long field lists, at both implemented layouts. The constants are what the real
broker sends for a plain stock order; ib_insync loses a fill when one field is missing or left over.
"""

from dataclasses import dataclass
from decimal import Decimal

from hrp_core.matching import Fill, Instrument, Order, OrderState, Preview, Side
from hrp_core.money import from_units
from hrp_core.simgateway.messages import CURRENCY, STOCK, Fields
from hrp_core.simgateway.wire import NEW_LAYOUT, UNSET_DOUBLE, UNSET_INTEGER, UNSET_LONG, moment, price

STATUS_WORDS = {
    OrderState.HELD: "PreSubmitted",
    OrderState.WORKING: "Submitted",
    OrderState.FILLED: "Filled",
    OrderState.CANCELLED: "Cancelled",
    OrderState.REJECTED: "Inactive",
}

# The one spelling of "no margin" by which clients know the first answer to a preview from the second.
_NO_FIGURE = "1.7976931348623157e+308"


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order with what only the wire knows of it: whose it is, and under which number."""

    order: Order
    instrument: Instrument
    account: str
    client_id: int
    order_id: int
    outside_rth: bool = False

    @property
    def status(self) -> str:
        """The state in the broker's words."""
        return STATUS_WORDS[self.order.state]

    @property
    def average_price(self) -> str:
        """Average price of the fills, USD a share; 0.0 without fills."""
        return average(self.order.value_units, self.order.filled)


def average(value_units: int, shares: int) -> str:
    """Return value over shares in USD, eight places, no trailing zeros."""
    if not shares:
        return "0.0"
    text = format((from_units(value_units) / shares).quantize(Decimal("1e-8")), "f").rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def order_status(broker_order: BrokerOrder, last_price_units: int = 0) -> Fields:
    """Return message 3."""
    order = broker_order.order
    return [
        *(3, broker_order.order_id, broker_order.status, order.filled, order.remaining),
        *(broker_order.average_price, order.perm_id, 0, price(last_price_units), broker_order.client_id),
        *("", "0.0"),
    ]


def open_order(
    broker_order: BrokerOrder, version: int, *, what_if: bool = False, figures: Preview | None = None
) -> Fields:
    """Return message 5: 136 fields, 128 at the old layout.

    Args:
        broker_order: the order.
        version: server version of the receiver.
        what_if: it is a preview. The real broker sends it twice, first without figures.
        figures: the preview's figures.
    """
    order = broker_order.order
    fields: Fields = [
        *(5, broker_order.order_id, *_contract(broker_order.instrument)),
        *_head(broker_order),
        *(order.order_ref, broker_order.client_id, order.perm_id, broker_order.outside_rth),
        *(False, "0", ""),  # hidden, discretionaryAmt, goodAfterTime
        f"{order.perm_id}.0/{broker_order.account}/100",  # shares allocation
        *("", "", "", "", "", "", "", ""),  # faGroup ... modelCode, goodTillDate, rule80A, percentOffset
        *("", 0, "", -1),  # settlingFirm, shortSaleSlot, designatedLocation, exemptCode
        *(0, "", "", "", "", ""),  # auctionStrategy, startingPrice ... stockRangeUpper
        *(UNSET_INTEGER, False, False, False, ""),  # displaySize, blockOrder, sweepToFill, allOrNone, minQty
        *(3, False, False, "", 0, 0),  # ocaType, eTradeOnly, firmQuoteOnly, nbboPriceCap, parentId, trigger
        *("", 0),  # volatility, volatilityType
        # The text "None" counts as an order type, so that eight more fields follow.
        *("None", "", 0, "", "", "", "?", False, 0, ""),
        *(False, 0, "", "", "", "", ""),  # continuousUpdate ... basisPointsType, comboDescription
        *(0, 0, 0),  # combo legs, their prices, routing parameters
        *(UNSET_INTEGER, UNSET_INTEGER, ""),  # scale levels
        *("", False, "", "IB", False, 0, ""),  # hedgeType, optOut, clearing, notHeld, delta neutral, algo
        *(False, what_if, broker_order.status),  # solicited, whatIf
        *_margins(figures),
        *_commissions(order, figures),
        *("", False, False, 0),  # warningText, randomizeSize, randomizePrice, conditions
        *("None", *(UNSET_DOUBLE,) * 6, 0),  # adjusted order
        *("", "", "", "0", True, False, False, False),  # soft dollar tier, cashQty, ..., usePriceMgmtAlgo
    ]
    if version >= NEW_LAYOUT:
        fields += [UNSET_INTEGER, UNSET_INTEGER, False, "", "", "", "", ""]
    return fields


def completed_order(broker_order: BrokerOrder, version: int) -> Fields:
    """Return message 101: 101 fields, 96 at the old layout. It carries neither order id nor client id."""
    order = broker_order.order
    if order.closed_at is None:
        raise ValueError(f"order {order.perm_id} is still open")
    fields: Fields = [
        *(101, *_contract(broker_order.instrument)),
        *_head(broker_order),
        *(order.order_ref, order.perm_id, broker_order.outside_rth),
        *(False, "0", ""),
        *("", "", "", "", "", "", "", ""),
        *("", 0, "", -1),
        *("", "", "", "", ""),
        *(UNSET_INTEGER, False, False, ""),
        *(3, 0),
        *("", 0),
        *("None", "", 0, False, 0, ""),
        *(False, 0, "", "", ""),
        *(0, 0, 0),
        *(UNSET_INTEGER, UNSET_INTEGER, ""),
        *("", "", "IB", False, 0, ""),
        *(False, broker_order.status, False, False, 0),
        *("", "", "0", True, False, ""),  # trailStopPrice, lmtPriceOffset, cashQty, ..., autoCancelDate
        *(order.filled, UNSET_INTEGER, False, "", False, False, UNSET_LONG),
        *(moment(order.closed_at, version), _completed_status(order)),
    ]
    if version >= NEW_LAYOUT:
        fields += ["", "", "", "", ""]
    return fields


def execution_details(request_id: int, broker_order: BrokerOrder, fill: Fill, version: int) -> Fields:
    """Return message 11: 31 fields. `request_id` is -1 for a live fill."""
    instrument = broker_order.instrument
    return [
        *(11, request_id, broker_order.order_id, instrument.con_id, instrument.ib_symbol, STOCK, "", "0.0"),
        *("", "", "SMART", CURRENCY, instrument.ib_symbol, "NMS"),
        *(fill.exec_id, moment(fill.time, version), broker_order.account, instrument.primary_exchange),
        *("BOT" if fill.side is Side.BUY else "SLD", fill.quantity, price(fill.price_units), fill.perm_id),
        *(broker_order.client_id, 0, fill.cum_quantity, average(fill.cum_value_units, fill.cum_quantity)),
        *(fill.order_ref, "", "", "", 2),
    ]


def commission_report(fill: Fill) -> Fields:
    """Return message 59. An opening trade realizes nothing: the broker writes its largest number."""
    realized = UNSET_DOUBLE if fill.realized_units is None else price(fill.realized_units)
    return [59, 1, fill.exec_id, price(fill.commission_units), CURRENCY, realized, UNSET_DOUBLE, ""]


def _contract(instrument: Instrument) -> Fields:
    return [
        *(instrument.con_id, instrument.ib_symbol, STOCK, "", "0", "?", "", "SMART", CURRENCY),
        *(instrument.ib_symbol, "NMS"),
    ]


def _head(broker_order: BrokerOrder) -> Fields:
    order = broker_order.order
    return [
        *(order.side.value, order.quantity, order.order_type, price(order.limit_units or 0), "0.0"),
        *(order.tif, ""),
        *(broker_order.account, "", 0),  # account, openClose, origin
    ]


def _margins(figures: Preview | None) -> Fields:
    """Return margins and equity before, their change, and after."""
    if figures is None:
        return [_NO_FIGURE] * 9
    margin, equity = figures.margin_before, figures.equity_before
    before = (margin, margin, equity)
    change = (figures.margin_change, figures.margin_change, figures.equity_change)
    return [price(units) for units in (*before, *change, *map(sum, zip(before, change, strict=True)))]


def _commissions(order: Order, figures: Preview | None) -> Fields:
    if figures is not None:
        return [price(figures.commission), UNSET_DOUBLE, UNSET_DOUBLE, CURRENCY]
    if order.state is not OrderState.FILLED:
        return [UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE, ""]
    return [price(order.commission_units), UNSET_DOUBLE, UNSET_DOUBLE, CURRENCY]


def _completed_status(order: Order) -> str:
    if order.state is OrderState.FILLED:
        return f"Filled Size: {order.filled}"
    if order.state is OrderState.REJECTED:
        return f"Rejected by System:{order.reason}"
    return f"Cancelled by System:{order.reason}" if order.reason else "Cancelled by Trader"
