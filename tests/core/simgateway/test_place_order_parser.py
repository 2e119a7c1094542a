"""placeOrder as the unpatched client library writes it, at both layouts."""

from decimal import Decimal

import pytest

from hrp_core.simgateway.place_order import PlaceOrder
from hrp_core.simgateway.wire import FieldReader, WireError

VERSIONS = [157, 176]


@pytest.fixture
def written(library):
    """Return the fields that ib_insync sends for an order at a server version."""

    def write(version, contract=None, **fields):
        ib_insync = library.ib_insync

        def capture():
            sent = []

            class Recording(ib_insync.Client):
                def sendMsg(self, msg):  # noqa: N802
                    sent.append(msg)

                def isConnected(self):  # noqa: N802
                    return True

                def serverVersion(self):  # noqa: N802
                    return version

            order = ib_insync.Order(action="BUY", totalQuantity=100, orderType="MKT", tif="DAY")
            for name, value in fields.items():
                setattr(order, name, value)
            stock = contract(ib_insync) if contract else ib_insync.Stock("AAPL", "SMART", "USD", conId=265598)
            Recording(ib_insync.wrapper.Wrapper(None)).placeOrder(17, stock, order)
            return sent[0].split("\0")[:-1]

        return library.call(capture)

    return write


def parse(fields, version):
    reader = FieldReader(fields)
    reader.skip()
    return PlaceOrder.read(reader, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plain_market_order_is_understood(written, version):
    order = parse(written(version, orderRef="S221206-1", account="DU1234567", outsideRth=True), version)
    assert order.order_id == 17
    assert (order.contract.symbol, order.contract.con_id) == ("AAPL", 265598)
    assert (order.contract.exchange, order.contract.currency) == ("SMART", "USD")
    assert (order.action, order.quantity, order.order_type, order.tif) == ("BUY", Decimal(100), "MKT", "DAY")
    assert (order.limit_price, order.aux_price) == (None, None)
    assert (order.order_ref, order.account) == ("S221206-1", "DU1234567")
    assert (order.outside_rth, order.what_if, order.unsupported) == (True, False, ())


@pytest.mark.parametrize("version", VERSIONS)
def test_what_if_is_found_wherever_it_stands(written, version):
    plain = parse(written(version, whatIf=True), version)
    shifted = parse(
        written(
            version,
            whatIf=True,
            scalePriceIncrement=0.1,
            hedgeType="D",
            hedgeParam="x",
            algoStrategy="Vwap",
            algoParams=[],
            deltaNeutralOrderType="MKT",
            orderRef="r",
        ),
        version,
    )
    assert plain.what_if
    assert shifted.what_if
    assert set(shifted.unsupported) == {
        "scalePriceIncrement",
        "hedgeType",
        "algoStrategy",
        "deltaNeutralOrderType",
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transmit", False),
        ("parentId", 3),
        ("ocaGroup", "g"),
        ("goodAfterTime", "20221206 10:00:00"),
        ("goodTillDate", "20221206 10:00:00"),
        ("allOrNone", True),
        ("minQty", 5),
        ("displaySize", 10),
        ("hidden", True),
        ("faGroup", "g"),
        ("cashQty", 1000.0),
        ("adjustedOrderType", "TRAIL"),
        ("activeStartTime", "20221206 10:00:00"),
    ],
)
def test_a_field_that_cannot_be_honoured_is_named(written, version, field, value):
    (name,) = parse(written(version, **{field: value}), version).unsupported
    assert name.startswith(field)


def test_a_limit_order_keeps_its_price(written):
    assert parse(written(176, orderType="LMT", lmtPrice=12.34), 176).limit_price == Decimal("12.34")


@pytest.mark.parametrize("version", VERSIONS)
def test_conditions_and_combinations_are_refused_in_words(written, version):
    with pytest.raises(WireError, match="conditional orders"):
        parse(written(version, conditions=[_condition()]), version)
    with pytest.raises(WireError, match="combinations"):
        parse(written(version, contract=lambda ib_insync: ib_insync.Bag(symbol="A")), version)


def _condition():
    from ib_insync import PriceCondition

    return PriceCondition(conId=1, exch="SMART", isMore=True, price=10.0)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_truncated_or_overlong_order_is_refused(written, version):
    fields = written(version)
    with pytest.raises(WireError, match="missing"):
        parse(fields[:-1], version)
    with pytest.raises(WireError, match="1 fields more"):
        parse([*fields, ""], version)
