"""A cash flow counts in exactly one NAV, whenever it is recorded and whatever is made again."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.execution.bookkeeping import nav_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.nav import MarkSource, NavRow, PastNav, nav_row
from hrp_core.ledger.types import CashFlow, FlowKind

SESSIONS = nyse().between(date(2022, 12, 1), date(2022, 12, 9))
OPENING = Decimal(100_000)


class Account:
    """An account that holds cash alone: whatever it earns is a flow that was counted wrong."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.rows: dict[date, NavRow] = {}
        self.flows: dict[str, Decimal] = {}
        self.record(0, OPENING, FlowKind.OPENING)

    def record(self, place: int, amount: Decimal, kind: FlowKind = FlowKind.DEPOSIT) -> None:
        reference = f"flow-{len(self.flows)}"
        self.flows[reference] = amount
        self.journal.record_cash_flow(
            CashFlow(reference, kind, amount, SESSIONS[place], self.now(place), "test")
        )

    def value(self, place: int, *, provisional: bool = False) -> NavRow:
        session, valued = SESSIONS[place], list(self.rows)
        row = nav_row(
            nav_book(
                self.journal,
                session,
                self.journal.expected_flows(session, valued)
                if provisional
                else self.journal.count_flows(session, valued, self.now(place)),
            ),
            {},
            session=nyse().previous(session),
            valuation_session=session,
            previous=[
                PastNav(row.valuation_session, row.nav, row.daily_return, row.flows)
                for row in self.rows.values()
            ],
            mark_source=MarkSource.BROKER_MARK if provisional else MarkSource.OFFICIAL_CLOSE,
            mark_time=nyse().close(session),
            mode="sim",
            account="DU1",
        )
        if not provisional:
            self.rows[session] = row
        return row

    @staticmethod
    def now(place: int) -> datetime:
        return datetime.combine(SESSIONS[place], time(18), NEW_YORK)


@contextmanager
def opened() -> Iterator[Account]:
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite")
        yield Account(journal)
        journal.close()


def test_making_an_old_nav_again_does_not_count_a_late_flow_twice() -> None:
    with opened() as account:
        first, second = account.value(0), account.value(1)
        account.record(0, Decimal(-30_000))
        third = account.value(2)
        assert (third.nav, third.flows, third.daily_return) == (70_000, -30_000, pytest.approx(0))
        assert (account.value(0), account.value(1)) == (first, second)
        fourth = account.value(3)
        assert (fourth.nav, fourth.flows, fourth.daily_return, fourth.drawdown) == (70_000, 0, 0, 0)


def test_a_flow_that_no_later_nav_has_counted_waits_for_the_next_one() -> None:
    with opened() as account:
        account.value(0)
        account.value(1)
        account.record(0, Decimal(5_000))
        assert account.value(0).flows == OPENING
        assert account.value(2).flows == 5_000


def test_a_provisional_nav_shows_the_flows_of_the_day_and_counts_none() -> None:
    with opened() as account:
        account.value(0)
        account.record(1, Decimal(5_000))
        assert account.value(1, provisional=True).flows == 5_000
        account.record(1, Decimal(-2_000))
        looked = account.value(1, provisional=True)
        assert (looked.nav, looked.flows, looked.daily_return) == (103_000, 3_000, 0)
        official = account.value(1)
        assert (official.nav, official.flows, official.daily_return) == (103_000, 3_000, 0)


def test_looking_at_a_later_session_leaves_a_flow_to_the_book_that_is_closed_late() -> None:
    with opened() as account:
        account.value(0)
        account.record(1, Decimal(5_000))
        assert account.value(2, provisional=True).flows == 5_000
        assert (account.value(1).flows, account.value(2).flows) == (5_000, 0)


def test_flows_of_a_journal_older_than_the_record_keep_the_nav_that_has_them() -> None:
    with opened() as account:
        account.value(0)
        account.record(1, Decimal(5_000))
        account.value(1)
        with account.journal._database.write() as connection:
            connection.execute("DROP TRIGGER flow_sessions_no_delete")
            connection.execute("DELETE FROM flow_sessions")
        assert account.value(2).flows == 0
        assert (account.value(0).flows, account.value(1).flows) == (OPENING, 5_000)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("record", "value", "value", "look")),
            st.integers(0, len(SESSIONS) - 1),
            st.sampled_from([Decimal(amount) for amount in (-9_000, -1, 40_000)]),
        ),
        max_size=12,
    )
)
@settings(max_examples=25)
def test_whatever_is_recorded_and_made_in_whatever_order_nothing_is_earned_by_a_flow(
    steps: list[tuple[str, int, Decimal]],
) -> None:
    with opened() as account:
        for act, place, amount in steps:
            if act == "record":
                account.record(place, amount)
            elif act == "look":
                account.value(place, provisional=True)
            else:
                account.value(place)
        account.value(len(SESSIONS) - 1)
        account.value(len(SESSIONS) - 1)
        rows = account.rows.values()
        assert sum(row.flows for row in rows) == sum(account.flows.values())
        assert account.rows[SESSIONS[-1]].nav == sum(account.flows.values())
        assert all(row.daily_return in (None, 0) and row.drawdown == 0 for row in rows)
