"""Child process: runs live_trader_job and dies by SIGKILL at one boundary of the first order it sends.

Usage: killed_trader.py SESSION before|after; the environment names the desk.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from hrp_core.execution.broker import Broker, OrderRequest
from hrp_core.execution.config import ClientRole, broker_config
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.settings import Settings
from hrp_dagster.definitions import build_defs
from hrp_dagster.resources.ibkr import IBKRResource
from hrp_dagster.runs import run_job

BOUNDARY = sys.argv[2]


class DyingBroker(IBKRBroker):
    """Kills its process just before, or just after, an order goes to the socket."""

    def place(self, request: OrderRequest) -> None:
        if BOUNDARY == "after":
            super().place(request)
            # An answer to a later request proves that the order has left: the gateway works in order.
            self.heartbeat()
        os.kill(os.getpid(), signal.SIGKILL)


class DyingResource(IBKRResource):
    @contextmanager
    def connect(self, settings: Settings, role: ClientRole, *, sends: bool = True) -> Iterator[Broker]:
        with DyingBroker(broker_config(settings, role)) as broker:
            yield broker


settings = Settings()
run_job(
    settings,
    "live_trader_job",
    date.fromisoformat(sys.argv[1]),
    definitions=build_defs(settings, ibkr=DyingResource()),
)
