"""Rows are judged in the transaction that writes them, and the op of the checks shows what was found."""

import json
from datetime import date, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from hrp_core.calendar import NEW_YORK
from hrp_core.checks import CLAIMS
from hrp_core.settings import Settings
from hrp_core.store import Store, migrate, partition_versions
from hrp_core.store.tables import TABLES
from hrp_dagster.checks import build_checks
from hrp_dagster.checks.verdicts import take_verdicts
from hrp_dagster.metadata import definition_metadata
from hrp_dagster.partitions import session_partitions
from hrp_dagster.resources.duckdb_io_manager import StoreIOManager
from hrp_dagster.resources.platform import Platform

D = date(2022, 12, 15)
NOW = datetime(2022, 12, 15, 17, 30, tzinfo=NEW_YORK)
NAMES = ("AAPL", "KO")


class Installation:
    """A migrated database, a simulated clock, and runs of one asset with or without its checks."""

    def __init__(self, home: Path) -> None:
        settings = Settings.model_validate({"home": home})
        self.store = Store(settings.database_path)
        migrate(self.store)
        settings.gateway_file.write_text(json.dumps({"now": NOW.isoformat()}))
        platform = Platform(home=str(home))
        self._resources = {
            "platform": platform,
            "io_manager": StoreIOManager.from_settings(settings, platform),
        }

    def run(
        self, *, inside: bool = True, checks: bool = True, writes: bool = True
    ) -> dg.ExecuteInProcessResult:
        @dg.asset(partitions_def=session_partitions, metadata=definition_metadata(TABLES["universe"]))
        def universe() -> pd.DataFrame:
            return pd.DataFrame(
                {"session": D, "symbol": NAMES, "in_universe": inside, "reason": "listed"},
            )

        @dg.asset(name="universe", partitions_def=session_partitions)
        def stored_before() -> None: ...

        selection = dg.AssetSelection.assets("universe")
        with dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize(
                [universe if writes else stored_before, build_checks("universe")],
                instance=instance,
                resources=self._resources,
                partition_key=D.isoformat(),
                selection=selection if checks else selection.without_checks(),
                raise_on_error=False,
            )

    def recorded(self) -> list[tuple[str, str, str, bool]]:
        with self.store.read() as connection:
            return connection.execute(
                "SELECT claim, content_hash, run_id, passed FROM check_results ORDER BY checked_at, claim"
            ).fetchall()

    def content_hash(self) -> str:
        with self.store.read() as connection:
            [version] = partition_versions(connection, "universe", [D])
        return version.content_hash


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_a_run_with_checks_records_the_verdicts_of_what_it_wrote_and_shows_them(
    installation: Installation,
) -> None:
    result = installation.run()

    recorded = installation.recorded()
    assert {row[1:3] for row in recorded} == {(installation.content_hash(), result.run_id)}
    shown = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    assert shown == {row[0]: row[3] for row in recorded}
    assert set(shown) == {claim.name for claim in CLAIMS["universe"]}
    assert take_verdicts(result.run_id, "universe", [D]) is None


def test_a_run_without_checks_judges_nothing(installation: Installation) -> None:
    result = installation.run(checks=False)

    assert result.success
    assert installation.recorded() == []


def test_checks_of_rows_that_their_run_did_not_write_judge_what_is_stored(installation: Installation) -> None:
    installation.run(checks=False)
    later = installation.run(writes=False)

    assert {row[1:3] for row in installation.recorded()} == {(installation.content_hash(), later.run_id)}
    assert len(later.get_asset_check_evaluations()) == len(CLAIMS["universe"])


def test_rows_of_which_a_blocking_claim_is_false_are_stored_with_that_verdict(
    installation: Installation,
) -> None:
    result = installation.run(inside=False)

    assert not result.success
    blocking = {claim.name for claim in CLAIMS["universe"] if claim.blocking}
    failed = {row[0] for row in installation.recorded() if not row[3]}
    assert failed & blocking
    assert {row[1] for row in installation.recorded()} == {installation.content_hash()}


def test_a_second_run_replaces_the_verdicts_of_the_same_content_and_keeps_those_of_another(
    installation: Installation,
) -> None:
    installation.run(inside=False)
    installation.run()
    last = installation.run()

    contents = [row[1] for row in installation.recorded()]
    assert len(set(contents)) == 2
    assert len(contents) == 2 * len(CLAIMS["universe"])
    newest = [row for row in installation.recorded() if row[1] == installation.content_hash()]
    assert {row[2] for row in newest} == {last.run_id}
