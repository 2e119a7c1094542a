"""Logs: masked accounts, no secrets, text or JSON, one configuration however often it is made."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrp_core.log import configure_logging, redact


@pytest.fixture(autouse=True)
def restore_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("hrp_core", "hrp_dagster")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            handler.close()
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("account DU1234567 bound", "account DU***67 bound"),
        ("live U7654321", "live U***21"),
        ("RESEND_API_KEY=re_123abc sent", "RESEND_API_KEY=*** sent"),
        ("token: abcdef", "token: ***"),
        ("plan of DUKE for 2022-12-15", "plan of DUKE for 2022-12-15"),
    ],
)
def test_accounts_are_masked_and_secrets_removed(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_json_lines_can_be_parsed_and_are_redacted(tmp_path: Path) -> None:
    configure_logging("INFO", "json", tmp_path, console=False)
    try:
        raise ValueError("password=hunter2")
    except ValueError:
        logging.getLogger("hrp_core.test").exception("account %s", "DU1234567")
    line = json.loads((tmp_path / "hrp.log").read_text())
    assert line["message"] == "account DU***67"
    assert "hunter2" not in line["exception"]
    assert line["level"] == "ERROR"


def test_configuring_twice_writes_each_line_once(tmp_path: Path) -> None:
    for _ in range(2):
        configure_logging("INFO", "text", tmp_path, console=False)
    logging.getLogger("hrp_dagster.test").info("once")
    logging.getLogger("hrp_dagster.test").debug("never")
    assert (tmp_path / "hrp.log").read_text().count("once") == 1
