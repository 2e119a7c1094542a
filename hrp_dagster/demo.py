"""The demonstration: history, then consecutive sessions through the jobs, against the simulated gateway.

What belongs here: the order of an evening, and picking up where an earlier run stopped. Every step is a job
that the schedules would run; the clock moves only between them.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal

from hrp_core.alerts import FILE_NAME as ALERTS_FILE
from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import HrpError, RefusedError
from hrp_core.execution.bookkeeping import newest_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.nav import official_rows
from hrp_core.ledger.types import OrderStatus, PlanStatus
from hrp_core.models.deployments import PRODUCTION
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.tracking import Tracking
from hrp_core.settings import Mode, Settings
from hrp_core.simgateway.control import GatewayClient, gateway_is_running
from hrp_core.simgateway.files import reset
from hrp_core.store import Store, migrate, newest_session, read_table, table
from hrp_dagster.processes import start_gateway
from hrp_dagster.runs import keeping_instance, run_job

BOOK_TIME = time(17, 45)
PREDICTIONS_TIME = time(18, 15)
TRADER_TIME = time(18, 30)
MARKET_DATA_TIME = time(17, 30)
DEMO_MODEL = "us_equity_ranker"

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """Which sessions a demonstration covers.

    Attributes:
        sessions: decision sessions, consecutive.
        last_execution: the session in which the last orders execute.
    """

    sessions: tuple[date, ...]
    last_execution: date


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a demonstration did.

    Attributes:
        sessions: decision sessions covered.
        traded: how many of them this run traded; the others were there.
        nav: our NAV after the last one, USD.
        broker_net_liquidation: the account at the gateway, USD.
        model: version in production.
        oos_rank_ic: its mean rank IC out of sample, whatever it is; `oos_t_stat` says how far from chance.
    """

    sessions: tuple[date, ...]
    traded: int
    account: str
    nav: Decimal
    broker_net_liquidation: Decimal
    model: str
    oos_rank_ic: float | None
    oos_t_stat: float | None


def demo_plan(settings: Settings, count: int) -> DemoPlan:
    """Return `count` consecutive decision sessions from `HRP_SIM_START` on."""
    calendar = nyse()
    last = calendar.offset(settings.sim_start, count - 1)
    return DemoPlan(tuple(calendar.between(settings.sim_start, last)), calendar.next(last))


def start_fresh(settings: Settings) -> None:
    """Remove gateway, journal, database, alerts and models together, and what Dagster recorded of them.

    Raises:
        RefusedError: the mode is not sim, or a gateway still runs here.
    """
    if settings.mode is not Mode.SIM:
        raise RefusedError(f"--fresh deletes a journal and is for sim only, not {settings.mode.value}")
    reset(settings.gateway_dir)
    for path in (settings.journal_path, settings.database_path):
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}.wal"):
            path.with_name(name).unlink(missing_ok=True)
    # What was told belongs to the sessions that are gone; the same days are played again.
    for path in (settings.mode_dir / ALERTS_FILE, *settings.mode_dir.glob(f"{ALERTS_FILE}-*")):
        path.unlink(missing_ok=True)
    (settings.home / "mlflow.db").unlink(missing_ok=True)
    shutil.rmtree(settings.home / "artifacts", ignore_errors=True)
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        instance.wipe_assets(instance.all_asset_keys())


@contextmanager
def running_gateway(settings: Settings) -> Iterator[GatewayClient]:
    """Yield a client of this installation's gateway; one that had to be started is ended again."""
    if gateway_is_running(settings.gateway_file):
        yield GatewayClient(settings.gateway_file)
        return
    child = start_gateway()
    try:
        yield GatewayClient(settings.gateway_file)
    finally:
        child.stop()


def load_history(settings: Settings, before: date, report: Report) -> None:
    """Load all history before the first decision session, unless it is there."""
    store = Store(settings.database_path)
    migrate(store)
    needed = nyse().previous(before)
    newest = newest_session(store, table("features"))
    if newest is not None and newest >= needed:
        return
    report(f"history before {settings.first_session}")
    run_job(settings, "history_job")
    first = nyse().next_session_from(settings.first_session)
    if first <= needed:
        report(f"sessions {first} to {needed}")
        # What only the day itself needs is left out: every partition of every asset costs events.
        run_job(settings, "market_data_job", first, through=needed, only=("prices", "features"))


