"""A journal that cannot be written, or a mistake of ours, while orders are out loses nothing."""

import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from order_support import BentBroker, E, at, freeze, manager, planned, sync

from hrp_core.errors import JournalError, ReconciliationBreakError
from hrp_core.execution.broker import OrderRequest
from hrp_core.execution.sender import Sender
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState, OrderStatus, PlanStatus

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


@pytest.mark.parametrize("orders", [0, 1, 2])
def test_a_full_disk_stops_the_sending_and_loses_nothing(
    journal: Journal, broker: BentBroker, orders: int
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    sync(broker, journal)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(_: OrderRequest | None = None) -> None:
        if broker.orders_received == orders:
            size = journal.path.with_name(f"{journal.path.name}-wal").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))

    broker.after_place = fill_up
    try:
        fill_up()
        with pytest.raises(JournalError, match="cannot be used"):
            manager(broker, journal).submit_plan(frozen.plan_id)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert broker.orders_received == orders
    broker.after_place = lambda _: None
    journal.close()
    report = manager(broker, journal).resume(frozen.plan_id)
    assert (report.count(S.SUBMITTED), report.status) == (2, PlanStatus.SENT)
    assert broker.orders_received == 2


HOLDER = """
import sqlite3, sys
journal = sqlite3.connect(sys.argv[1], isolation_level=None)
journal.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
journal.execute("ROLLBACK")
"""


@contextmanager
def held_by_another_process(journal: Journal) -> Iterator[subprocess.Popen[str]]:
    """A process of its own in the middle of a write transaction; a line ends it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(journal.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.communicate("\n", timeout=60)  # a second line is not read


@pytest.mark.parametrize("answered", [False, True])
def test_a_journal_that_another_process_holds_past_the_patience_loses_nothing(
    tmp_path: Path, broker: BentBroker, answered: bool
) -> None:
    journal = Journal(tmp_path / "journal.sqlite", busy_timeout=0.2)
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    sync(broker, journal)
    with ExitStack() as held:
        if answered:

            def lock(_: OrderRequest) -> None:
                broker.after_place = lambda _: None
                held.enter_context(held_by_another_process(journal))

            broker.after_place = lock
        else:
            held.enter_context(held_by_another_process(journal))
        with pytest.raises(JournalError, match=r"locked by another process for 0\.2 s"):
            manager(broker, journal).submit_plan(frozen.plan_id)
    # What was not claimed was not sent, and what was sent is found again.
    assert broker.orders_received == int(answered)
    report = manager(broker, journal).resume(frozen.plan_id)
    assert (report.count(S.SUBMITTED), report.status, broker.orders_received) == (2, PlanStatus.SENT, 2)
    journal.close()


def test_a_writer_waits_for_a_journal_that_another_process_gives_back(
    tmp_path: Path, broker: BentBroker
) -> None:
    journal = Journal(tmp_path / "journal.sqlite", busy_timeout=60)
    frozen = freeze(journal, broker, planned("AAPL", 10))
    with held_by_another_process(journal) as holder, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(manager(broker, journal).submit_plan, frozen.plan_id)
        with pytest.raises(TimeoutError):
            sending.result(0.5)
        assert broker.orders_received == 0
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert sending.result(60).count(S.SUBMITTED) == 1
    journal.close()


class UnforeseenError(Exception):
    """An error that nobody foresaw."""


@pytest.mark.parametrize("failure", [UnforeseenError, KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("where", ["before the send", "after the send", "at the answer"])
def test_an_exception_in_our_own_code_after_the_claim_loses_nothing_and_doubles_nothing(
    journal: Journal,
    broker: BentBroker,
    monkeypatch: pytest.MonkeyPatch,
    failure: type[BaseException],
    where: str,
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    sync(broker, journal)

    def fail(*_: object, **__: object) -> None:
        raise failure("not foreseen")

    with monkeypatch.context() as patch:
        if where == "at the answer":
            patch.setattr(Sender, "_record", fail)  # in a window of two each answer is recorded at once
        elif where == "after the send":
            broker.after_place = fail
        else:
            broker.on_place = fail
        with pytest.raises(failure):
            manager(broker, journal, max_in_flight=2).submit_plan(frozen.plan_id)
    broker.after_place = broker.on_place = lambda _: None
    sent = 0 if where == "before the send" else 1
    assert broker.orders_received == sent
    report = manager(broker, journal).resume(frozen.plan_id)
    assert broker.orders_received == 1 + sent
    # Nobody can tell that the first was not sent: it is never sent again.
    assert (report.count(S.SUBMITTED), report.count(S.UNKNOWN)) == (1 + sent, 1 - sent)
    broker.disconnect()
    broker.advance(at(E, "17:45"))
    broker.connect()
    learned = sync(broker, journal, writer=True)
    assert (learned.new_executions, learned.unknown, len(learned.expired)) == (1 + sent, (), 1 - sent)


def test_an_older_journal_sends_nothing_although_the_broker_hides_its_orders(
    tmp_path: Path, journal: Journal, broker: BentBroker
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    sync(broker, journal)
    backup = tmp_path / "older.sqlite"
    with closing(sqlite3.connect(journal.path)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    manager(broker, journal).submit_plan(frozen.plan_id)
    older = Journal(backup)
    broker.disconnect()
    broker.connect()
    broker.bend = lambda seen: replace(seen, open_orders=())
    for _ in range(2):
        with pytest.raises(ReconciliationBreakError, match=r"used order id 2 .* sent none beyond 0"):
            manager(broker, older).submit_plan(frozen.plan_id)
    assert broker.orders_received == 2
    assert (older.latch().state, older.latch().by) == (LatchState.HALTED, "order ids")
    # The same journal as before, and one that a person has resumed, go on.
    assert manager(broker, journal).resume(frozen.plan_id).count(S.UNKNOWN) == 2
    older.set_latch(LatchState.ACTIVE, by="ann", reason="compared with TWS", now=broker.now())
    broker.bend = lambda seen: seen
    with pytest.raises(ReconciliationBreakError, match="was not sent from this journal"):
        manager(broker, older).submit_plan(frozen.plan_id)
    older.close()
