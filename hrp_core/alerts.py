"""Telling a person: one alert a day and key, with the next step, through Apprise.

What belongs here: the channels, what was told already, and sending. What does not: deciding what is worth an
alert. Nothing here raises into the caller: an alert that cannot be sent is logged, kept and sent again.
"""

import hashlib
import logging
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from hrp_core.calendar import NEW_YORK, Clock
from hrp_core.log import redact
from hrp_core.settings import Settings

_log = logging.getLogger(__name__)

FILE_NAME = "alerts.sqlite"
_TRIED_FOR = timedelta(days=2)
_GIVEN_UP_SHOWN_FOR = timedelta(days=7)
_KEPT_FOR = timedelta(days=90)
_BUSY_SECONDS = 20.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    day     TEXT NOT NULL,
    key     TEXT NOT NULL,
    kind    TEXT NOT NULL,
    title   TEXT NOT NULL,
    body    TEXT NOT NULL,
    took    TEXT NOT NULL DEFAULT '',
    sent_at TEXT,
    PRIMARY KEY (day, key)
) STRICT
"""


class AlertKind(StrEnum):
    """What a person is told about."""

    JOB_FAILURE = "job failure"
    CHECK_FAILURE = "check failure"
    DRIFT = "drift detected"
    ORDER_ERROR = "order error"
    HALT = "halt"
    RECONCILIATION_BREAK = "reconciliation break"
    STALE_DATA = "stale data"
    NO_GO = "no-go verdict"
    MISSED_SESSION = "missed session"


# What stops trading, or has gone wrong with money, is marked as a failure; the rest as a warning.
_WARNINGS = frozenset({AlertKind.DRIFT, AlertKind.STALE_DATA, AlertKind.CHECK_FAILURE})


class AlertOutcome(StrEnum):
    """What became of an alert."""

    SENT = "sent"
    REPEATED = "repeated"  # told already today
    NO_CHANNEL = "no_channel"  # logged only: nobody said whom to tell
    FAILED = "failed"  # kept; the next alert or `send_pending` tries again


class AlertSettings(BaseSettings):
    """Whom to tell. The only reader of these variables; their values never leave this module.

    HRP_ALERT_URLS: Apprise URLs, separated by spaces or commas. RESEND_API_KEY and NOTIFICATION_EMAIL
    together: e-mail through Resend, from HRP_ALERT_FROM.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    urls: SecretStr = Field(default=SecretStr(""), validation_alias="HRP_ALERT_URLS")
    resend_api_key: SecretStr = Field(default=SecretStr(""), validation_alias="RESEND_API_KEY")
    email: str = Field(default="", validation_alias="NOTIFICATION_EMAIL")
    sender: str = Field(default="onboarding@resend.dev", validation_alias="HRP_ALERT_FROM")

    @classmethod
    def from_env(cls) -> "AlertSettings":
        """Read the environment and the .env file of all other settings."""
        # pydantic takes `_env_file`, its type stubs do not know.
        return cls(_env_file=Settings.model_config.get("env_file"))  # pyright: ignore[reportCallIssue]

    def channels(self) -> tuple[str, ...]:
        """Return the Apprise URLs; they hold secrets."""
        # A comma separates only where another URL follows: some channels list their targets with commas.
        given = re.split(r"\s+|,\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)", self.urls.get_secret_value())
        urls = [url for url in given if url]
        key = self.resend_api_key.get_secret_value()
        if key and self.email:
            urls.append(f"resend://{quote(key, safe='')}:{self.sender}/{quote(self.email, safe='@')}")
        return tuple(urls)


@dataclass(frozen=True, slots=True)
class PendingAlerts:
    """What became of the alerts that some channel did not take at once; as text, what a person should know.

    Attributes:
        sent: taken by every channel now.
        waiting: of the last two days, not taken by every channel yet; tried again.
        given_up: of the last week and older than that; no longer tried.
        problem: why that is not known, and nothing was sent; the numbers are 0 then.
    """

    sent: int = 0
    waiting: int = 0
    given_up: int = 0
    problem: str = ""

    def __str__(self) -> str:
        """Return what is not as it should be, and what was sent late; empty when there is nothing to say."""
        told = [
            f"{count} {'alert' if count == 1 else 'alerts'} {what}"
            for count, what in (
                (self.sent, "sent late"),
                (self.waiting, "could not be sent yet, and will be tried again"),
                (self.given_up, "of the last week never sent, and no longer tried"),
            )
            if count
        ]
        if self.problem:
            told.append(f"alerts that wait could not be looked at or sent: {self.problem}")
        return "; ".join(told)