def train_first_model(settings: Settings, before: date, report: Report) -> None:
    """Train a version of the ranker on what was known before the first session, and put it into production.

    Kept small so that the demonstration stays short: ridge on five years and three folds. `hrp model train`
    trains the real one.
    """
    registry = ModelRegistry(Tracking(settings.home))
    if PRODUCTION in registry.aliases(DEMO_MODEL):
        return
    report(f"training {DEMO_MODEL}")
    config = {"model_name": DEMO_MODEL, "learner": "ridge", "since": "2018-01-02", "folds": 3}
    trained = run_job(settings, "training_job", config={"trained_model": config}).metadata["trained_model"]
    registry.promote(
        DEMO_MODEL,
        str(trained["version"]),
        actor="demo",
        reason=f"first version, trained before {before}",
        store=Store(settings.database_path),
        now=settings.clock().now(),
    )


def trade_evening(settings: Settings, gateway: GatewayClient, session: date, report: Report) -> None:
    """Run what is left of the evening of one decision session: data, book, plan, orders."""
    journal = Journal(settings.journal_path)
    try:
        _to(gateway, session, MARKET_DATA_TIME)
        first = session == settings.sim_start
        if not first:
            close_book(settings, gateway, session, report)
        plan = journal.latest_plan(session)
        if plan is None or plan.status not in (PlanStatus.APPROVED, PlanStatus.SENT):
            _to(gateway, session, PREDICTIONS_TIME)
            if first:
                # No book comes between prices and plan yet: one run does both. Later the plan needs the NAV,
                # and the NAV the prices.
                report(f"{session} prices to plan")
                run_job(settings, "decision_job", session)
            else:
                report(f"{session} predictions, plan")
                run_job(settings, "predictions_job", session)
        _to(gateway, session, TRADER_TIME)
        report(f"{session} orders")
        run_job(settings, "live_trader_job", session)
        sent = journal.latest_plan(session)
        left = {
            intent.contract.symbol: intent.status.value
            for intent in (sent.intents if sent else ())
            if intent.status not in (OrderStatus.SUBMITTED, OrderStatus.FILLED)
        }
        if left:
            raise HrpError(
                f"orders of {session} did not all reach the market: "
                + ", ".join(f"{symbol} is {status}" for symbol, status in sorted(left.items()))
                + ". See `hrp orders`"
            )
    finally:
        journal.close()


def close_book(settings: Settings, gateway: GatewayClient, session: date, report: Report) -> None:
    """Load the prices of `session` and value the account at its close, where it executed orders."""
    store = Store(settings.database_path)
    newest = newest_session(store, table("features"))
    if newest is None or newest < session:
        _to(gateway, session, MARKET_DATA_TIME)
        report(f"{session} prices, features")
        run_job(settings, "market_data_job", session)
    decided = nyse().previous(session)
    valued = newest_book(store)
    if decided >= settings.sim_start and (valued is None or valued < decided):
        _to(gateway, session, BOOK_TIME)
        report(f"{decided} fills, positions, NAV")
        run_job(settings, "book_job", decided)


def run_demo(settings: Settings, count: int, report: Report) -> DemoResult:
    """Run what is left of `count` sessions, and compare our book with the broker's account.

    Args:
        settings: sim mode.
        count: decision sessions from `HRP_SIM_START` on.
        report: called with each step before it runs.

    Raises:
        HrpError: a step failed, or our NAV is not the broker's account to the cent.
    """
    plan = demo_plan(settings, count)
    traded = 0
    with running_gateway(settings) as gateway, keeping_instance():
        load_history(settings, plan.sessions[0], report)
        train_first_model(settings, plan.sessions[0], report)
        for session in plan.sessions:
            if session < nyse().decision_session(gateway.state().now):
                continue
            trade_evening(settings, gateway, session, report)
            traded += 1
        close_book(settings, gateway, plan.last_execution, report)
        account = gateway.state()
    registry = ModelRegistry(Tracking(settings.home))
    version = registry.resolve(DEMO_MODEL)
    metrics = registry.metrics(DEMO_MODEL, version)
    navs = official_rows(read_table(Store(settings.database_path), table("nav")))
    nav = navs["nav"].iloc[-1]
    if traded and nav != account.net_liquidation:
        raise HrpError(
            f"our NAV of {navs['session'].iloc[-1]} is {nav} USD, the broker's account "
            f"{account.net_liquidation}: they must be equal to the cent. See `hrp positions` and "
            "`hrp gateway state`"
        )
    return DemoResult(
        sessions=plan.sessions,
        traded=traded,
        account=account.account,
        nav=nav,
        broker_net_liquidation=account.net_liquidation,
        model=f"{DEMO_MODEL} version {version}",
        oos_rank_ic=metrics.get("oos_mean_ic"),
        oos_t_stat=metrics.get("oos_t_stat"),
    )


def _to(gateway: GatewayClient, session: date, at: time) -> None:
    moment = datetime.combine(session, at, NEW_YORK)
    if gateway.state().now < moment:
        gateway.advance(moment)
