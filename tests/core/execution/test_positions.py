"""`Position` and `PositionTracker`: arithmetic, and the account at the broker's prices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_support import EVENING, BentBroker, D, E, at, connected, engine, freeze, manager, planned, sync

from hrp_core.calendar import Clock
from hrp_core.errors import HrpError, NotReadyError, ReconciliationBreakError
from hrp_core.execution import BrokerConfig, IBKRBroker, Position, PositionTracker
from hrp_core.execution.broker import Quote, QuoteQuality
from hrp_core.execution.projection_tables import LIVE_POSITIONS
from hrp_core.execution.projections import project_book
from hrp_core.ledger.commissions import held_commissions
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract, Execution
from hrp_core.portfolio.types import OrderSide
from hrp_core.settings import Settings
from hrp_core.simgateway import GatewayServer
from hrp_core.store import Store, migrate, select_rows


def position(**changes: object) -> Position:
    values: dict[str, object] = {
        "symbol": "aapl",
        "quantity": 100,
        "entry_price": Decimal("150.25"),
        "current_price": Decimal("155.50"),
        "as_of_date": date(2022, 12, 16),
        "commission_paid": Decimal("1.25"),
    }
    return Position(**{**values, **changes})  # type: ignore[arg-type]


def test_a_position_is_valued_with_its_commissions_in_the_basis() -> None:
    held = position()
    assert (held.symbol, held.market_value, held.cost_basis) == ("AAPL", Decimal(15550), Decimal("15026.25"))
    assert held.unrealized_pnl == Decimal("523.75")
    assert held.unrealized_pnl_pct == pytest.approx(523.75 / 15026.25)
    held.update_price(Decimal(150))
    assert (held.current_price, held.market_value, held.unrealized_pnl) == (150, 15000, Decimal("-26.25"))


def test_a_short_position_earns_when_the_price_falls() -> None:
    held = position(quantity=-100, entry_price=Decimal(150), current_price=Decimal(140))
    assert (held.market_value, held.cost_basis) == (Decimal(-14000), Decimal("-14998.75"))
    assert held.unrealized_pnl == Decimal("998.75")
    assert held.unrealized_pnl_pct == pytest.approx(998.75 / 14998.75)


def test_a_basis_of_nothing_has_a_profit_of_0_percent() -> None:
    assert position(entry_price=0, commission_paid=0).unrealized_pnl_pct == 0.0


def test_a_position_without_a_price_has_no_value() -> None:
    held = position(current_price=None)
    assert (held.market_value, held.unrealized_pnl, held.unrealized_pnl_pct) == (None, None, None)
    assert held.cost_basis == Decimal("15026.25")


@pytest.mark.parametrize("price", [0, -1, float("nan"), float("inf"), Decimal("NaN")])
def test_what_is_no_price_is_refused(price: float) -> None:
    held = position()
    with pytest.raises(ValueError, match="price"):
        held.update_price(price)
    assert held.current_price == Decimal("155.50")


@pytest.mark.parametrize(
    "changes", [{"symbol": " "}, {"quantity": 1.5}, {"entry_price": -1}, {"commission_paid": float("inf")}]
)
def test_a_position_that_makes_no_sense_is_a_value_error(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        position(**changes)


# --- commissions of what is held ---------------------------------------------------------------------


def execution(number: int, signed: int, commission: Decimal | None) -> Execution:
    side = OrderSide.BUY if signed > 0 else OrderSide.SELL
    contract = Contract("AAPL", 265598)
    moment = at(E, f"{9 + number // 60:02d}:{number % 60:02d}")
    return Execution(
        f"x{number}", "DU1", "r", 1, contract, side, abs(signed), Decimal(100), moment, commission
    )


def held(*trades: tuple[int, str]) -> dict[str, Decimal]:
    return held_commissions(
        execution(number, shares, Decimal(paid)) for number, (shares, paid) in enumerate(trades)
    )


def test_a_sale_takes_its_share_of_the_commissions_along() -> None:
    assert held((100, "1.00"), (100, "3.00")) == {"AAPL": Decimal(4)}
    assert held((100, "1.00"), (100, "3.00"), (-50, "9.00")) == {"AAPL": Decimal(3)}
    assert held((100, "1.00"), (-100, "9.00")) == {}


def test_a_trade_through_zero_leaves_the_new_sides_share() -> None:
    assert held((100, "1.00"), (-400, "4.00")) == {"AAPL": Decimal(3)}


@given(st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(0, 500)), max_size=12))
def test_commissions_held_are_never_more_than_were_paid(trades: list[tuple[int, int]]) -> None:
    items = [execution(number, shares, Decimal(cents) / 100) for number, (shares, cents) in enumerate(trades)]
    total = sum((item.commission or Decimal(0) for item in items), Decimal(0))
    found = held_commissions(reversed(items))
    assert all(0 <= paid <= total for paid in found.values())
    assert bool(found) == bool(sum(shares for shares, _ in trades))


# --- the tracker -------------------------------------------------------------------------------------


class CountingBroker(BentBroker):
    """Counts the requests for prices; `without` have none."""

    def __init__(self) -> None:
        super().__init__(engine())
        self.asked: list[tuple[str, ...]] = []
        self.without: set[str] = set()

    def quotes(self, contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
        self.asked.append(tuple(contract.symbol for contract in contracts))
        empty = {name: Quote(name, None, None, None, None, QuoteQuality.NONE) for name in self.without}
        return {**super().quotes(contracts, timeout), **empty}


@dataclass
class Desk:
    settings: Settings
    clock: Clock
    journal: Journal
    store: Store


@pytest.fixture
def broker() -> CountingBroker:
    return connected(CountingBroker())  # type: ignore[return-value]


@pytest.fixture
def desk(broker: CountingBroker, tmp_path: Path) -> Iterator[Desk]:
    settings = Settings(home=tmp_path)
    store, journal = Store(settings.database_path), Journal(settings.journal_path)
    migrate(store)
    yield Desk(settings, broker, journal, store)
    journal.close()


def bought(broker: CountingBroker, desk: Desk) -> PositionTracker:
    """A desk that holds 10 AAPL and 20 KO at midday of E."""
    sync(broker, desk.journal)
    plan = freeze(desk.journal, broker, planned("AAPL", 10), planned("KO", 20))
    manager(broker, desk.journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "12:00"))
    return PositionTracker(broker, desk)


def stored(desk: Desk, query: str) -> list[tuple[object, ...]]:
    with desk.store.read() as connection:
        return connection.execute(query).fetchall()


def test_positions_are_the_ledgers_at_the_brokers_prices_from_one_request(
    broker: CountingBroker, desk: Desk
) -> None:
    tracker = bought(broker, desk)
    assert (tracker.get_all_positions(), tracker.get_position("AAPL")) == ([], None)
    found = tracker.sync_positions()
    assert broker.asked == [("AAPL", "KO")]
    assert [(item.symbol, item.quantity, item.as_of_date) for item in found] == [
        ("AAPL", 10, E),
        ("KO", 20, E),
    ]
    apple = tracker.get_position(" aapl ")
    assert apple is not None
    assert apple is found[0]
    [fill] = [item for item in desk.journal.executions() if item.contract.symbol == "AAPL"]
    assert (apple.entry_price, apple.commission_paid) == (fill.price, fill.commission)
    assert apple.current_price == fill.price  # the open is the newest price at midday of a tape of bars
    assert apple.hypothesis_id == "HYP-2026-001"


def test_a_broker_that_is_not_connected_is_a_value_error(broker: CountingBroker, desk: Desk) -> None:
    broker.disconnect()
    with pytest.raises(ValueError, match=r"^Broker not connected$"):
        PositionTracker(broker, desk).sync_positions()


def test_an_account_without_positions_asks_for_no_prices(broker: CountingBroker, desk: Desk) -> None:
    tracker = PositionTracker(broker, desk)
    assert (tracker.sync_positions(), broker.asked) == ([], [])
    assert tracker.persist_positions() == 0


def test_a_name_without_a_price_is_kept_without_a_value(
    broker: CountingBroker, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = bought(broker, desk)
    broker.without = {"KO"}
    values = {item.symbol: item.market_value for item in tracker.sync_positions()}
    assert values["KO"] is None
    assert values["AAPL"] is not None
    assert "no price for KO" in caplog.text
    tracker.persist_positions()
    assert stored(desk, "SELECT symbol FROM live_positions WHERE market_value IS NULL") == [("KO",)]


def test_shares_that_differ_are_a_break_and_nothing_is_stored(broker: CountingBroker, desk: Desk) -> None:
    tracker = bought(broker, desk)
    tracker.sync_positions()
    broker.bend = lambda seen: replace(seen, positions=seen.positions[:1])
    with pytest.raises(ReconciliationBreakError, match="KO"):
        tracker.sync_positions()
    assert stored(desk, "SELECT * FROM account_snapshots") == []


def test_what_is_stored_is_what_was_seen_closed_names_go_and_history_stays(
    broker: CountingBroker, desk: Desk
) -> None:
    tracker = bought(broker, desk)
    tracker.sync_positions()
    assert tracker.persist_positions() == 2
    with desk.store.read() as connection:
        rows = select_rows(connection, LIVE_POSITIONS).to_dict("records")
    for row, item in zip(rows, tracker.get_all_positions(), strict=True):
        names = ("symbol", "quantity", "entry_price", "current_price", "market_value", "cost_basis")
        assert [row[name] for name in names] == [getattr(item, name) for name in names]
        assert row["unrealized_pnl"] == item.unrealized_pnl
        assert row["unrealized_pnl_pct"] == pytest.approx(item.unrealized_pnl_pct)
        assert (row["as_of_date"], row["hypothesis_id"]) == (item.as_of_date, item.hypothesis_id)
    broker.advance(at(E, "18:30"))
    plan = freeze(desk.journal, broker, planned("KO", -20), session=E)
    manager(broker, desk.journal).submit_plan(plan.plan_id)
    broker.advance(at(date(2022, 12, 19), "10:00"))
    tracker.sync_positions()
    assert tracker.get_position("KO") is None
    assert tracker.persist_positions() == 1
    assert stored(desk, "SELECT symbol FROM live_positions") == [("AAPL",)]
    assert stored(desk, "SELECT session, positions FROM account_snapshots ORDER BY taken_at") == [
        (E, '{"AAPL": 10, "KO": 20}'),
        (date(2022, 12, 19), '{"AAPL": 10}'),
    ]
    project_book(desk.store, desk.journal)
    assert stored(desk, "SELECT symbol, quantity FROM live_positions") == [("AAPL", 10)]


def test_storing_is_all_or_nothing(broker: CountingBroker, desk: Desk) -> None:
    tracker = bought(broker, desk)
    tracker.sync_positions()
    tracker.persist_positions()
    with desk.store.write() as connection:
        connection.execute("ALTER TABLE account_snapshots RENAME TO gone")
    tracker.get_all_positions()[0].quantity = 11
    with pytest.raises(Exception, match="account_snapshots"):
        tracker.persist_positions()
    assert stored(desk, "SELECT symbol, quantity FROM live_positions ORDER BY 1") == [
        ("AAPL", 10),
        ("KO", 20),
    ]


def test_nothing_is_stored_before_anything_was_seen(broker: CountingBroker, desk: Desk) -> None:
    with pytest.raises(NotReadyError, match="sync_positions"):
        PositionTracker(broker, desk).persist_positions()


def test_over_the_socket_only_the_configured_account_is_seen(gateway: GatewayServer, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    store, journal = Store(settings.database_path), Journal(settings.journal_path)
    migrate(store)
    desk = Desk(settings, settings.clock(), journal, store)
    config = BrokerConfig(gateway.host, gateway.port, 1, gateway.account, simulated=True)
    with IBKRBroker(config) as broker:
        from hrp_core.execution import Order, OrderManager

        OrderManager(broker, journal, clock=desk.clock, mode="sim").submit_order(
            Order("KO", OrderSide.BUY, 7)
        )
        gateway.client().advance(at(E, "12:00"))
        tracker = PositionTracker(broker, desk)
        [item] = tracker.sync_positions()
        assert (item.symbol, item.quantity, item.hypothesis_id) == ("KO", 7, "MANUAL")
        assert tracker.persist_positions() == 1
    other = Journal(tmp_path / "other.sqlite")
    other.bind("sim", "DU0000001", EVENING)
    with IBKRBroker(config) as broker, pytest.raises(HrpError, match="DU0000001"):
        PositionTracker(broker, replace(desk, journal=other)).sync_positions()
    assert D < E
    journal.close()
    other.close()
