"""A journal that cannot be written while orders are out loses nothing."""

import resource
import signal
import sqlite3
from pathlib import Path

import pytest
from order_support import BentBroker, freeze, manager, planned, sync

from hrp_core.errors import JournalError
from hrp_core.execution.broker import OrderRequest
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import OrderStatus, PlanStatus

S = OrderStatus


def test_a_journal_locked_for_too_long_stops_the_sending_and_loses_nothing(
    tmp_path: Path, broker: BentBroker
) -> None:
    journal = Journal(tmp_path / "journal.sqlite", busy_timeout=0.2)
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    other = sqlite3.connect(journal.path, isolation_level=None)

    def lock(_: OrderRequest) -> None:
        broker.after_place = lambda _: None
        other.execute("BEGIN IMMEDIATE")

    broker.after_place = lock
    with pytest.raises(JournalError, match="locked by another process"):
        manager(broker, journal).submit_plan(frozen.plan_id)
    assert broker.orders_received == 1
    other.execute("ROLLBACK")
    report = manager(broker, journal).resume(frozen.plan_id)
    assert (report.count(S.SUBMITTED), report.status) == (2, PlanStatus.SENT)
    assert broker.orders_received == 2


def test_a_full_disk_stops_the_sending_and_loses_nothing(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    sync(broker, journal)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(_: OrderRequest) -> None:
        broker.after_place = lambda _: None
        size = journal.path.with_name(f"{journal.path.name}-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))

    broker.after_place = fill_up
    try:
        with pytest.raises(JournalError, match="cannot be used"):
            manager(broker, journal).submit_plan(frozen.plan_id)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert broker.orders_received == 1
    journal.close()
    report = manager(broker, journal).resume(frozen.plan_id)
    assert report.count(S.SUBMITTED) == 2
    assert broker.orders_received == 2
