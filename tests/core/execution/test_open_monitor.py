"""The watch over the open, on the in-process broker and on the gateway over a socket."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from order_child import Installation
from order_support import ACCOUNT, D, E, F, at, planned, tape
from watch_support import Floor, in_process_floor

from hrp_core.errors import BrokerConnectionError, RefusedError
from hrp_core.execution.flatten import flatten, offer_flatten
from hrp_core.execution.sim_broker import SimBroker
from hrp_core.execution.sync import sync_broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState, OrderStatus
from hrp_core.matching import Engine, EngineState
from hrp_core.portfolio.types import OrderType
from hrp_core.store import EventType, Store, read_lineage

S = OrderStatus


def test_fills_are_journaled_as_they_come(floor: Floor) -> None:
    floor.send(planned("AAPL", 100), planned("KO", 50))
    floor.advance(at(E, "09:25"))
    seen: list[int] = []
    floor.clock.moves = [
        *[lambda: None] * 5,
        lambda: floor.advance(at(E, "09:31")),
        *[lambda: None] * 20,
        lambda: seen.append(len(floor.journal.executions())),
        lambda: floor.advance(at(E, "09:45")),
    ]
    report = floor.watch()
    assert seen == [2]
    assert (report.finished, report.stopped, report.count(S.FILLED)) == (True, "", 2)
    assert (report.session, report.execution_session, report.ended_at) == (D, E, at(E, "09:45"))
    assert (report.missing, report.breaks, report.withdrawn) == ((), (), ())


def test_a_second_watch_changes_nothing(floor: Floor) -> None:
    floor.send(planned("AAPL", 100))
    floor.advance(at(E, "09:45"))
    first, second = floor.watch(), floor.watch()
    assert first.finished
    assert second.finished
    assert first.orders == second.orders
    assert len(floor.journal.executions()) == 1


def test_a_watch_on_a_clock_that_stands_still_ends_and_the_next_one_goes_on(floor: Floor) -> None:
    floor.send(planned("AAPL", 100))
    floor.advance(at(E, "09:25"))
    first = floor.watch(patience=0)
    assert (first.finished, first.count(S.SUBMITTED)) == (False, 1)
    assert first.stopped == "the clock stands still at 09:25; run it again to watch on to 09:45 New York"
    floor.advance(at(E, "09:31"))  # nobody is connected
    assert floor.watch(patience=0).count(S.FILLED) == 1
    floor.advance(at(E, "09:45"))
    assert floor.watch(patience=0).finished


def test_a_latch_set_meanwhile_gets_the_connection_and_the_lock(floor: Floor) -> None:
    floor.send(planned("AAPL", 100))
    floor.advance(at(E, "09:25"))

    def halt() -> None:
        floor.journal.set_latch(LatchState.HALTED, by="ann", reason="bad news", now=at(E, "09:26"))

    floor.clock.moves = [*[lambda: None] * 5, halt]
    report = floor.watch()
    assert (report.finished, report.stopped) == (False, "ann set the latch to halted: bad news")


@pytest.mark.parametrize("moment", [at(D, "18:30"), at(E, "09:24"), at(E, "16:00")])
def test_it_is_refused_outside_its_session(floor: Floor, moment) -> None:
    floor.advance(moment)
    with pytest.raises(RefusedError, match="is watched from 09:25 New York of that day"):
        floor.watch()


# What the open leaves.


@pytest.fixture
def unopened(tmp_path, store: Store, journal: Journal) -> Floor:
    """KO has no official open on E, as a name that is halted there: its market order waits for the close."""
    market = tape()
    opens = market.open.copy()
    opens[market.sessions.index(E), market.symbols.index("KO")] = np.nan
    engine = Engine(
        replace(market, open=opens), EngineState.opening(now=at(D, "18:30"), cash=Decimal(100_000))
    )
    return in_process_floor(tmp_path, store, journal, SimBroker(engine, ACCOUNT))


def test_what_the_open_did_not_fill_stays_by_default(unopened: Floor) -> None:
    unopened.send(planned("AAPL", 100), planned("KO", 50))
    unopened.advance(at(E, "09:45"))
    report = unopened.watch()
    assert (report.finished, report.withdrawn, len(report.working)) == (True, (), 1)


def test_what_the_open_did_not_fill_is_cancelled_by_policy_and_orders_for_the_close_stay(
    unopened: Floor,
) -> None:
    for_the_close = replace(planned("MSFT", 5), order_type=OrderType.MARKET_ON_CLOSE)
    unopened.send(planned("AAPL", 100), planned("KO", 50), for_the_close)
    unopened.advance(at(E, "09:45"))
    report = unopened.watch(residual_policy="cancel")
    assert [(item.symbol, item.problem) for item in report.withdrawn] == [("KO", "")]
    assert unopened.states() == {"AAPL": S.FILLED, "KO": S.CANCELLED, "MSFT": S.SUBMITTED}
    assert unopened.watch(residual_policy="cancel").withdrawn == ()
    assert len(read_lineage(unopened.store, event_type=EventType.ORDER_CANCELLED)) == 1


# Over the socket alone: the line.


def test_a_connection_lost_in_the_open_is_opened_again_and_loses_no_fill(wired: Floor) -> None:
    assert wired.gateway is not None
    wired.send(planned("AAPL", 100), planned("KO", 50))
    wired.advance(at(E, "09:25"))
    gateway = wired.gateway
    wired.clock.moves = [
        *[lambda: None] * 5,
        lambda: gateway.fault("restart"),
        lambda: gateway.advance(at(E, "09:31")),
        *[lambda: None] * 10,
        lambda: gateway.advance(at(E, "09:45")),
    ]
    report = wired.watch()
    assert (report.finished, report.count(S.FILLED)) == (True, 2)
    assert gateway.state().orders_received == 2


def test_a_watch_whose_broker_is_gone_fails_and_the_next_one_finds_the_fills(
    wired: Floor, installation: Installation
) -> None:
    assert wired.gateway is not None
    gateway = wired.gateway
    wired.send(planned("AAPL", 100))
    wired.advance(at(E, "09:25"))
    gateway.fault("drop_message", message="currentTime", count=0)
    with pytest.raises(BrokerConnectionError):
        wired.watch()
    gateway.clear_faults()
    wired.advance(at(E, "09:50"))
    report = wired.watch()
    assert (report.finished, report.count(S.FILLED)) == (True, 1)


def test_positions_that_lag_the_open_are_reported_and_halt_nothing(wired: Floor) -> None:
    """F13: the ledger of fills is right; the broker's positions follow minutes later."""
    assert wired.gateway is not None
    wired.send(planned("AAPL", 100))
    wired.advance(at(E, "09:25"))
    wired.gateway.fault("position_lag", minutes=30)
    wired.advance(at(E, "09:45"))
    report = wired.watch()
    assert [item.symbol for item in report.breaks if item.symbol] == ["AAPL"]
    assert wired.journal.latch().state is LatchState.ACTIVE


