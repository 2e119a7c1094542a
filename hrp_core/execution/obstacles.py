"""What stands outside between a job that is due and its run: no broker, or no prices yet.

What belongs here: one cheap look at each, so that a tick can wait and say why instead of starting a run that
must fail. What does not: logging in (a run does that, and fails when it is refused) and when a job is due
(`hrp_core.timetable`).
"""

import socket
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime

from hrp_core.calendar import Calendar, nyse
from hrp_core.errors import DataError, HrpError, SettingsError
from hrp_core.execution.arming import trading_config
from hrp_core.execution.config import BrokerConfig, ClientRole, broker_config
from hrp_core.ledger.journal import Journal
from hrp_core.market import source_from_settings
from hrp_core.market.read import price_files
from hrp_core.market.yahoo import YahooSource
from hrp_core.settings import Settings
from hrp_core.timetable import SYNC_JOB, TRADER, Run

_TCP_SECONDS = 3.0
_BOOK = "book_job"
_MARKET_DATA = "market_data_job"
_ASKS_BROKER = frozenset(
    {_BOOK, SYNC_JOB, TRADER, "open_monitor_job", "predictions_job", "preflight_job", "preopen_job"}
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a run would fail now.

    Attributes:
        reason: what is not there, and the next step.
        broker: whether it is the broker, which a person must hear of; prices that are late often just come.
    """

    reason: str
    broker: bool


def obstacle(
    settings: Settings, run: Run, now: datetime, calendar: Calendar | None = None
) -> Obstacle | None:
    """Return what keeps `run` from doing its work now; None when nothing is seen.

    The broker's port is knocked at and left: no login, no client id, no message (F20).

    Args:
        settings: mode, endpoint, and where prices come from.
        run: a job that is due.
        now: from the clock.
        calendar: default the New York Stock Exchange.
    """
    by_broker = run.job in _ASKS_BROKER and (
        # The fills of an earlier session are the journal's.
        run.job != _BOOK or run.session == (calendar or nyse()).book_session(now)
    )
    if by_broker or (run.job == _MARKET_DATA and settings.price_source == "ibkr"):
        reason = _broker_trouble(settings, now, sends=run.job == TRADER)
        return Obstacle(reason, broker=True) if reason else None
    if run.job == _MARKET_DATA:
        reason = _price_trouble(settings, run.session)
        return Obstacle(reason, broker=False) if reason else None
    return None


def _broker_trouble(settings: Settings, now: datetime, *, sends: bool) -> str:
    try:
        if sends and settings.journal_path.exists():
            with closing(Journal(settings.journal_path)) as journal:
                config = trading_config(settings, journal, ClientRole.WRITER, now)
        else:
            config = broker_config(settings, ClientRole.READER)
    except HrpError as error:
        return str(error)
    return _unreachable(config)


def _unreachable(config: BrokerConfig) -> str:
    try:
        with socket.create_connection((config.host, config.port), timeout=_TCP_SECONDS):
            return ""
    except ConnectionRefusedError:
        found = f"nothing listens on {config.endpoint}"
    except OSError as error:
        found = f"{config.endpoint} cannot be reached ({error})"
    if config.simulated:
        return f"{found}; start the simulated gateway with `hrp gateway serve`"
    return f"{found}; start TWS or IB Gateway and log in, `hrp doctor` then says what is missing"


def _price_trouble(settings: Settings, session: date) -> str:
    try:
        if settings.price_source == "files" and settings.price_files is not None:
            price_files(settings.price_files)
    except DataError as error:
        return str(error)  # nothing is there yet
    try:
        source = source_from_settings(settings)
        if isinstance(source, YahooSource):
            return source.trouble()
        newest = source.last_session()
    except (DataError, SettingsError):
        return ""  # something is wrong, not late: the run says what, and is seen to fail
    if newest >= session:
        return ""
    step = "; add them to HRP_PRICE_FILES" if settings.price_source == "files" else ""
    return f"the prices of the source {source.name} end on {newest}, those of {session} are not there{step}"