@dataclass(frozen=True, slots=True)
class _Message:
    day: str
    key: str
    kind: AlertKind
    title: str
    body: str
    took: frozenset[str] = frozenset()


class Alerts:
    """Sends alerts, and remembers which were sent.

    Args:
        path: the sqlite file of what was told; made when missing.
        channels: Apprise URLs.
        clock: the clock of the mode; its New York day is the day of an alert.
    """

    def __init__(self, path: Path, channels: Sequence[str], clock: Clock) -> None:
        self._path = path
        self._channels = tuple(channels)
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: Settings) -> "Alerts":
        """Return the alerts of an installation and mode."""
        return cls(settings.mode_dir / FILE_NAME, AlertSettings.from_env().channels(), settings.clock())

    def notify(
        self,
        kind: AlertKind,
        title: str,
        body: str,
        *,
        next_step: str,
        key: str,
        day: date | None = None,
    ) -> AlertOutcome:
        """Tell a person once a day and key; never raises.

        Account numbers are masked and secrets removed before anything is stored, logged or sent.

        Args:
            kind: what it is about.
            title: one line.
            body: what happened, to what.
            next_step: what to do now.
            key: the same key on the same day is told once, also after a restart.
            day: of what is told; with it, what stays as it was is not told again tomorrow. Default: today in
                New York.
        """
        # Whatever goes wrong in telling a person must not end what was to be told.
        try:
            now = self._clock.now().astimezone(NEW_YORK)
            text = redact(f"{body}\n\nNext step: {next_step}\n\n{now:%Y-%m-%d %H:%M} New York")
            heading = redact(f"HRP {kind.value}: {' '.join(title.split())}")
            message = _Message((day or now.date()).isoformat(), key, kind, heading, text)
            outcome = self._tell(message)
            if outcome is not AlertOutcome.REPEATED:
                _log.warning("%s (%s)", heading, outcome.value)
        except Exception:  # noqa: BLE001
            _log.exception("the alert %s (%s) was lost; see the error below", kind.value, redact(title))
            return AlertOutcome.FAILED
        return outcome

    def send_pending(self) -> PendingAlerts:
        """Try again what could not be sent within the last two days; never raises.

        Without a channel nothing waits: alerts are logged only.
        """
        try:
            if not self._channels or not self._path.exists():
                return PendingAlerts()
            now = self._clock.now().astimezone(NEW_YORK)
            with self._exclusive() as connection:
                rows = connection.execute(
                    "SELECT day, key, kind, title, body, took FROM alerts "
                    "WHERE sent_at IS NULL AND day >= ? ORDER BY day, rowid",
                    (_day(now - _TRIED_FOR),),
                ).fetchall()
                sent = sum(
                    self._send(
                        connection,
                        _Message(day, key, AlertKind(kind), title, body, frozenset(took.split())),
                    )
                    for day, key, kind, title, body, took in rows
                )
                return replace(_unsent(connection, now), sent=sent)
        except Exception as error:  # noqa: BLE001  (as in `notify`)
            _log.exception("pending alerts could not be sent")
            return PendingAlerts(problem=redact(f"{type(error).__name__}: {error}"))

    def pending(self) -> PendingAlerts:
        """Return what waits and what was given up without sending or writing anything; never raises."""
        try:
            if not self._channels or not self._path.exists():
                return PendingAlerts()
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as connection:
                return _unsent(connection, self._clock.now().astimezone(NEW_YORK))
        except Exception as error:  # noqa: BLE001  (as in `notify`)
            return PendingAlerts(problem=redact(f"{type(error).__name__}: {error}"))

    def _tell(self, message: _Message) -> AlertOutcome:
        # The lock is held while sending, so that two processes do not tell the same thing twice.
        with self._exclusive() as connection:
            known = connection.execute(
                "SELECT sent_at, took FROM alerts WHERE day = ? AND key = ?", (message.day, message.key)
            ).fetchone()
            if known is not None and (known[0] is not None or not self._channels):
                return AlertOutcome.REPEATED
            took = known[1] if known is not None else ""
            connection.execute(
                "INSERT OR REPLACE INTO alerts (day, key, kind, title, body, took) VALUES (?, ?, ?, ?, ?, ?)",
                (message.day, message.key, message.kind.value, message.title, message.body, took),
            )
            if not self._channels:
                return AlertOutcome.NO_CHANNEL
            sent = self._send(connection, replace(message, took=frozenset(took.split())))
            return AlertOutcome.SENT if sent else AlertOutcome.FAILED

    @contextmanager
    def _exclusive(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_SCHEMA)
            yield connection
            connection.execute("COMMIT")

    def _send(self, connection: sqlite3.Connection, message: _Message) -> bool:
        """Send to every channel that did not take it before; note and return whether all have."""
        now = self._clock.now().astimezone(NEW_YORK)
        took = message.took | {
            _digest(url)
            for number, url in enumerate(self._channels, start=1)
            if _digest(url) not in message.took and self._send_to(number, url, message)
        }
        complete = took >= {_digest(url) for url in self._channels}
        connection.execute(
            "UPDATE alerts SET took = ?, sent_at = ? WHERE day = ? AND key = ?",
            (" ".join(sorted(took)), now.isoformat() if complete else None, message.day, message.key),
        )
        connection.execute("DELETE FROM alerts WHERE day < ?", ((now - _KEPT_FOR).date().isoformat(),))
        return complete

    def _send_to(self, number: int, url: str, message: _Message) -> bool:
        import apprise

        kind = apprise.NotifyType.WARNING if message.kind in _WARNINGS else apprise.NotifyType.FAILURE
        # What apprise logs of a URL may hold its secrets: it is captured, scrubbed, and logged by us.
        with _captured("apprise") as said:
            channel = apprise.Apprise.instantiate(url, suppress_exceptions=True)
            sent = channel is not None and bool(
                channel.notify(
                    title=message.title,
                    body=message.body,
                    notify_type=kind,
                    body_format=apprise.NotifyFormat.TEXT,
                )
            )
        if not sent:
            _log.error(
                "alert channel %d of %d (%s) did not take %r: %s; correct HRP_ALERT_URLS, or RESEND_API_KEY "
                "and NOTIFICATION_EMAIL. It is tried again",
                number,
                len(self._channels),
                url.partition(":")[0],
                message.title,
                _scrubbed(" ".join(said), url) or "it cannot be used",
            )
        return sent


