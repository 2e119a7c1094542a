"""What a person finds on every asset, in its definition and after a run."""

import os
import subprocess
import sys

import dagster as dg
import pytest
from desk import FIRST, Desk

from hrp_core.calendar import nyse
from hrp_core.settings import Settings
from hrp_core.store import TABLES
from hrp_dagster.definitions import build_defs

EXTERNAL = {"model_registry", "broker_account"}
BULK = {"price_history": "prices", "feature_history": "features"}


def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.path[-1]: spec for spec in build_defs(Settings()).resolve_all_asset_specs()}


def test_every_declared_table_has_its_asset() -> None:
    assert set(specs()) == {*TABLES, *BULK, "trained_model", *EXTERNAL}


@pytest.mark.parametrize("name", sorted({*TABLES, *BULK}))
def test_an_asset_is_described(name: str) -> None:
    spec = specs()[name]
    assert spec.description
    assert len(spec.description) > 30
    assert spec.group_name not in (None, "default")
    assert "duckdb" in spec.kinds
    assert spec.owners == ["team:trading"]
    assert spec.code_version
    schema = spec.metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == list(TABLES[BULK.get(name, name)].column_names)
    assert all(column.description for column in schema.columns)
    assert (spec.partitions_def is None) == (name in BULK)


def test_the_graph_reads_as_the_day_runs() -> None:
    edges = {(dep.asset_key.path[-1], name) for name, spec in specs().items() for dep in spec.deps}
    assert edges == {
        ("universe", "corporate_actions"),
        ("universe", "prices"),
        ("corporate_actions", "prices"),
        ("prices", "features"),
        ("price_history", "feature_history"),
        ("universe", "predictions"),
        ("features", "predictions"),
        ("predictions", "signals"),
        ("signals", "target_portfolio"),
        ("prices", "target_portfolio"),
        ("target_portfolio", "trade_gate"),
        ("target_portfolio", "orders"),
        ("trade_gate", "orders"),
        ("orders", "fills"),
        ("fills", "positions"),
        ("positions", "nav"),
        ("positions", "reconciliation"),
        ("features", "trained_model"),
        ("feature_history", "trained_model"),
        ("features", "model_drift"),
        ("predictions", "model_drift"),
        ("trained_model", "model_registry"),
        ("model_registry", "predictions"),
        ("model_registry", "model_drift"),
        ("orders", "broker_account"),
        ("broker_account", "fills"),
        ("broker_account", "reconciliation"),
        ("fills", "execution_quality"),
        ("prices", "execution_quality"),
    }


def test_jobs_select_what_their_name_says() -> None:
    definitions = build_defs(Settings())
    jobs = {
        name: sorted(
            key.path[-1] for key in definitions.resolve_job_def(name).asset_layer.executable_asset_keys
        )
        for name in (
            *("history_job", "market_data_job", "predictions_job", "live_trader_job", "book_job"),
            *("decision_job", "drift_monitor_job", "training_job"),
        )
    }
    assert jobs == {
        "history_job": ["feature_history", "price_history"],
        "market_data_job": ["corporate_actions", "features", "prices", "universe"],
        "predictions_job": ["model_drift", "predictions", "signals", "target_portfolio"],
        "live_trader_job": ["orders", "trade_gate"],
        "book_job": ["execution_quality", "fills", "nav", "positions", "reconciliation"],
        "decision_job": [
            *("corporate_actions", "features", "model_drift", "predictions"),
            *("prices", "signals", "target_portfolio", "universe"),
        ],
        "drift_monitor_job": ["model_drift"],
        "training_job": ["trained_model"],
    }


def test_the_sending_asset_is_never_retried() -> None:
    job = build_defs(Settings()).resolve_job_def("live_trader_job")
    assert job.get_node_named("orders").retry_policy is None
    assert isinstance(definition := job.get_node_named("orders").definition, dg.OpDefinition)
    assert definition.retry_policy is None


@pytest.mark.desk("sent")
def test_every_materialization_shows_rows_session_preview_and_content(desk: Desk) -> None:
    desk.run("drift_monitor_job", FIRST)
    desk.next_day(FIRST)
    with dg.DagsterInstance.get() as instance:
        for name, spec in specs().items():
            if name in ("trained_model", *EXTERNAL):
                continue
            event = instance.get_latest_materialization_event(spec.key)
            assert event is not None, name
            assert event.asset_materialization is not None
            metadata = event.asset_materialization.metadata
            assert isinstance(metadata["dagster/row_count"].value, int), name
            assert metadata["preview"].value is not None, name
            assert metadata["hrp/content_hash"].value, name
            if spec.partitions_def is not None:
                assert metadata["hrp/session"].value in (str(FIRST), "2022-12-05"), name


@pytest.mark.desk("sent")
def test_the_day_leaves_numbers_that_plot_and_pictures(desk: Desk) -> None:
    book = dict(desk.run("drift_monitor_job", FIRST).metadata)
    following = nyse().next(FIRST)
    desk.at(following, "17:45")
    desk.run("market_data_job", following)
    book |= desk.run("book_job", FIRST).metadata
    for asset, plot, figures in (
        ("nav", "nav_plot", ("nav", "gross_exposure", "net_exposure", "turnover")),
        ("execution_quality", "shortfall_plot", ("shortfall_usd", "shortfall_bps", "commission_bps")),
    ):
        assert all(isinstance(book[asset][name], float) for name in figures), book[asset]
        picture = str(book[asset][plot])
        assert picture.startswith(f"![{plot.removesuffix('_plot')}](data:image/svg+xml;base64,")
        assert len(picture) < 80_000


def test_loading_in_paper_mode_asks_no_broker(tmp_path) -> None:
    home = tmp_path / "nothing"
    environment = {**os.environ, "HRP_HOME": str(home), "HRP_MODE": "paper", "IBKR_PORT": "1"}
    program = "import dagster, hrp_dagster.definitions as d; dagster.Definitions.validate_loadable(d.defs)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not home.exists()


def test_loading_needs_no_gateway_and_no_database(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRP_HOME", str(tmp_path / "nothing"))
    definitions = build_defs(Settings())
    dg.Definitions.validate_loadable(definitions)
    assert not (tmp_path / "nothing").exists()
