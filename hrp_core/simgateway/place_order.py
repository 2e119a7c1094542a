"""placeOrder, parsed. Its fields have no fixed positions, so it is read from front to back.

What belongs here: the fields of an order on the way in, and which of them this gateway can honour.
"""

from dataclasses import dataclass
from decimal import Decimal

from hrp_core.simgateway.requests import ContractQuery
from hrp_core.simgateway.wire import NEW_LAYOUT, FieldReader, WireError

# A client's "nothing" in fields where most orders have nothing.
_EMPTY = ("", "0", "0.0", "false")


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """An order as a client wrote it.

    Attributes:
        quantity: shares; not yet known to be whole or positive.
        unsupported: names of fields that are set and that this gateway cannot honour.
    """

    order_id: int
    contract: ContractQuery
    action: str
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    aux_price: Decimal | None
    tif: str
    account: str
    order_ref: str
    outside_rth: bool
    what_if: bool
    unsupported: tuple[str, ...]

    @classmethod
    def read(cls, reader: FieldReader, version: int) -> "PlaceOrder":
        """Read it after the message number.

        Raises:
            WireError: a field is missing or malformed, or fields are left over.
        """
        order_id = reader.integer()
        contract = ContractQuery.read(reader)
        if contract.sec_type == "BAG":
            raise WireError("message 3: combinations are not listed here")
        unsupported: list[str] = []

        def must_be_empty(name: str, *, otherwise: tuple[str, ...] = ()) -> str:
            text = reader.text()
            if text.lower() not in (*_EMPTY, *otherwise):
                unsupported.append(name)
            return text

        must_be_empty("secIdType")
        must_be_empty("secId")
        action = reader.text()
        quantity = reader.number()
        order_type, limit_price, aux_price = reader.text(), reader.number(), reader.number()
        tif = reader.text()
        must_be_empty("ocaGroup")
        account = reader.text()
        reader.skip(2)  # openClose, origin
        order_ref = reader.text()
        if not reader.flag():
            unsupported.append("transmit=False")
        must_be_empty("parentId")
        for name in ("blockOrder", "sweepToFill", "displaySize"):
            must_be_empty(name, otherwise=("2147483647",))
        reader.skip()  # triggerMethod: stop orders only
        outside_rth = reader.flag()
        must_be_empty("hidden")
        reader.skip()  # shares allocation, no longer used
        for name in ("discretionaryAmt", "goodAfterTime", "goodTillDate"):
            must_be_empty(name)
        for name in ("faGroup", "faMethod", "faPercentage", "faProfile", "modelCode", "shortSaleSlot"):
            must_be_empty(name)
        reader.skip(3)  # designatedLocation, exemptCode, ocaType: meaningless without the above
        reader.skip(2)  # rule80A, settlingFirm: institutions
        must_be_empty("allOrNone")
        must_be_empty("minQty", otherwise=("2147483647",))
        reader.skip(4)  # percentOffset, eTradeOnly, firmQuoteOnly, nbboPriceCap
        reader.skip(6)  # auctionStrategy ... stockRangeUpper: options exchanges only
        reader.skip(3)  # overridePercentageConstraints, volatility, volatilityType
        if must_be_empty("deltaNeutralOrderType", otherwise=("none",)):
            reader.skip(9)
        else:
            reader.skip()  # deltaNeutralAuxPrice
        reader.skip(4)  # continuousUpdate, referencePriceType, trailStopPrice, trailingPercent
        reader.skip(2)  # scaleInitLevelSize, scaleSubsLevelSize
        scale_increment = reader.number()
        if scale_increment is not None and scale_increment > 0:
            unsupported.append("scalePriceIncrement")
            reader.skip(7)
        for name in ("scaleTable", "activeStartTime", "activeStopTime"):
            must_be_empty(name)
        if must_be_empty("hedgeType"):
            reader.skip()
        reader.skip(4)  # optOutSmartRouting, clearingAccount, clearingIntent, notHeld
        if reader.flag():
            unsupported.append("deltaNeutralContract")
            reader.skip(3)
        if must_be_empty("algoStrategy"):
            reader.skip(2 * reader.integer())
        reader.skip()  # algoId
        what_if = reader.flag()
        reader.skip(4)  # orderMiscOptions, solicited, randomizeSize, randomizePrice
        if order_type == "PEG BENCH":
            reader.skip(5)
        if reader.integer() > 0:
            # The length of a condition depends on its kind; nothing after it can be found.
            raise WireError("message 3: conditional orders are not supported by the simulated gateway")
        must_be_empty("adjustedOrderType", otherwise=("none",))
        reader.skip(6)  # triggerPrice ... adjustableTrailingUnit: adjusted orders only
        reader.skip(3)  # extOperator, softDollarTier name and value
        must_be_empty("cashQty", otherwise=("1.7976931348623157e+308", "1.7976931348623157e308"))
        reader.skip(4)  # mifid2*
        reader.skip(4)  # dontUseAutoPriceForHedge, isOmsContainer, discretionaryUpToLimit, usePriceMgmtAlgo
        if version >= NEW_LAYOUT:
            reader.skip(5)  # duration, postToAts, autoCancelParent, advancedErrorOverride, manualOrderTime
            if order_type == "PEG BEST":
                reader.skip(2)
        if reader.left:
            raise WireError(f"message 3: {reader.left} fields more than an order of type {order_type!r} has")
        if quantity is None:
            raise WireError("message 3: totalQuantity is missing")
        return cls(
            order_id=order_id,
            contract=contract,
            action=action,
            quantity=quantity,
            order_type=order_type,
            limit_price=limit_price,
            aux_price=aux_price,
            tif=tif,
            account=account,
            order_ref=order_ref,
            outside_rth=outside_rth,
            what_if=what_if,
            unsupported=tuple(unsupported),
        )
