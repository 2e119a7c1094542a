"""What the doctor asks of the stored state: database, journal, models, strategies, prices; and of alerts.

It reads. What is missing is not made, what is old is not brought up to date.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from hrp_core.alerts import Alerts, AlertSettings
from hrp_core.calendar import nyse
from hrp_core.doctor.report import Check, examine, failure, ok, skipped, warning
from hrp_core.errors import BrokerError, ModelError, NotPromotedError, NotReadyError, SettingsError
from hrp_core.execution.config import BrokerConfig
from hrp_core.features import FEATURES
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState, OrderStatus
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.tracking import Tracking
from hrp_core.portfolio.strategies import StrategyState, read_strategy_files
from hrp_core.settings import Mode, Settings
from hrp_core.store import Store, newest_session, status, table

# A step of the day holds the database for a moment; whoever holds it longer is a notebook or a hung run.
_DATABASE_PATIENCE = 3.0
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SEND_AGAIN = (
    "HRP_HOME/logs says why ('alert channel'); correct HRP_ALERT_URLS, and leave desk_alerts_sensor running: "
    "it sends again"
)
_RESTORE = "docs/operations/emergency.md, 'Restore a backup of the journal'"


def examine_state(settings: Settings) -> Iterator[Check]:
    """Look at everything under HRP_HOME that this system keeps by itself."""
    database = examine("database", lambda: _database(settings), "end the process it names, then: hrp doctor")
    yield database
    journal = examine("journal", lambda: _journal(settings), _RESTORE)
    yield journal
    if journal.fix == _RESTORE:
        yield skipped("trading", "the journal cannot be read")
    else:
        yield examine("trading", lambda: _trading(settings))
    yield examine("strategies", lambda: _strategies(settings), "correct the file that the message names")
    yield examine("models", lambda: _models(settings))
    if database.fix:
        yield skipped("prices", "the database cannot be read")
    else:
        yield examine("prices", lambda: _prices(settings))
    yield examine("alerts configured", lambda: _alerts(settings), "correct HRP_ALERT_URLS")


def _database(settings: Settings) -> Check:
    path = settings.database_path
    if not path.exists():
        return failure("database", f"{path} does not exist", "hrp init")
    current = status(Store(path, wait=_DATABASE_PATIENCE))
    if current.pending:
        return failure(
            "database",
            f"{path} has schema version {current.version}, this code needs {current.latest}",
            "hrp db migrate",
        )
    return ok("database", f"{path}, schema version {current.version}")


def _journal(settings: Settings) -> Check:
    path = settings.journal_path
    if not path.exists():
        return failure("journal", f"{path} does not exist", "hrp init")
    try:
        # Opening a journal for use may write to it; one that is damaged must stay as it is.
        with closing(
            sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_DATABASE_PATIENCE)
        ) as connection:
            problems = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        return failure(
            "journal",
            f"{path} cannot be read: {error}; nothing may be sent until it can: it is what keeps an order "
            "from being sent twice",
            _RESTORE,
        )
    if problems != ["ok"]:
        return failure("journal", f"{path} is damaged: {'; '.join(problems)}", _RESTORE)
    with closing(Journal(path)) as journal:
        try:
            mode, account = journal.binding()
        except NotReadyError:
            return ok("journal", f"{path} is sound; bound to an account at the first connection")
    wanted = _configured_account(settings)
    if wanted and wanted != account:
        return failure(
            "journal",
            f"{path} holds the records of {mode} account {account}, IBKR_ACCOUNT is {wanted}",
            f"set IBKR_ACCOUNT={account}, or give {wanted} an HRP_HOME of its own",
        )
    return ok("journal", f"{path} is sound; bound to {mode} account {account}")


def _configured_account(settings: Settings) -> str:
    if settings.mode is Mode.SIM:
        return ""
    try:
        return BrokerConfig.from_env(settings.ib_library).account
    except SettingsError:
        return ""  # said by the check of the endpoint


def _trading(settings: Settings) -> Check:
    if not settings.journal_path.exists():
        return skipped("trading", "there is no journal yet")
    with closing(Journal(settings.journal_path)) as journal:
        latch = journal.latch()
        unknown = journal.sent_with_status(OrderStatus.UNKNOWN)
    if latch.state is not LatchState.ACTIVE:
        return warning(
            "trading",
            f"{latch.state.value} by {latch.by}: {latch.reason}",
            "once the reason is gone: hrp resume --reason WHY",
        )
    if unknown:
        return warning(
            "trading",
            f"{len(unknown)} orders of unknown fate lock their contracts: {', '.join(unknown)}",
            "hrp sync; then docs/operations/emergency.md, 'An order of unknown fate'",
        )
    return ok("trading", "active, no order of unknown fate" + (", dry run" if settings.is_dry_run else ""))


def _strategies(settings: Settings) -> Check:
    if not settings.strategies.is_dir():
        return failure("strategies", f"there is no folder {settings.strategies}", "hrp init")
    files = read_strategy_files(settings.strategies)
    deployed = [file.strategy.strategy_id for file in files if file.state is StrategyState.DEPLOYED]
    if not deployed:
        return warning(
            "strategies",
            f"{len(files)} files in {settings.strategies}, none deployed: nothing is scored or ordered",
            "hrp strategy deploy ID --reason WHY",
        )
    return ok("strategies", f"{', '.join(deployed)} deployed, of {len(files)} files in {settings.strategies}")


def _models(settings: Settings) -> Check:
    try:
        files = read_strategy_files(settings.strategies)
    except SettingsError:
        return skipped("models", "the strategies cannot be read")
    needed = sorted(
        {
            file.strategy.model
            for file in files
            if file.state is StrategyState.DEPLOYED and file.strategy.model not in FEATURES
        }
    )
    tracking = Tracking(settings.home)
    if not (settings.home / "mlflow.db").exists():
        if not needed:
            return skipped("models", "there is no registry, and no deployed strategy needs a model")
        return _not_scoring(
            settings,
            f"there is no registry at {tracking.uri}, and deployed strategies need {', '.join(needed)}",
            "hrp init; hrp model train NAME; hrp model promote NAME VERSION --reason WHY",
        )
    registry = ModelRegistry(tracking)
    loaded, not_scoring = [], None
    for name in needed:
        fix = f"hrp model list; hrp model train {name}; hrp model promote {name} VERSION --reason WHY"
        try:
            version = registry.resolve(name)
            registry.load(name, version)
        except NotPromotedError as error:
            not_scoring = not_scoring or _not_scoring(settings, str(error), fix)
            continue
        except ModelError as error:
            return failure("models", str(error), fix)
        loaded.append(f"{name} version {version}")
    if not_scoring is not None:
        return not_scoring
    if not loaded:
        count = len(registry.versions())
        return ok("models", f"the registry answers, {count} versions; no deployed strategy needs one")
    return ok("models", f"{', '.join(loaded)} in production, and loads")


def _not_scoring(settings: Settings, found: str, fix: str) -> Check:
    """A strategy whose model is not in production yet orders nothing: before real money that is a mistake."""
    if settings.mode is Mode.SIM:
        return warning("models", f"{found}; the strategies that need it are not scored yet", fix)
    return failure("models", found, fix)


def _alerts(settings: Settings) -> Check:
    """Look at whom alerts go to. A channel is named by its scheme: the rest of its URL is a secret."""
    name, stated = "alerts configured", AlertSettings.from_env()
    schemes = [_SCHEME.match(url) for url in stated.channels()]
    fix = (
        "set HRP_ALERT_URLS, or RESEND_API_KEY and NOTIFICATION_EMAIL together (docs/settings.md, "
        "docs/operations/trading-setup.md)"
    )
    unreadable = sum(scheme is None for scheme in schemes)
    if unreadable:
        found = f"{unreadable} of {len(schemes)} entries of HRP_ALERT_URLS have no scheme, like mailto://"
        return warning(name, f"{found}: nobody is told through them", fix)
    if bool(stated.resend_api_key.get_secret_value()) != bool(stated.email):
        given = "NOTIFICATION_EMAIL" if stated.email else "RESEND_API_KEY"
        return warning(name, f"{given} is set alone, and e-mail needs the other one too", fix)
    if schemes:
        names = ", ".join(scheme.group(1).lower() for scheme in schemes if scheme is not None)
        found = f"{len(schemes)} channel{'s' * (len(schemes) > 1)}: {names}"
        try:
            settings.clock().now()
        except (NotReadyError, BrokerError):
            return ok(name, f"{found}; what waits to be sent is not known without the simulated clock")
        pending = str(Alerts.from_settings(settings).pending())
        if pending:
            return warning(name, f"{found}; {pending}", _SEND_AGAIN)
        return ok(name, found)
    if settings.mode is Mode.SIM:
        return ok(name, "no channel; in sim alerts are logged only")
    return warning(
        name, "no channel: a halt, a break or a failed job is only logged, and nobody is told", fix
    )


def _prices(settings: Settings) -> Check:
    try:
        session = nyse().decision_session(settings.clock().now())
    except (NotReadyError, BrokerError) as error:
        return skipped("prices", f"the clock is not known: {error}")
    newest = newest_session(Store(settings.database_path), table("prices"))
    if newest is None:
        return warning("prices", "no session is stored", "hrp data load")
    if newest < session:
        behind = len(nyse().between(newest, session)) - 1
        return warning(
            "prices",
            f"the newest session is {newest}, {behind} behind the decision session {session}",
            "hrp data load, or the source has nothing newer (HRP_PRICE_SOURCE)",
        )
    return ok("prices", f"stored up to {newest}, the decision session is {session}")
