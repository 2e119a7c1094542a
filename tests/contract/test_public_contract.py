"""What users were promised, by name: one test a promise. Behaviour in depth is tested beside each module."""

import inspect
import socket
import warnings
from dataclasses import FrozenInstanceError, fields
from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from hrp_core.execution import (
    BrokerConfig,
    IBKRBroker,
    Order,
    OrderManager,
    OrderSide,
    OrderStatus,
    OrderType,
    Position,
    PositionTracker,
)
from hrp_core.execution.broker import Broker
from hrp_core.execution.projection_tables import EXECUTED_TRADES, LIVE_POSITIONS
from hrp_core.ledger.journal import Journal
from hrp_core.models.drift import WINDOW
from hrp_core.models.drift_checks import MIN_PREDICTIONS
from hrp_core.platform import PlatformAPI
from hrp_core.platform.jobs import BookResult, DriftResult, PredictionsResult, TradingResult
from hrp_core.portfolio import ConversionConfig, SignalConverter, predictions_to_signals
from hrp_core.portfolio.freshness import LEAST_ROWS, MOST_SESSIONS_OLD
from hrp_core.settings import Mode, Settings
from hrp_core.store import EventType, Store, migrate, query_readonly, table
from hrp_core.store.readonly import ROW_LIMIT

PAPER, LIVE = "DU1234567", "U1234567"


def parameters(function: object) -> dict[str, object]:
    """Return the parameters of a function in order, with their defaults (`...` for none)."""
    found = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return {
        each.name: ... if each.default is inspect.Parameter.empty else each.default
        for each in found
        if each.name != "self"
    }


# --- hrp_core.execution ------------------------------------------------------------------------------


def test_broker_config_is_frozen_with_its_defaults() -> None:
    config = BrokerConfig("127.0.0.1", 7497, 1, PAPER)
    assert (config.paper_trading, config.timeout) == (True, 10)
    with pytest.raises(FrozenInstanceError):
        config.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(("host", "account", "says"), [("", PAPER, "host"), ("127.0.0.1", "", "account")])
def test_broker_config_requires_host_and_account(host: str, account: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says} is required$"):
        BrokerConfig(host, 7497, 1, account)


@pytest.mark.parametrize("port", [7497, 4002])
def test_a_paper_configuration_on_a_paper_port_is_accepted_silently(port: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BrokerConfig("127.0.0.1", port, 1, PAPER)


def test_a_paper_configuration_on_an_unknown_port_warns() -> None:
    with pytest.warns(UserWarning, match="5000"):
        BrokerConfig("127.0.0.1", 5000, 1, PAPER)


@pytest.mark.parametrize(
    ("port", "account", "paper"),
    [
        (7496, PAPER, True),
        (4001, PAPER, True),
        (7496, PAPER, False),
        (7497, LIVE, False),
        (4002, LIVE, False),
    ],
)
def test_paper_and_live_are_never_mixed(port: int, account: str, paper: bool) -> None:
    with pytest.raises(ValueError, match="live"):
        BrokerConfig("127.0.0.1", port, 1, account, paper_trading=paper)


@pytest.mark.parametrize(("port", "client_id"), [(0, 1), (65536, 1), (7497, -1), (7497, 2**31)])
def test_port_and_client_id_have_ranges(port: int, client_id: int) -> None:
    with pytest.raises(ValueError, match="must be between"):
        BrokerConfig("127.0.0.1", port, client_id, PAPER)


def test_the_environment_has_the_promised_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_ACCOUNT", PAPER)
    assert BrokerConfig.from_env() == BrokerConfig("127.0.0.1", 7497, 1, PAPER, paper_trading=True)


def test_the_broker_implements_the_whole_protocol() -> None:
    wanted = {name for name in vars(Broker) if not name.startswith("_")} | {"__enter__", "__exit__"}
    assert {"connect", "disconnect", "is_connected", "place", "cancel", "snapshot"} <= wanted
    assert [name for name in wanted if not hasattr(IBKRBroker, name)] == []


def test_connecting_to_nothing_says_cause_and_fix_and_disconnecting_twice_is_harmless() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.warns(UserWarning, match=str(port)):
        broker = IBKRBroker(BrokerConfig("127.0.0.1", port, 1, PAPER, timeout=5))
    with pytest.raises(ConnectionError, match=rf"(?s){port}.*API"):
        broker.connect()
    assert broker.is_connected() is False
    broker.disconnect()
    broker.disconnect()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"quantity": 0}, "quantity must be positive"),
        ({"order_type": OrderType.LIMIT}, "Limit orders require limit_price"),
        ({"order_type": OrderType.LIMIT, "limit_price": Decimal(0)}, "limit_price must be positive"),
    ],
)
def test_an_order_says_what_is_wrong_with_it(more: dict[str, object], says: str) -> None:
    values = {"symbol": "AAPL", "side": OrderSide.BUY, "quantity": 1, "order_type": OrderType.MARKET, **more}
    with pytest.raises(ValueError, match=f"^{says}$"):
        Order(**values)  # type: ignore[arg-type]