def _unsent(connection: sqlite3.Connection, now: datetime) -> PendingAlerts:
    waiting, given_up = connection.execute(
        "SELECT count(*) FILTER (WHERE day >= ?), count(*) FILTER (WHERE day < ?) FROM alerts "
        "WHERE sent_at IS NULL AND day >= ?",
        (_day(now - _TRIED_FOR), _day(now - _TRIED_FOR), _day(now - _GIVEN_UP_SHOWN_FOR)),
    ).fetchone()
    return PendingAlerts(waiting=waiting, given_up=given_up)


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _captured(name: str) -> Iterator[list[str]]:
    """Give the lines of a logger, which go nowhere else meanwhile."""
    logger, lines = logging.getLogger(name), _Lines()
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [lines], False
    try:
        yield lines.lines
    finally:
        logger.handlers, logger.propagate = handlers, propagate


def _digest(url: str) -> str:
    """Return what names a channel in the file without its secrets."""
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def _scrubbed(text: str, url: str) -> str:
    """Return the lines joined, without any piece of the URL behind its scheme."""
    text = " ".join(text.split())
    for piece in sorted(re.split(r"[/:@?&=,%]+", url.partition("://")[2]), key=len, reverse=True):
        if len(piece) >= 3:
            text = text.replace(piece, "***")
    return redact(text)
