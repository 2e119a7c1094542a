"""What a person is told of the desk's records, from a real journal and a real database."""

from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest

from hrp_core.alerts import AlertKind
from hrp_core.calendar import NEW_YORK
from hrp_core.execution.notices import drift_notices, journal_notices, stale_notices, store_notices
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState
from hrp_core.market.freshness import recent_universe
from hrp_core.store import Sessions, Store, migrate, replace_slice, table

FRI, MON = date(2022, 12, 2), date(2022, 12, 5)
NOW = datetime(2022, 12, 5, 20, 30, tzinfo=NEW_YORK)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "hrp.duckdb")
    migrate(made)
    return made


def put(store: Store, name: str, session: date, rows: list[dict]) -> None:
    declared = table(name)
    frame = pd.DataFrame(rows).assign(session=session).reindex(columns=list(declared.column_names))
    with store.write() as connection:
        replace_slice(connection, declared, frame, Sessions([session]), "run", "1", NOW)


def priced(store: Store, session: date, *symbols: str) -> None:
    names = ("AAPL", "KO", "XOM")
    put(
        store,
        "universe",
        session,
        [{"symbol": name, "in_universe": name in symbols, "reason": "priced"} for name in names],
    )
    rows = [
        {"symbol": name, "close": 1.0, "split_factor": 1.0, "dividend": 0.0, "source": "test"}
        for name in symbols
    ]
    put(store, "prices", session, rows)


def test_an_empty_desk_has_nothing_to_tell(store: Store, tmp_path: Path) -> None:
    assert store_notices(store) == drift_notices(store) == stale_notices(store, NOW) == []
    assert journal_notices(Journal(tmp_path / "journal.sqlite"), NOW) == []


def test_a_latch_that_is_not_open_is_told_with_its_reason(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.set_latch(LatchState.HALTED, by="drawdown", reason="15.2 % below the top", now=NOW)
    [notice] = journal_notices(journal, NOW)
    assert (notice.kind, notice.title) == (AlertKind.HALT, "trading is halted")
    assert "15.2 % below the top" in notice.body
    assert "hrp resume" in notice.next_step
    journal.set_latch(LatchState.ACTIVE, by="quant", reason="explained", now=NOW)
    assert journal_notices(journal, NOW) == []


def test_the_newest_reconciliation_counts(store: Store) -> None:
    def reconciled(moment: datetime, status: str) -> None:
        with store.write() as connection:
            connection.execute(
                "INSERT INTO reconciliation_runs VALUES (?, ?, ?, ?, 1, 0, ?, 'run', 'sim', 'DU1')",
                [f"r-{moment}", MON, moment, status, '[{"message": "AAPL: ledger 10, broker 11"}]'],
            )

    reconciled(NOW, "halted")
    [notice] = store_notices(store)
    assert notice.kind is AlertKind.RECONCILIATION_BREAK
    assert notice.body == "AAPL: ledger 10, broker 11"
    reconciled(NOW.replace(hour=21), "reconciled")
    assert store_notices(store) == []


def test_a_no_go_is_told_with_its_reasons(store: Store) -> None:
    with store.write() as connection:
        connection.execute("CREATE TABLE trade_gate (session DATE, verdict VARCHAR, reasons VARCHAR)")
        connection.execute(
            "INSERT INTO trade_gate VALUES (?, 'no_go', ?), (?, 'blocked', '[]')",
            [MON, '[{"code": "stale", "message": "prices of 2022-12-05 are not complete"}]', FRI],
        )
    [notice] = store_notices(store)
    assert notice.title == "the trade gate says no-go for 2022-12-05"
    assert notice.body == "prices of 2022-12-05 are not complete"
    # What is mended does not hide what comes after it on the same evening.
    with store.write() as connection:
        connection.execute("UPDATE trade_gate SET reasons = replace(reasons, 'stale', 'wrong_account')")
    [other] = store_notices(store)
    assert other.key != notice.key


def test_drift_is_told_once_a_model_and_session(store: Store) -> None:
    row = {
        "model_name": "ranker",
        "model_version": "3",
        "drift_type": "prediction",
        "samples": 50,
        "details": "{}",
    }
    put(
        store,
        "model_drift",
        MON,
        [
            {**row, "subject": "psi", "status": "drift", "statistic": 0.31, "threshold": 0.2},
            {**row, "subject": "ks", "status": "ok", "statistic": 0.01, "threshold": 0.2},
        ],
    )
    [notice] = drift_notices(store)
    assert notice.title == "ranker version 3: 1 checks found drift"
    assert notice.body == "Session 2022-12-05. prediction of psi: 0.31 against 0.2"
    assert notice.day == MON


def test_a_name_that_lost_its_price_is_told_with_the_sessions_it_is_behind(store: Store) -> None:
    priced(store, FRI, "AAPL", "KO", "XOM")
    priced(store, MON, "AAPL", "KO")
    assert recent_universe(store) == ("AAPL", "KO", "XOM")
    assert recent_universe(store, sessions=1) == ("AAPL", "KO")
    [notice] = stale_notices(store, NOW)
    assert notice.title == "1 of 3 names have no price of 2022-12-05"
    assert notice.body == "XOM ends 2022-12-02, 1 sessions behind"
    assert stale_notices(store, NOW.replace(hour=19)) == []