def test_a_new_order_is_pending_with_an_id_and_the_promised_fields() -> None:
    order = Order("AAPL", OrderSide.BUY, 10, OrderType.LIMIT, limit_price=Decimal("150"))
    assert (order.status, bool(order.order_id)) == (OrderStatus.PENDING, True)
    names = {each.name for each in fields(order)}
    assert {
        "broker_order_id", "submitted_at", "filled_at", "filled_price", "filled_quantity", "commission"
    } <= names  # fmt: skip
    assert isinstance(order.limit_price, Decimal)


def test_order_statuses_keep_their_names() -> None:
    promised = "pending submitted partially_filled filled cancelled rejected held unknown expired"
    assert set(promised.split()) <= {status.value for status in OrderStatus}


def test_the_order_manager_has_its_methods_and_refuses_without_a_connection(tmp_path: Path) -> None:
    for name in ("submit_order", "get_order", "get_all_orders", "cancel_order", "submit_plan", "resume"):
        assert callable(getattr(OrderManager, name))
    settings = Settings(mode=Mode.PAPER, home=tmp_path)
    broker = IBKRBroker(BrokerConfig("127.0.0.1", 7497, 1, PAPER))
    manager = OrderManager(broker, Journal(settings.journal_path), clock=settings.clock(), mode="paper")
    with pytest.raises(ValueError, match=r"^Broker not connected$"):
        manager.submit_order(Order("AAPL", OrderSide.BUY, 1))


def test_a_position_has_its_fields_and_figures() -> None:
    promised = [
        "symbol",
        "quantity",
        "entry_price",
        "current_price",
        "as_of_date",
        "hypothesis_id",
        "commission_paid",
    ]
    given = parameters(Position)
    assert list(given) == promised
    assert (given["hypothesis_id"], given["commission_paid"]) == (None, 0)
    held = Position("AAPL", 100, Decimal(150), Decimal(155), date(2022, 12, 16), commission_paid=Decimal(1))
    assert (held.market_value, held.cost_basis, held.unrealized_pnl) == (15500, 15001, 499)
    assert held.unrealized_pnl_pct == pytest.approx(499 / 15001)
    held.update_price(Decimal(160))
    assert held.market_value == 16000
    assert Position("AAPL", 0, Decimal(0), Decimal(1), date(2022, 12, 16)).unrealized_pnl_pct == 0.0


def test_the_position_tracker_has_its_methods_and_refuses_without_a_connection(tmp_path: Path) -> None:
    broker = IBKRBroker(BrokerConfig("127.0.0.1", 7497, 1, PAPER))
    tracker = PositionTracker(broker, PlatformAPI(settings=Settings(mode=Mode.PAPER, home=tmp_path)))
    with pytest.raises(ValueError, match=r"^Broker not connected$"):
        tracker.sync_positions()
    assert (tracker.get_position("AAPL"), tracker.get_all_positions()) == (None, [])
    assert callable(tracker.persist_positions)


# --- hrp_core.portfolio ------------------------------------------------------------------------------


def predictions(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"symbol": [f"S{i:02d}" for i in range(count)], "prediction": [float(i) for i in range(count)]}
    )


