"""Logging: one configuration for every entry point.

Lines go to standard error and to a rotating file under `.hrp/logs/`, as text or JSON. Account numbers are
masked and secrets never written, whatever a caller passes in.
"""

import json
import logging
import re
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from hrp_core.calendar import NEW_YORK

_ACCOUNT = re.compile(r"\b([DU]U?)\d{3,}(\d{2})\b")
_SECRET = re.compile(r"(?i)((?:api[_-]?key|token|password|secret)\w*\s*[=:]\s*)\S+")
_FILE_BYTES = 5_000_000
_FILES_KEPT = 5


def redact(text: str) -> str:
    """Return `text` with account numbers masked (DU1234567 -> DU***67) and secrets removed."""
    return _SECRET.sub(r"\1***", _ACCOUNT.sub(r"\1***\2", text))


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, NEW_YORK).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry)


def configure_logging(
    level: str = "INFO", fmt: str = "text", logs_dir: Path | None = None, console: bool = True
) -> None:
    """Set up the `hrp_core` and `hrp_dagster` loggers; calling it again replaces the earlier set-up.

    Args:
        level: least severe level that is written.
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
    for name in ("hrp_core", "hrp_dagster"):
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
        for handler in handlers:
            logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
