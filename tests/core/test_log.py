"""Logs: masked accounts, no secrets, text or JSON, one configuration however often it is made."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrp_core.log import configure_logging, mask_records, redact
from hrp_core.settings import Settings


@pytest.fixture(autouse=True)
def restore_loggers() -> Iterator[None]:
    names = ("hrp_core", "hrp_dagster", "ib_insync", "ib_async", "eventkit")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)
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
        ("{'password': 'two words', 'port': 1}", "{'password': ***, 'port': 1}"),
        ("mailto://desk:hunter2@example.com", "mailto://***@example.com"),
        ("advisor DF123456 and F7654321", "advisor DF***56 and F***21"),
        ("order S221215-265598-k3f9qa-1", "order S221215-265598-k3f9qa-1"),
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


def test_extra_fields_are_written_and_masked(tmp_path: Path) -> None:
    for fmt in ("json", "text"):
        configure_logging("INFO", fmt, tmp_path, console=False)
        logging.getLogger("hrp_core.test").info(
            "sent", extra={"account": "DU1234567", "api_key": "re_123", "orders": 3, "who": None}
        )
    first, second = (tmp_path / "hrp.log").read_text().splitlines()
    assert json.loads(first)["extra"] == {"account": "DU***67", "api_key": "***", "orders": 3, "who": None}
    assert second.endswith("hrp_core.test: sent [account=DU***67 api_key=*** orders=3 who=None]")


@pytest.mark.parametrize("library", ["ib_insync", "ib_async"])
def test_the_client_library_is_heard_from_warnings_on_and_masked(tmp_path: Path, library: str) -> None:
    configure_logging("INFO", "text", tmp_path, console=False)
    logging.getLogger(f"{library}.wrapper").info("position of DU1234567")
    logging.getLogger(f"{library}.wrapper").warning("lost %s", "DU1234567")
    configure_logging("DEBUG", "text", tmp_path, console=False)
    logging.getLogger(f"{library}.client").info("managed accounts: %s", ["DU1234567"])
    lines = (tmp_path / "hrp.log").read_text().splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == ["lost DU***67", "managed accounts: ['DU***67']"]


def test_handlers_that_are_not_ours_get_masked_messages_too(caplog: pytest.LogCaptureFixture) -> None:
    mask_records()
    mask_records()
    with caplog.at_level(logging.INFO):
        logging.getLogger("dagster").info("%s has %d orders", "DU1234567", 3)
        logging.getLogger("a.library.of.others").info("%s", "DU1234567")
    assert [record.getMessage() for record in caplog.records] == ["DU***67 has 3 orders", "DU1234567"]


def test_what_an_asset_logs_is_masked_in_dagsters_event_log(tmp_path: Path) -> None:
    import dagster as dg

    @dg.asset
    def noisy(context: dg.AssetExecutionContext) -> None:
        context.log.warning("account DU1234567, token=abc")

    mask_records()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        result = dg.materialize([noisy], instance=instance)
        told = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "account DU***67, token=***" in told
    assert "DU1234567" not in " ".join(told)


def test_a_log_file_is_rotated(tmp_path: Path) -> None:
    configure_logging("INFO", "text", tmp_path, console=False)
    for _ in range(6):
        logging.getLogger("hrp_core.test").info("x" * 1_000_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hrp.log", "hrp.log.1"]


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({"LOG_LEVEL": "debug"}, "DEBUG"),
        ({"HRP_LOG_LEVEL": "ERROR", "LOG_LEVEL": "DEBUG"}, "ERROR"),
        ({}, "INFO"),
    ],
)
def test_the_level_is_log_level_or_hrp_log_level(
    environment: dict[str, str], level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings().log_level == level
    assert Settings(log_level="WARNING").log_level == "WARNING"
