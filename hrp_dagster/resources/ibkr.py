"""The Interactive Brokers connection as a Dagster resource.

Hands out connected brokers for the length of a `with` block; the mode decides which gateway that is. In sim
it is the simulated gateway that this installation started, and IBKR_* are not read.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from hrp_core.execution.arming import trading_config
from hrp_core.execution.broker import Broker
from hrp_core.execution.config import ClientRole
from hrp_core.ledger.journal import Journal
from hrp_core.settings import Settings


class IBKRResource(dg.ConfigurableResource):
    """Opens connections through ib_insync, one client id a role."""

    @contextmanager
    def connect(self, settings: Settings, role: ClientRole, *, sends: bool = True) -> Iterator[Broker]:
        """Yield a connected broker; the connection ends with the block.

        Args:
            settings: names the mode, and with it the endpoint.
            role: the order writer, or a reader.
            sends: whether a writer is to place orders, for which a live account is armed; watching and
                cancelling need no token.

        Raises:
            BrokerConnectionError: with cause and fix.
            RefusedError: mode, port and account do not fit together, or a live account is not armed.
        """
        from hrp_core.execution.ibkr import IBKRBroker

        journal = Journal(settings.journal_path)
        try:
            config = trading_config(settings, journal, role, settings.clock().now(), sends=sends)
        finally:
            journal.close()
        with IBKRBroker(config) as broker:
            yield broker
