"""Whatever happens around the sending of a basket, no order reaches the broker twice."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from desk import FIRST, Desk

from hrp_core.ledger.types import OrderStatus

CHILD = Path(__file__).parent / "killed_trader.py"


def received(desk: Desk) -> int:
    return desk.gateway.state().orders_received


def statuses(desk: Desk) -> list[OrderStatus]:
    plan = desk.journal.latest_plan(FIRST)
    assert plan is not None
    return [intent.status for intent in plan.intents]


@pytest.mark.desk("sent")
def test_running_the_trader_again_places_nothing(desk: Desk) -> None:
    sent = received(desk)
    assert sent == len(statuses(desk)) > 0
    desk.run("live_trader_job", FIRST)
    assert received(desk) == sent


@pytest.mark.desk("sent")
def test_deleting_the_orders_partition_places_nothing(desk: Desk) -> None:
    sent = received(desk)
    with desk.store.write() as connection:
        connection.execute("DELETE FROM orders WHERE session = ?", [FIRST])
        connection.execute("DELETE FROM partition_versions WHERE asset = 'orders'")
    with dg.DagsterInstance.get() as instance:
        instance.wipe_assets([dg.AssetKey("orders")])
    desk.run("live_trader_job", FIRST)
    assert received(desk) == sent


@pytest.mark.desk("sent")
def test_planning_again_after_sending_places_nothing(desk: Desk) -> None:
    sent = received(desk)
    desk.run("predictions_job", FIRST)
    desk.run("live_trader_job", FIRST)
    assert received(desk) == sent


@pytest.mark.desk("sent")
def test_restarting_the_gateway_places_nothing(desk: Desk) -> None:
    sent = received(desk)
    desk.server.stop()
    desk.server.start()
    desk.run("live_trader_job", FIRST)
    assert received(desk) == sent


def kill_trader(boundary: str) -> None:
    child = subprocess.run(
        [sys.executable, str(CHILD), str(FIRST), boundary],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr


@pytest.mark.desk("planned")
def test_killed_between_journal_and_send_the_order_is_unknown_and_never_sent(desk: Desk) -> None:
    intents = len(statuses(desk))
    kill_trader("before")
    assert received(desk) == 0
    for _ in range(2):
        started = time.monotonic()
        desk.run("live_trader_job", FIRST)
        # Nothing that the killed run left behind keeps the next one waiting.
        assert time.monotonic() - started < 8
        assert received(desk) == intents - 1
        assert sorted(statuses(desk)) == [OrderStatus.SUBMITTED] * (intents - 1) + [OrderStatus.UNKNOWN]


@pytest.mark.desk("planned")
def test_killed_between_send_and_acknowledgement_the_order_is_found_again(desk: Desk) -> None:
    intents = len(statuses(desk))
    kill_trader("after")
    assert received(desk) == 1
    for _ in range(2):
        desk.run("live_trader_job", FIRST)
        assert received(desk) == intents
        assert statuses(desk) == [OrderStatus.SUBMITTED] * intents


@pytest.mark.desk("planned")
def test_two_traders_at_once_send_one_set_of_orders(desk: Desk) -> None:
    intents = len(statuses(desk))
    command = [sys.executable, "-m", "hrp_dagster.cli", "job", "run", "live-trader", "--session", str(FIRST)]
    traders = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for trader in traders:
        _, errors = trader.communicate(timeout=120)
        assert trader.returncode == 0, errors.decode()
    assert received(desk) == intents
    assert statuses(desk) == [OrderStatus.SUBMITTED] * intents


@pytest.mark.desk("planned")
def test_a_connection_lost_in_the_basket_is_resumed_without_doubles(desk: Desk) -> None:
    intents = len(statuses(desk))
    desk.gateway.fault("drop_before_ack")
    desk.run("live_trader_job", FIRST)
    desk.gateway.clear_faults()
    desk.run("live_trader_job", FIRST)
    # The order that was under way when the line went dead may have been another one; it is not sent again.
    unknown = statuses(desk).count(OrderStatus.UNKNOWN)
    assert unknown <= 1
    assert received(desk) == intents - unknown == statuses(desk).count(OrderStatus.SUBMITTED)