def test_what_a_flatten_has_not_sold_yet_is_never_taken_back(
    tmp_path, store: Store, journal: Journal
) -> None:
    """KO has no official open on F, where it is to be sold: the sale waits for the close."""
    market = tape()
    opens = market.open.copy()
    opens[market.sessions.index(F), market.symbols.index("KO")] = np.nan
    engine = Engine(
        replace(market, open=opens), EngineState.opening(now=at(D, "18:30"), cash=Decimal(100_000))
    )
    floor = in_process_floor(tmp_path, store, journal, SimBroker(engine, ACCOUNT))
    floor.send(planned("AAPL", 100), planned("KO", 50))
    floor.advance(at(E, "18:30"))
    with floor.connect() as broker:
        sync_broker(broker, journal, floor.clock.now(), mode="sim")
        journal.set_latch(LatchState.HALTED, by="ann", reason="out", now=floor.clock.now())
        offer = offer_flatten(floor.settings, journal, broker, by="ann", now=floor.clock.now())
    flatten(
        floor.settings, store, journal, floor.connect, offer.code, by="ann", reason="out", clock=floor.clock
    )
    floor.advance(at(F, "09:45"))
    report = floor.watch(residual_policy="cancel")
    assert (report.finished, report.withdrawn) == (True, ())
    assert floor.states(E) == {"AAPL": S.FILLED, "KO": S.SUBMITTED}
