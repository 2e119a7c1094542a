"""`record_trade`: what a person may record, and what the broker's word forbids."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from order_support import BentBroker, E, F, at, freeze, manager, planned, sync

from hrp_core.errors import NotReadyError, RefusedError
from hrp_core.execution import Order, OrderSide
from hrp_core.execution.broker import BrokerPosition, BrokerSnapshot
from hrp_core.execution.sync import observe
from hrp_core.ledger.book import read_book
from hrp_core.ledger.types import Contract
from hrp_core.platform import PlatformAPI
from hrp_core.settings import Settings

PERM_ID = 777
STRATEGY = "HYP-2026-001"
FILE = """
id = "{id}"
name = "one"
model = "momentum_20d"
method = "rank"
capital_weight = 0.4
state = "deployed"
"""
TRADED_AT = at(E, "15:00")


@pytest.fixture
def api(broker: BentBroker, tmp_path: Path) -> Iterator[PlatformAPI]:
    folder = tmp_path / "strategies"
    folder.mkdir()
    for strategy_id in (STRATEGY, "HYP-2026-002"):
        (folder / f"{strategy_id}.toml").write_text(FILE.format(id=strategy_id))
    made = PlatformAPI(Settings(home=tmp_path, strategies=folder), clock=broker)
    yield made
    made.journal.close()


def elsewhere(shares: int = 30, symbol: str = "MSFT", **changes: object) -> Order:
    """An order that a person placed in TWS."""
    side = OrderSide.BUY if shares > 0 else OrderSide.SELL
    order = Order(symbol, side, abs(shares), broker_order_id=PERM_ID, filled_at=TRADED_AT)
    for name, value in changes.items():
        setattr(order, name, value)
    return order


def holding(symbol: str, shares: int):
    """Bend every snapshot: the account also holds shares that nobody told us about."""

    def bend(seen: BrokerSnapshot) -> BrokerSnapshot:
        more = BrokerPosition(Contract(symbol, 9), shares, Decimal(200))
        return replace(seen, positions=(*seen.positions, more))

    return bend


def look(broker: BentBroker, api: PlatformAPI, clock: str = "10:00") -> None:
    """Take a snapshot on the day after; ledger and broker need not agree."""
    broker.advance(at(F, clock))
    observe(broker, api.journal, broker.now(), mode="sim")


def bought(broker: BentBroker, api: PlatformAPI) -> None:
    sync(broker, api.journal)
    plan = freeze(api.journal, broker, planned("AAPL", 10))
    manager(broker, api.journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "17:45"))
    sync(broker, api.journal)


def trades(api: PlatformAPI) -> list[tuple[object, ...]]:
    frame = api.get_executed_trades()
    return list(
        frame[["symbol", "side", "filled_quantity", "hypothesis_id"]].itertuples(index=False, name=None)
    )


def test_a_trade_made_elsewhere_on_an_earlier_day_is_adopted_once(
    broker: BentBroker, api: PlatformAPI
) -> None:
    bought(broker, api)
    broker.bend = holding("MSFT", 30)
    look(broker, api)
    first = api.record_trade(elsewhere(), Decimal("217.5"), commission=Decimal("1.25"))
    assert api.record_trade(elsewhere(), Decimal("217.5"), commission=Decimal("1.25")) == first
    row = api.get_executed_trades(symbol="MSFT").iloc[0]
    assert (row["trade_id"], row["filled_price"], row["commission"]) == (
        first,
        Decimal("217.5"),
        Decimal("1.25"),
    )
    assert (row["order_id"], row["order_type"], row["filled_at"]) == (
        f"EXTERNAL-{PERM_ID}",
        "external",
        TRADED_AT,
    )
    assert sorted(trades(api)) == [("AAPL", "buy", 10, "HYP-2026-001"), ("MSFT", "buy", 30, None)]
    assert dict(api.get_live_positions()[["symbol", "quantity"]].itertuples(index=False)) == {
        "AAPL": 10,
        "MSFT": 30,
    }
    sync(broker, api.journal)  # ledger and broker agree to the share again
    event = api.get_lineage(event_type="order_filled").iloc[0]
    assert first in event["details"]
    with pytest.raises(RefusedError, match="do not explain a difference"):
        api.record_trade(elsewhere(filled_at=at(E, "15:01")), Decimal("217.5"))


def test_a_recorded_trade_given_to_a_strategy_moves_its_shares_and_money(
    broker: BentBroker, api: PlatformAPI
) -> None:
    bought(broker, api)
    broker.bend = holding("MSFT", 30)
    look(broker, api)
    before = read_book(api.journal)
    trade = api.record_trade(elsewhere(), Decimal("217.5"), None, Decimal("1.25"), STRATEGY)
    assert trade.endswith(f"/{STRATEGY}")
    assert api.record_trade(elsewhere(hypothesis_id=STRATEGY), Decimal("217.5")) == trade
    with pytest.raises(RefusedError, match=f"recorded as {STRATEGY}'s"):
        api.record_trade(elsewhere(), Decimal("217.5"))
    book = read_book(api.journal)
    assert book.state().strategy_shares == {STRATEGY: {"AAPL": 10, "MSFT": 30}}
    assert book.state().shares == {"AAPL": 10, "MSFT": 30}
    spent = before.money[STRATEGY].cash - book.money[STRATEGY].cash
    assert (spent, book.unallocated_cash) == (
        30 * Decimal("217.5") + Decimal("1.25"),
        before.unallocated_cash,
    )
    assert sorted(trades(api)) == [("AAPL", "buy", 10, STRATEGY), ("MSFT", "buy", 30, STRATEGY)]
    row = api.get_executed_trades(symbol="MSFT").iloc[0]
    assert (row["order_id"], row["order_type"]) == (f"EXTERNAL-{PERM_ID}", "external")
    sync(broker, api.journal)


def test_a_strategy_cannot_have_sold_what_it_does_not_hold(broker: BentBroker, api: PlatformAPI) -> None:
    bought(broker, api)
    broker.bend = lambda seen: replace(seen, positions=())
    look(broker, api)
    sold = elsewhere(-10, "AAPL")
    with pytest.raises(RefusedError, match="holds 0 AAPL and cannot have sold 10"):
        api.record_trade(sold, Decimal(135), hypothesis_id="HYP-2026-002")
    api.record_trade(sold, Decimal(135), hypothesis_id=STRATEGY)
    assert read_book(api.journal).strategies == {}
    sync(broker, api.journal)


def test_a_part_of_a_difference_may_be_recorded_and_never_more_than_it(
    broker: BentBroker, api: PlatformAPI
) -> None:
    bought(broker, api)
    broker.bend = holding("MSFT", 30)
    look(broker, api)
    api.record_trade(elsewhere(20), Decimal(217))
    with pytest.raises(RefusedError, match=r"\+20 shares do not explain"):
        api.record_trade(elsewhere(20, filled_at=at(E, "15:30")), Decimal(217))
    with pytest.raises(RefusedError, match="-10 shares do not explain"):
        api.record_trade(elsewhere(-10), Decimal(217))
    api.record_trade(elsewhere(10, filled_at=at(E, "15:30")), Decimal(217))
    sync(broker, api.journal)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"broker_order_id": None}, "has no broker_order_id"),
        ({"broker_order_id": 0}, "has no broker_order_id"),
        ({"filled_at": None}, "does not say when it traded"),
        ({"filled_at": datetime(2022, 12, 16, 15)}, "does not say when it traded"),  # noqa: DTZ001
        ({"filled_at": at(F, "09:45")}, "the broker still lists"),
        ({"filled_at": at(E.replace(day=17), "12:00")}, "did not trade on 2022-12-17"),
        ({"hypothesis_id": "HYP-2026-009"}, "no strategy HYP-2026-009.*HYP-2026-001"),
    ],
)
def test_a_trade_that_cannot_be_placed_is_refused(
    broker: BentBroker, api: PlatformAPI, changes: dict[str, object], says: str
) -> None:
    bought(broker, api)
    broker.bend = holding("MSFT", 30)
    look(broker, api)
    with pytest.raises(RefusedError, match=says):
        api.record_trade(elsewhere(30, "MSFT", **changes), Decimal(217))
    assert len(api.journal.executions()) == 1


def test_without_a_look_since_then_nothing_shows_that_it_happened(
    broker: BentBroker, api: PlatformAPI
) -> None:
    bought(broker, api)
    broker.advance(at(F, "10:00"))
    with pytest.raises(RefusedError, match="run `hrp reconcile`"):
        api.record_trade(elsewhere(filled_at=at(E, "17:50")), Decimal(217))


def test_what_the_account_does_not_show_is_refused(broker: BentBroker, api: PlatformAPI) -> None:
    bought(broker, api)
    look(broker, api)
    with pytest.raises(RefusedError, match="held 0 MSFT"):
        api.record_trade(elsewhere(), Decimal(217))


def test_while_an_order_of_ours_works_in_the_name_it_may_be_what_traded(
    broker: BentBroker, api: PlatformAPI
) -> None:
    bought(broker, api)
    look(broker, api, "17:45")
    plan = freeze(api.journal, broker, planned("MSFT", 30), session=F)
    manager(broker, api.journal).submit_plan(plan.plan_id)
    broker.bend = holding("MSFT", 30)
    look(broker, api, "19:00")
    with pytest.raises(RefusedError, match="our own order"):
        api.record_trade(elsewhere(), Decimal(217))


def test_a_trade_of_an_order_sent_from_here_is_looked_up_and_never_written(
    broker: BentBroker, api: PlatformAPI
) -> None:
    bought(broker, api)
    [fill] = api.journal.executions()
    order = Order("AAPL", OrderSide.BUY, 10, broker_order_id=fill.perm_id)
    assert api.record_trade(order, fill.price) == f"{fill.exec_id}/HYP-2026-001"
    named = Order("AAPL", OrderSide.BUY, 10, order_id=fill.order_ref)
    assert api.record_trade(named, fill.price, 10, hypothesis_id="HYP-2026-001").startswith(fill.exec_id)
    for arguments in ({"filled_price": Decimal(1)}, {"filled_price": fill.price, "filled_quantity": 9}):
        with pytest.raises(RefusedError, match="hrp sync"):
            api.record_trade(order, **arguments)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="belongs to HYP-2026-001"):
        api.record_trade(order, fill.price, hypothesis_id="HYP-2026-009")
    assert len(api.journal.executions()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"filled_price": Decimal(0)}, "filled_price must be positive"),
        ({"filled_price": Decimal("NaN")}, "filled_price must be positive"),
        ({"filled_price": Decimal(1), "filled_quantity": 0}, "filled_quantity must be a positive"),
        ({"filled_price": Decimal(1), "commission": Decimal("NaN")}, "commission must be a finite"),
    ],
)
def test_figures_that_make_no_sense_are_value_errors(
    api: PlatformAPI, arguments: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        api.record_trade(elsewhere(), **arguments)  # type: ignore[arg-type]


def test_before_the_first_connection_there_is_no_account_to_record_for(api: PlatformAPI) -> None:
    with pytest.raises(NotReadyError, match="not bound to an account"):
        api.record_trade(elsewhere(), Decimal(217))
