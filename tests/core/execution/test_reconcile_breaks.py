from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.execution.broker import BrokerPosition
from hrp_core.execution.reconcile import broker_shares, cash_breaks, share_breaks
from hrp_core.ledger.types import BreakKind, Contract

SHARES = st.dictionaries(st.sampled_from("ABCDE"), st.integers(-5, 5))


@given(SHARES, SHARES)
def test_there_is_a_break_for_each_symbol_that_differs_and_for_no_other(
    ledger: dict[str, int], broker: dict[str, int]
) -> None:
    found = share_breaks(ledger, broker)
    differing = {name for name in "ABCDE" if ledger.get(name, 0) != broker.get(name, 0)}
    assert {item.symbol for item in found} == differing
    assert len(found) == len(differing)
    assert all(item.kind is BreakKind.SHARES for item in found)


@pytest.mark.parametrize(("broker", "breaks"), [("100.00", 0), ("100.01", 0), ("100.0101", 1), ("99.98", 1)])
def test_cash_may_differ_by_a_cent(broker: str, breaks: int) -> None:
    assert len(cash_breaks(Decimal("100"), Decimal(broker))) == breaks


def test_positions_of_zero_shares_are_no_positions() -> None:
    positions = [
        BrokerPosition(Contract("AAPL", 1), 0, Decimal(0)),
        BrokerPosition(Contract("KO", 2), 5, Decimal(50)),
    ]
    assert broker_shares(positions) == {"KO": 5}