@pytest.mark.parametrize(("names", "long"), [(1, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_rank_takes_the_top_tenth_rounded_up_and_at_least_one(names: int, long: int) -> None:
    given = parameters(predictions_to_signals)
    assert (given["method"], given["top_pct"], given["threshold"]) == ("rank", 0.1, 0.0)
    signals = predictions_to_signals(predictions(names))
    assert signals.nlargest(long, "prediction")["signal"].tolist() == [1.0] * long
    assert signals["signal"].sum() == long


def test_threshold_is_inclusive_zscore_needs_a_spread_and_nan_is_no_name() -> None:
    frame = pd.DataFrame({"symbol": list("ABC"), "prediction": [0.0, -0.1, float("nan")]})
    assert predictions_to_signals(frame, "threshold")["signal"].tolist() == [1.0, 0.0, 0.0]
    flat = pd.DataFrame({"symbol": list("AB"), "prediction": [1.0, 1.0]})
    assert predictions_to_signals(flat, "zscore")["signal"].tolist() == [0.0, 0.0]


def test_with_a_session_column_the_rule_runs_per_session() -> None:
    two = pd.concat([predictions(10).assign(session=date(2022, 12, day)) for day in (15, 16)])
    assert predictions_to_signals(two).groupby("session")["signal"].sum().tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"max_position_pct": 1.5}, "max_position_pct must be between 0 and 1"),
        ({"max_positions": 0}, "max_positions must be positive"),
    ],
)
def test_a_conversion_says_what_is_wrong_with_its_limits(limits: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ConversionConfig(100_000, **limits)  # type: ignore[arg-type]


def test_a_conversion_has_its_defaults_and_needs_prices() -> None:
    config = ConversionConfig(Decimal(100_000))
    assert (config.max_positions, config.max_position_pct, config.min_order_value) == (20, 0.10, 100)
    signals = predictions_to_signals(predictions(2))
    with pytest.raises(ValueError, match="current_prices"):
        SignalConverter(config).signals_to_orders(signals)
    [order] = SignalConverter(config).signals_to_orders(signals, current_prices={"S00": 10.0, "S01": 30.0})
    assert (order.symbol, order.quantity) == ("S01", 333)


# --- hrp_core.platform.PlatformAPI -------------------------------------------------------------------

SIGNATURES = {
    "get_live_positions": {"as_of_date": None},
    "get_executed_trades": {"symbol": None, "start_date": None, "end_date": None, "limit": 100},
    "record_trade": {
        "order": ..., "filled_price": ..., "filled_quantity": None, "commission": None, "hypothesis_id": None
    },
    "get_portfolio_value": {},
    "get_deployed_strategies": {},
    "get_universe": {"as_of_date": ...},
    "predict_model": {"model_name": ..., "symbols": ..., "as_of_date": ..., "model_version": None},
    "get_model_predictions": {"model_name": ..., "as_of_date": None, "start_date": None, "end_date": None},
    "check_model_drift": {"model_name": ..., "current_data": None, "reference_data": None},
    "log_event": {"event_type": ..., "actor": ..., "hypothesis_id": None, "details": None},
    "query_readonly": {"sql": ..., "params": ()},
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_facade_has_its_methods_with_their_defaults(name: str) -> None:
    assert parameters(getattr(PlatformAPI, name)) == SIGNATURES[name]
    assert inspect.getdoc(getattr(PlatformAPI, name))


def test_the_rest_of_the_facade() -> None:
    assert parameters(PlatformAPI) == {"settings": None, "clock": None}
    assert list(parameters(PlatformAPI.rollback_deployment)) == [
        "model_name",
        "to_version",
        "actor",
        "reason",
    ]
    for name in ("get_prices", "get_features", "get_lineage"):
        assert callable(getattr(PlatformAPI, name))


def test_two_samples_of_one_kind_do_not_drift_and_shifted_ones_do(tmp_path: Path) -> None:
    api = PlatformAPI(settings=Settings(mode=Mode.PAPER, home=tmp_path))
    frame = pd.DataFrame({"x": [float(i % 97) for i in range(1000)], "few": [1.0] * 5 + [float("nan")] * 995})
    same = api.check_model_drift("any", frame, frame)
    assert same["summary"] == {"total_checks": 4, "drift_detected": False, "num_drifts": 0}
    assert same["few.psi"]["status"] == "insufficient"
    moved = api.check_model_drift("any", frame.assign(x=frame["x"] + 60), frame)
    assert moved["summary"] == {"total_checks": 4, "drift_detected": True, "num_drifts": 2}
    assert moved["x.psi"]["statistic"] > moved["x.psi"]["threshold"] == 0.2
    with pytest.raises(ValueError, match="share no numeric column"):
        api.check_model_drift("any", frame, frame.rename(columns={"x": "y", "few": "z"}))


def test_a_rollback_needs_an_actor_and_a_reason(tmp_path: Path) -> None:
    api = PlatformAPI(settings=Settings(mode=Mode.PAPER, home=tmp_path))
    with pytest.raises(Exception, match="needs an actor and a reason"):
        api.rollback_deployment("alpha", "1", "me", "")


def test_a_query_is_cut_at_ten_thousand_rows() -> None:
    assert ROW_LIMIT == 10_000
    assert parameters(query_readonly)["limit"] == ROW_LIMIT


# --- tables ------------------------------------------------------------------------------------------

TRADE_COLUMNS = (
    "trade_id order_id broker_order_id hypothesis_id symbol side quantity order_type limit_price "
    "filled_price filled_quantity commission status submitted_at filled_at created_at"
)
POSITION_COLUMNS = (
    "symbol quantity entry_price current_price market_value cost_basis unrealized_pnl unrealized_pnl_pct "
    "hypothesis_id as_of_date updated_at"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("store") / "hrp.duckdb")
    migrate(made)
    return made


@pytest.mark.parametrize(
    ("declared", "columns"), [(EXECUTED_TRADES, TRADE_COLUMNS), (LIVE_POSITIONS, POSITION_COLUMNS)]
)
def test_trades_and_positions_have_their_columns_with_mode_and_account(
    declared, columns: str, store: Store
) -> None:
    wanted = [*columns.split(), "mode", "account"]
    assert list(declared.column_names) == wanted
    found = query_readonly(store, f"DESCRIBE {declared.name}").set_index("column_name")["column_type"]
    assert found.index.tolist() == wanted
    for name, kind in found.items():
        if str(name).endswith("_price"):
            assert kind == "DECIMAL(18,6)", name
        if name in ("commission", "market_value", "cost_basis", "unrealized_pnl"):
            assert kind == "DECIMAL(18,4)", name


def test_trades_are_indexed_by_hypothesis_symbol_and_time(store: Store) -> None:
    found = query_readonly(
        store, "SELECT expressions FROM duckdb_indexes() WHERE table_name = 'executed_trades'"
    )
    assert sorted(text.strip("[]'\"") for text in found["expressions"]) == [
        "filled_at",
        "hypothesis_id",
        "symbol",
    ]


def test_the_other_tables_exist(store: Store) -> None:
    for name in ("hypotheses", "model_deployments", "model_drift_checks", "lineage"):
        assert query_readonly(store, f"SELECT count(*) AS n FROM {name}")["n"].tolist() == [0]


@pytest.mark.parametrize("name", ["orders", "fills", "positions", "nav"])
def test_every_execution_and_book_row_carries_account_and_mode(name: str) -> None:
    assert {"account", "mode"} <= set(table(name).column_names)


# --- jobs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (PredictionsResult, "status predictions_generated strategies_processed errors"),
        (TradingResult, "status orders_submitted positions_synced"),
        (DriftResult, "status models_checked models_with_drift rollbacks_triggered"),
        (BookResult, "status"),
    ],
)
def test_each_job_has_its_result(result: type, names: str) -> None:
    assert set(names.split()) <= {each.name for each in fields(result)}


def test_the_least_data_to_score_and_to_watch() -> None:
    assert LEAST_ROWS == {"features": 100, "prices": 1_000}
    assert MOST_SESSIONS_OLD == 3
    assert (MIN_PREDICTIONS, WINDOW) == (10, 7)


@pytest.mark.parametrize(("mode", "dry"), [(Mode.SIM, False), (Mode.PAPER, True), (Mode.LIVE, True)])
def test_a_dry_run_is_the_default_in_paper_and_live_and_off_in_sim(
    mode: Mode, dry: bool, tmp_path: Path
) -> None:
    settings = Settings(mode=mode, home=tmp_path)
    assert (settings.is_dry_run, settings.auto_rollback) == (dry, False)


def test_the_lineage_knows_every_promised_event() -> None:
    promised = (
        "data_loaded features_computed model_trained model_promoted model_rolled_back prediction_generated "
        "plan_frozen plan_approved gate_verdict order_submitted order_filled order_rejected order_cancelled "
        "order_resolved drift_detected reconciliation_break trading_halted trading_resumed live_armed "
        "cash_recorded"
    )
    assert set(promised.split()) <= {event.value for event in EventType}
