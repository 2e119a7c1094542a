"""What holds for every test: no settings leak in, random data is the same each time, no lost wire message."""

import logging
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings as hypothesis_settings

from hrp_core.settings import Settings

_FOREIGN = ("HRP_", "IBKR_", "DAGSTER_", "RESEND_API_KEY", "NOTIFICATION_EMAIL")
# Which client library everything runs on that does not name one itself: `make test-ib-async`.
_IB_LIBRARY = os.environ.get("HRP_TEST_IB_LIBRARY", "")

# Neither the environment nor a .env file of the person who runs the tests changes them. The partition set is
# built once, at import: it starts late, because hundreds of partitions cost minutes.
for _name in list(os.environ):
    if _name.startswith(_FOREIGN):
        del os.environ[_name]
os.environ["HRP_FIRST_SESSION"] = "2022-11-01"
if _IB_LIBRARY:
    os.environ["HRP_IB_LIBRARY"] = _IB_LIBRARY
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
Settings.model_config["env_file"] = None

# Started in the background by a shell, a process ignores SIGINT, and Dagster makes SIGTERM follow SIGINT:
# every child of the tests would then ignore SIGTERM.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis_settings.register_profile("deterministic", derandomize=True, database=None, deadline=None)
hypothesis_settings.load_profile("deterministic")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take minutes first: handed out last, one of them leaves all other workers idle."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, item.path.parent.name != "desk"))


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture(autouse=True)
def every_broker_message_decodes(request: pytest.FixtureRequest) -> Iterator[None]:
    """A message that ib_insync cannot decode is lost with only a log line: the test fails on that line."""
    handler = _Records()
    loggers = [logging.getLogger(name) for name in ("ib_insync.Decoder", "ib_async.Decoder")]
    for logger in loggers:
        logger.addHandler(handler)
    yield
    for logger in loggers:
        logger.removeHandler(handler)
    if request.node.get_closest_marker("undecodable") is None:
        assert not handler.messages
