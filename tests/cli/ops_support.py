"""What the tests of doctor, init and the guides share."""

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from hrp_core.calendar import NEW_YORK
from hrp_core.simgateway import GatewayServer

EVENING = datetime(2022, 12, 5, 18, 30, tzinfo=NEW_YORK)


class Serve(Protocol):
    """Starts a gateway whose state lives in `folder`."""

    def __call__(self, folder: Path) -> AbstractContextManager[GatewayServer]: ...
