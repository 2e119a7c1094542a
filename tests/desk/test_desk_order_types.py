"""A basket of another type than market, end to end."""

import pytest
from desk import FIRST, Desk

from hrp_core.ledger.types import OrderStatus
from hrp_core.replay import History, check_parity
from hrp_core.settings import Settings


def test_limits_for_the_close_are_sent_filled_and_replayed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HRP_ORDER_TYPE", "limit_on_close")
    monkeypatch.setenv("HRP_LIMIT_GAP_PCT", "0.01")
    limited = Desk(Settings(), desk.server)
    session = FIRST
    for _ in range(2):
        limited.evening(session)
        session = limited.next_day(session)
    plan = limited.journal.latest_plan(FIRST)
    assert plan is not None
    assert {intent.order_type.value for intent in plan.intents} == {"limit_on_close"}
    assert all(intent.limit_price for intent in plan.intents)
    assert {intent.status for intent in plan.intents} <= {OrderStatus.FILLED, OrderStatus.CANCELLED}
    parity = check_parity(History.from_store(limited.store), limited.journal)
    assert parity.differences == ()
    assert 0 < parity.fills == limited.gateway.state().executions
