"""Logging: one configuration for every entry point.

Lines go to standard error and to a rotating file under `.hrp/logs/`, as text or JSON. Account numbers are
masked and secrets never written, whatever a caller passes in and whichever library logs: the client library
of IB writes account numbers by itself, Dagster stores what an asset logs.
"""

import json
import logging
import re
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from hrp_core.calendar import NEW_YORK

_ACCOUNT = re.compile(r"\b(D[A-Z]?|U|F)\d{3,}(\d{2})\b")
_SECRET_NAME = r"(?:api[_-]?key|token|password|secret)\w*"
_SECRET = re.compile(rf"(?i)({_SECRET_NAME}[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|\S+)")
_IS_SECRET = re.compile(rf"(?i){_SECRET_NAME}")
# What stands before the @ of an address logs somebody in.
_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@]+@", re.IGNORECASE)
_FILE_BYTES = 5_000_000
_FILES_KEPT = 5

_OURS = ("hrp_core", "hrp_dagster")
# At INFO they write each message of the wire's housekeeping, account numbers included.
_CLIENT_LIBRARIES = ("ib_insync", "ib_async", "eventkit")
_MASKED = (*_OURS, *_CLIENT_LIBRARIES, "dagster")
# The attributes that every record has; what else one has came in through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redact(text: str) -> str:
    """Return `text` with account numbers masked (DU1234567 -> DU***67) and secrets removed."""
    return _LOGIN.sub(r"\1***@", _SECRET.sub(r"\1***", _ACCOUNT.sub(r"\1***\2", text)))


class _MaskingRecord(logging.LogRecord):
    """A record whose message is masked from the start, for handlers that are not ours."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if str(self.name).partition(".")[0] in _MASKED:
            self.msg, self.args = redact(self.getMessage()), None


def mask_records() -> None:
    """Mask the messages of our loggers, Dagster's and the client library's, whoever handles them.

    For this process; calling it again does nothing.
    """
    logging.setLogRecordFactory(_MaskingRecord)


def _extra(record: logging.LogRecord) -> dict[str, str | int | float | bool | None]:
    return {
        name: "***"
        if _IS_SECRET.search(name)
        else value
        if isinstance(value, int | float | bool | None)
        else redact(str(value))
        for name, value in vars(record).items()
        if name not in _STANDARD
    }


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        extra = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        if extra:
            first, newline, rest = line.partition("\n")
            line = f"{first} [{extra}]{newline}{rest}"
        return redact(line)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, NEW_YORK).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            **({"extra": extra} if (extra := _extra(record)) else {}),
        }
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry)


def configure_logging(
    level: str = "INFO", fmt: str = "text", logs_dir: Path | None = None, console: bool = True
) -> None:
    """Set up our loggers and the client library's; calling it again replaces the earlier set-up.

    Args:
        level: least severe level that is written; of the client library warnings, unless it is DEBUG.
        fmt: "text" or "json".
        logs_dir: folder for `hrp.log` (rotating, 5 MB, five kept); None for no file.
        console: whether lines also go to standard error.
    """
    formatter = _JsonFormatter() if fmt == "json" else _TextFormatter()
    handlers: list[logging.Handler] = [logging.StreamHandler()] if console else []
    if logs_dir is not None:
        logs_dir.mkdir(parents=True, exist_ok=True)
        handlers.append(
            RotatingFileHandler(
                logs_dir / "hrp.log",
                maxBytes=_FILE_BYTES,
                backupCount=_FILES_KEPT,
                encoding="utf-8",
                delay=True,
            )
        )
    for handler in handlers:
        handler.setFormatter(formatter)
    mask_records()
    for name in (*_OURS, *_CLIENT_LIBRARIES):
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
        for handler in handlers:
            logger.addHandler(handler)
        quiet = name in _CLIENT_LIBRARIES and level == "INFO"
        logger.setLevel("WARNING" if quiet else level)
        logger.propagate = False
