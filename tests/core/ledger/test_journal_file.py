import multiprocessing
import sqlite3
import threading
from pathlib import Path

import pytest
from ledger_support import ACCOUNT, NOW, freeze

from hrp_core.errors import JournalError, NotReadyError, RefusedError
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import ExternalPolicy, OrderId
from hrp_core.portfolio.types import SymbolAction


def test_a_journal_is_bound_to_one_mode_and_account(journal: Journal) -> None:
    with pytest.raises(NotReadyError, match="not bound"):
        journal.binding()
    journal.bind("sim", ACCOUNT, NOW)
    journal.bind("sim", ACCOUNT, NOW)
    assert journal.binding() == ("sim", ACCOUNT)
    for mode, account in (("paper", ACCOUNT), ("sim", "DU7654321")):
        with pytest.raises(RefusedError, match=f"refuses {mode} account {account}"):
            journal.bind(mode, account, NOW)


def test_every_commit_is_synced_and_readers_do_not_block_the_writer(journal: Journal) -> None:
    frozen = freeze(journal)
    with journal._database.read() as connection:
        pragmas = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        connection.execute("SELECT * FROM plans").fetchall()
        # Another connection writes while this one is inside its transaction.
        written = threading.Thread(target=lambda: journal.acquire_epoch("other thread", NOW))
        written.start()
        written.join(timeout=5)
        assert not written.is_alive()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert journal.plan(frozen.plan_id) == frozen


def test_a_journal_that_another_program_holds_is_an_error_after_a_bounded_wait(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path, busy_timeout=0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match=r"locked by another process for 0\.05 s"):
        journal.acquire_epoch("me", NOW)
    holder.execute("ROLLBACK")
    assert journal.acquire_epoch("me", NOW) == 1
    holder.close()
    journal.close()


def test_an_exception_inside_a_transaction_undoes_it(journal: Journal) -> None:
    def fail() -> None:
        with journal._database.write() as connection:
            connection.execute("INSERT INTO fence (owner, acquired_at) VALUES ('x', 'now')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert journal.acquire_epoch("me", NOW) == 1


def test_a_foreign_database_and_a_newer_journal_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.sqlite"
    other = sqlite3.connect(foreign)
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(JournalError, match="not an order journal"):
        Journal(foreign)
    newer = tmp_path / "newer.sqlite"
    Journal(newer).close()
    raw = sqlite3.connect(newer)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(JournalError, match="newer program"):
        Journal(newer)
    text = tmp_path / "text.sqlite"
    text.write_text("this is no database, but long enough to be read as one" * 20)
    with pytest.raises(JournalError):
        Journal(text)


def _create(path: Path, barrier: "threading.Barrier", failures: "multiprocessing.SimpleQueue[str]") -> None:
    barrier.wait(30)
    try:
        journal = Journal(path)
        journal.bind("sim", ACCOUNT, NOW)
        journal.close()
    except JournalError as error:
        failures.put(str(error))


def test_processes_that_create_a_journal_at_once_all_get_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, failures = context.Barrier(4), context.SimpleQueue()
    workers = [
        context.Process(target=_create, args=(tmp_path / "j.sqlite", barrier, failures)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert failures.empty()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]


def test_a_forked_child_works_on_its_own_connection(journal: Journal) -> None:
    journal.bind("sim", ACCOUNT, NOW)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=lambda: journal.acquire_epoch("child", NOW))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert journal.acquire_epoch("parent", NOW) == 2


def test_a_journal_of_the_first_version_is_upgraded_in_place(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    old = sqlite3.connect(path)
    added = "cross_prices", "crosses", "external_orders", "symbol_controls", "plan_drops", "arm_uses"
    added += "flow_sessions", "trade_strategies", "order_ids", "splits"
    for table in (*added, "arm_tokens", "flatten_uses", "flatten_codes"):
        old.execute(f"DROP TABLE {table}")
    old.execute("DROP INDEX intents_by_contract")
    old.execute("PRAGMA user_version = 1")
    old.close()
    journal = Journal(path)
    assert journal.book_crosses() == journal.splits() == ()
    assert journal.decide_external({7: ""}, ExternalPolicy.ADOPT, NOW) == (7,)
    journal.control_symbol("KO", SymbolAction.FREEZE, until=None, by="ann", reason="merger", now=NOW)
    assert journal.symbol_controls(NOW.date()) == {"KO": SymbolAction.FREEZE}
    with journal._database.read() as connection:
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'intents_by_contract'").fetchone()
    assert journal.check_order_ids(OrderId(1, 40), NOW) == ""
    journal.close()
    assert Journal(path).external_orders() == {7: ExternalPolicy.ADOPT}
