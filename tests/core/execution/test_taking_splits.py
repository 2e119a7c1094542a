"""Taking a split into the ledger: shown, proven by the broker's shares, recorded once."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from duckdb import DuckDBPyConnection
from order_support import BentBroker, D, E, F, at, planned
from typer.testing import CliRunner
from watch_support import Floor, in_process_floor

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import RefusedError
from hrp_core.execution import splits as splits_module
from hrp_core.execution.bookkeeping import session_nav, session_positions
from hrp_core.execution.broker import BrokerSnapshot
from hrp_core.execution.projections import project_book, rebuild
from hrp_core.execution.reconciliation import Reconciliation, ReconciliationStatus, run_reconciliation
from hrp_core.execution.splits import split_effects, take_splits
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import BreakClass, LatchState
from hrp_core.simgateway.files import GatewayInfo
from hrp_core.store import EventType, Sessions, Store, read_lineage, replace_slice, table
from hrp_dagster.cli.app import app

CLOSE = 70.0  # of KO on F, at the old number of shares


@pytest.fixture
def floor(tmp_path: Path, store: Store, journal: Journal, broker: BentBroker) -> Floor:
    """101 KO and 10 AAPL since E."""
    made = in_process_floor(tmp_path, store, journal, broker)
    made.store_closes()
    made.send(planned("KO", 101), planned("AAPL", 10))
    made.advance(at(E, "18:30"))
    made.store_closes(session=E)
    reconcile(made)
    return made


def reconcile(floor: Floor) -> Reconciliation:
    with floor.connect() as broker:
        return run_reconciliation(
            floor.settings, floor.store, floor.journal, broker, floor.clock.now(), run_id="test"
        )


def holding(shares: int) -> Callable[[BrokerSnapshot], BrokerSnapshot]:
    """Bend every snapshot: the account has so many KO."""

    def bend(seen: BrokerSnapshot) -> BrokerSnapshot:
        positions = (
            replace(item, shares=shares) if item.contract.symbol == "KO" else item for item in seen.positions
        )
        return replace(seen, positions=tuple(item for item in positions if item.shares))

    return bend


def split(floor: Floor, broker: BentBroker, factor: float, shares: int) -> Reconciliation:
    """Let KO split on F, at the broker too, where other names trade as ever."""
    floor.send(planned("MSFT", 5), session=E)
    floor.advance(at(F, "18:30"))
    floor.store_closes(session=F, KO=CLOSE / factor)
    floor.store_split("KO", factor, session=F)
    broker.bend = holding(shares)
    return reconcile(floor)


def shares(floor: Floor) -> dict[str, int]:
    return {symbol: each.shares for symbol, each in read_book(floor.journal).holdings.items()}


def take(floor: Floor, symbol: str = "KO") -> tuple[splits_module.SplitEffect, ...]:
    return take_splits(floor.store, floor.journal, symbol, by="ann", now=floor.clock.now())


@pytest.mark.parametrize(
    ("factor", "after", "fraction"),
    [
        (4.0, 404, Fraction(0)),
        (0.1, 10, Fraction(1, 10)),
        (0.333333, 33, Fraction(2, 3)),
        (0.005, 0, Fraction(101, 200)),
    ],
)
def test_a_split_is_named_shown_and_taken_once_and_moves_no_value(
    floor: Floor, broker: BentBroker, factor: float, after: int, fraction: Fraction
) -> None:
    found = split(floor, broker, factor, after)
    assert [item.cause for item in found.breaks] == [BreakClass.CORPORATE_ACTION]
    assert "see `hrp split KO`" in found.breaks[0].message
    assert floor.journal.latch().state is LatchState.ACTIVE
    cash = read_book(floor.journal).cash
    [effect] = split_effects(floor.store, floor.journal, "KO", by="ann", now=floor.clock.now())
    assert floor.journal.splits() == ()
    assert effect.before == {"": 101, "HYP-2026-001": 101}
    assert effect.after == ({"": after, "HYP-2026-001": after} if after else {})
    assert effect.fraction == fraction
    worth = (
        None if not fraction else Decimal(repr(CLOSE / factor)) * fraction.numerator / fraction.denominator
    )
    assert effect.cash_in_lieu == (None if worth is None else round(worth, 4))
    assert take(floor) == (effect,)
    assert shares(floor) == {"AAPL": 10, "MSFT": 5, **({"KO": after} if after else {})}
    assert read_book(floor.journal).cash == cash
    assert reconcile(floor).status is ReconciliationStatus.RECONCILED
    # The second time there is nothing left to do, and it is told once.
    assert take(floor) == ()
    assert len(floor.journal.splits()) == 1
    events = read_lineage(floor.store, event_type=EventType.SPLIT_TAKEN)
    assert [(row["actor"], json.loads(row["details"])["after"]) for _, row in events.iterrows()] == [
        ("ann", after)
    ]


def test_the_tables_follow_and_the_nav_does_not_move(floor: Floor, broker: BentBroker) -> None:
    split(floor, broker, 4.0, 404)
    take(floor)
    now = floor.clock.now()
    positions = session_positions(floor.settings, floor.store, floor.journal, floor.connect, E, now)
    row = positions[(positions["symbol"] == "KO") & (positions["strategy_id"] == "")].iloc[0]
    bought = Decimal(68)  # the open of E
    assert (row["shares"], row["average_price"]) == (404, bought / 4)
    assert row["market_value"] == Decimal(101) * Decimal(CLOSE)
    nav = session_nav(floor.store, floor.journal, E, now).iloc[0]
    assert nav["nav"] == nav["cash"] + sum(positions[positions["strategy_id"] == ""]["market_value"])
    before = session_positions(floor.settings, floor.store, floor.journal, floor.connect, D, now)
    assert before[before["symbol"] == "KO"]["shares"].tolist() == [101, 101]
    rebuilt = rebuild(floor.store, floor.journal, now, run_id="test")
    assert rebuilt.last == E
    with floor.store.read() as connection:
        rows = connection.execute(
            "SELECT session, shares, average_price FROM positions WHERE symbol = 'KO' AND strategy_id = '' "
            "ORDER BY session"
        ).fetchall()
        live = connection.execute(
            "SELECT quantity, entry_price, cost_basis FROM live_positions WHERE symbol = 'KO'"
        ).fetchall()
    assert rows == [(D, 101, bought), (E, 404, bought / 4)]
    # The commission of the purchase stands in the basis as before.
    assert live == [(404, bought / 4, 101 * bought + Decimal(1))]
    assert project_book(floor.store, floor.journal)


@pytest.mark.parametrize("at_broker", [101, 303, 405, 0])
def test_another_number_of_shares_at_the_broker_is_refused_and_halts(
    floor: Floor, broker: BentBroker, at_broker: int
) -> None:
    found = split(floor, broker, 4.0, at_broker)
    assert (found.status is ReconciliationStatus.RECONCILED) == (at_broker == 101)
    with pytest.raises(
        RefusedError, match=f"which KO 4 new for 1 old of {F} makes 404, and the broker held {at_broker}"
    ):
        take(floor)
    assert (floor.journal.splits(), shares(floor)["KO"]) == ((), 101)
    assert (floor.journal.latch().state is LatchState.HALTED) == (at_broker != 101)


def test_what_is_not_known_or_not_looked_at_yet_is_refused(floor: Floor, broker: BentBroker) -> None:
    with pytest.raises(RefusedError, match="no split of KO is known"):
        take(floor)
    floor.store_split("KO", 4.0, session=F)
    with pytest.raises(RefusedError, match="no split of KO is known"):
        take(floor)  # it takes effect tomorrow
    floor.advance(at(F, "08:00"))
    with pytest.raises(RefusedError, match="nothing was asked of the broker since"):
        take(floor)
    broker.bend = holding(404)
    assert [item.cause for item in reconcile(floor).breaks] == [BreakClass.CORPORATE_ACTION]
    assert len(take(floor)) == 1


def test_while_an_order_of_our_own_may_explain_the_shares_nothing_is_taken(
    floor: Floor, broker: BentBroker
) -> None:
    floor.send(planned("KO", 7), session=E)
    floor.advance(at(F, "08:00"))
    floor.store_split("KO", 4.0, session=F)
    broker.bend = holding(404)
    reconcile(floor)
    with pytest.raises(RefusedError, match="our own order S221216-"):
        take(floor)


def test_one_that_ended_in_the_middle_is_finished_by_the_next(
    floor: Floor, broker: BentBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    floor.advance(at(F, "18:30"))
    actions = pd.DataFrame(
        [
            {
                "session": F,
                "symbol": "KO",
                "kind": kind,
                "factor": factor,
                "amount": None,
                "effective_session": day,
            }
            for kind, factor, day in (("split", 0.1, F), ("spin-off", 4.0, F - timedelta(days=2)))
        ]
    )
    with floor.store.write() as connection:
        store_actions(connection, actions)
    broker.bend = holding(40)  # 101 x 4 = 404, of which a tenth
    reconcile(floor)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(splits_module, "log_event", die)
        with pytest.raises(KeyboardInterrupt):
            take(floor)
    assert [item.ratio for item in floor.journal.splits()] == [4]
    assert shares(floor)["KO"] == 404
    assert [effect.split.ratio for effect in take(floor)] == [Fraction(1, 10)]
    assert shares(floor)["KO"] == 40
    assert reconcile(floor).status is ReconciliationStatus.RECONCILED
    assert take(floor) == ()


def store_actions(connection: DuckDBPyConnection, frame: pd.DataFrame, session: date = F) -> None:
    replace_slice(
        connection, table("corporate_actions"), frame, Sessions((session,)), "test", None, at(F, "18:00")
    )


def test_what_the_source_said_last_of_a_split_counts(floor: Floor, broker: BentBroker) -> None:
    floor.advance(at(F, "18:30"))
    said = {"symbol": "KO", "amount": None, "effective_session": F}
    rows = [
        {"session": E, "kind": "split", "factor": 2.0, **said},
        {"session": F, "kind": "split", "factor": 4.0, **said},
        {"session": F, "kind": "stock dividend", "factor": 1.5, **said},
    ]
    for row in rows[:1], rows[1:]:
        with floor.store.write() as connection:
            store_actions(connection, pd.DataFrame(row), row[0]["session"])
    broker.bend = holding(606)
    reconcile(floor)
    assert [effect.split.ratio for effect in take(floor)] == [6]


def test_the_command_shows_first_and_records_on_demand(
    floor: Floor, broker: BentBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split(floor, broker, 0.1, 10)
    monkeypatch.setenv("HRP_HOME", str(tmp_path))
    now = floor.clock.now().astimezone(NEW_YORK)
    settings = floor.settings
    settings.gateway_dir.mkdir(parents=True, exist_ok=True)
    GatewayInfo("127.0.0.1", 1, 2, "token", 1, broker.account, now).write(settings.gateway_file)
    runner = CliRunner()
    shown = runner.invoke(app, ["split", "ko"])
    assert shown.exit_code == 0, shown.output
    text = " ".join(shown.output.split())
    assert f"Split of KO 1 new for 10 old of {F}" in text
    assert "1/10 of a share is paid in cash, about 70.00 USD" in text
    assert "hrp split KO --record" in text
    assert floor.journal.splits() == ()
    done = json.loads(runner.invoke(app, ["split", "KO", "--record", "--json"]).stdout)
    assert done["recorded"] is True
    assert done["effects"][0]["after"] == {"account": 10, "HYP-2026-001": 10}
    assert "nothing to do" in runner.invoke(app, ["split", "KO", "--record"]).output
    paid = ["cash", "record", "cash-in-lieu", "69.80", "--reference", f"cash-in-lieu-KO-{F}"]
    assert runner.invoke(app, paid).exit_code == 0
    assert floor.journal.cash_flows()[-1].amount == Decimal("69.80")
