"""What the doctor asks of the broker: endpoint, login, client id, clock, and whether it would take an order.

A preview (what-if) asks for the last: it is not placed and carries no orderRef. Nothing is cancelled.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

from hrp_core.doctor.report import Check, examine, failure, ok, skipped, warning
from hrp_core.errors import BrokerConnectionError, BrokerError, HrpError, RefusedError, SettingsError
from hrp_core.execution.arming import settings_limits_hash, token_state
from hrp_core.execution.broker import OrderRequest
from hrp_core.execution.config import BrokerConfig, ClientRole, broker_config
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_connection import ClientIdInUseError
from hrp_core.execution.ibkr_requests import RequestError
from hrp_core.execution.modes import PAPER_PORTS, TokenState
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.journal import Journal
from hrp_core.portfolio.types import OrderSide, OrderType
from hrp_core.settings import Mode, Settings
from hrp_core.store import Store, read_table, table

_GUIDE = "docs/operations/ibkr-setup.md, 'Troubleshooting'"
_TCP_SECONDS = 3.0
_CLOCK_WARNING = timedelta(seconds=5)
_CLOCK_FAILURE = timedelta(seconds=60)
_WELL_KNOWN = ("AAPL", "MSFT", "SPY")
_AFTER_LOGIN = ("client id", "broker clock", "order entry")


def examine_broker(settings: Settings, now: datetime) -> Iterator[Check]:
    """Look at the broker as this mode is configured.

    Args:
        settings: names the mode, and with it the endpoint.
        now: the wall clock, timezone-aware; in sim the simulated one is asked instead.
    """
    try:
        config = broker_config(settings, ClientRole.DOCTOR)
    except SettingsError as error:
        yield failure("endpoint", str(error), "correct .env: docs/operations/ibkr-setup.md, 'Settings'")
        yield from (
            skipped(name, "the endpoint is not known") for name in ("gateway", "login", *_AFTER_LOGIN)
        )
        return
    except HrpError as error:
        yield skipped("endpoint", "the simulated gateway's; IBKR_* are not read in sim")
        yield failure("gateway", str(error), "hrp gateway serve (or hrp dev, which starts it)")
        yield from (skipped(name, "no gateway runs") for name in ("login", *_AFTER_LOGIN))
        return
    yield examine("endpoint", lambda: _endpoint(settings, config, now))
    reached = examine("gateway", lambda: _reach(config), _GUIDE)
    yield reached
    if reached.fix:
        yield from (skipped(name, "nothing answers there") for name in ("login", *_AFTER_LOGIN))
        return
    broker = IBKRBroker(config)
    try:
        broker.connect()
    except BrokerConnectionError as error:
        yield failure("login", str(error), _login_fix(error, config))
        yield from (skipped(name, "there is no login") for name in _AFTER_LOGIN)
        return
    try:
        yield ok("login", f"account {config.account}, client id {config.client_id}")
        yield examine("client id", lambda: _writer_id(settings, config))
        yield examine("broker clock", lambda: _clock(settings, broker, now))
        yield examine("order entry", lambda: _order_entry(settings, broker))
    finally:
        broker.disconnect()


def _endpoint(settings: Settings, config: BrokerConfig, now: datetime) -> Check:
    if settings.mode is Mode.SIM:
        return ok("endpoint", f"simulated gateway on {config.endpoint}; IBKR_* are not read in sim")
    found = f"{settings.mode.value}, account {config.account}, {config.endpoint}"
    if settings.mode is Mode.LIVE:
        state = TokenState.ABSENT
        if settings.journal_path.exists():
            with closing(Journal(settings.journal_path)) as journal:
                state = token_state(journal.arm_token(), config.account, settings_limits_hash(settings), now)
        if state is not TokenState.VALID:
            return warning(
                "endpoint",
                f"{found}; the arm token is {state.value}: nothing is sent",
                f"hrp arm --account {config.account} --max-notional USD --expires 8h --reason WHY",
            )
    elif config.port not in PAPER_PORTS:
        return warning(
            "endpoint",
            f"{found}; {config.port} is not a known paper port",
            "set IBKR_PORT to 7497 (TWS) or 4002 (IB Gateway), or make sure that a paper account is there",
        )
    return ok("endpoint", found)


def _reach(config: BrokerConfig) -> Check:
    start = "hrp gateway serve" if config.simulated else f"start TWS or IB Gateway and log in; {_GUIDE}"
    try:
        with socket.create_connection((config.host, config.port), timeout=_TCP_SECONDS):
            pass
    except ConnectionRefusedError:
        return failure("gateway", f"nothing listens on {config.endpoint}: connection refused", start)
    except OSError as error:
        return failure(
            "gateway", f"cannot reach {config.endpoint}: {error}", "check IBKR_HOST, network and firewall"
        )
    return ok("gateway", f"{config.endpoint} accepts connections")


def _login_fix(error: BrokerConnectionError, config: BrokerConfig) -> str:
    if isinstance(error, ClientIdInUseError):
        return "end the other `hrp doctor`, or wait a minute: ps -ef | grep hrp"
    if "manages" in str(error):
        return f"log in to {config.account}, or correct IBKR_ACCOUNT, IBKR_HOST, IBKR_PORT"
    return _GUIDE


def _writer_id(settings: Settings, config: BrokerConfig) -> Check:
    writer = replace(config.for_role(ClientRole.WRITER), armed=False)
    try:
        with WriterLock(settings.broker_lock_path, timeout=0.0, purpose="hrp doctor"), IBKRBroker(writer):
            return ok("client id", f"{writer.client_id}, which sends the orders, is free")
    except RefusedError as error:
        return skipped("client id", f"orders are being sent at this moment: {error}")
    except ClientIdInUseError:
        return failure(
            "client id",
            f"{writer.client_id}, which sends the orders, is in use at {config.endpoint} (326), and not by a "
            "process of this installation",
            "end the other program, or give it another client id; TWS frees the id of a killed one by "
            "itself. A second installation needs an IBKR_CLIENT_ID of its own",
        )


def _clock(settings: Settings, broker: IBKRBroker, now: datetime) -> Check:
    here = settings.clock().now() if settings.mode is Mode.SIM else now
    there = broker.heartbeat()
    off = abs(there - here)
    found = f"the broker's is {there:%Y-%m-%d %H:%M:%S %Z}, {off.total_seconds():.0f} s from ours"
    fix = "set this machine's clock: timedatectl set-ntp true"
    if off > _CLOCK_FAILURE:
        return failure("broker clock", f"{found}: send windows would be missed", fix)
    if off > _CLOCK_WARNING:
        return warning("broker clock", found, fix)
    return ok("broker clock", found)


def _order_entry(settings: Settings, broker: IBKRBroker) -> Check:
    if not broker.config.may_place:
        return skipped(
            "order entry", "a preview is an order on the wire, and the doctor's live connection is not armed"
        )
    symbols = _some_symbols(settings)
    known = broker.qualify(symbols)
    if not known:
        return failure(
            "order entry",
            f"the broker knows none of {', '.join(symbols)} as a US stock",
            "check the universe, and the market permissions of the account",
        )
    symbol = next(name for name in symbols if name in known)
    request = OrderRequest("doctor preview", known[symbol], OrderSide.BUY, 1, OrderType.MARKET)
    try:
        broker.what_if(request)
    except RequestError as error:
        return failure("order entry", str(error), f"{error.code.text}; {_GUIDE}")
    except BrokerError as error:
        return failure("order entry", str(error), _GUIDE)
    return ok("order entry", f"a preview of 1 {symbol} is answered: the API is not read-only")


def _some_symbols(settings: Settings) -> Sequence[str]:
    """Return names to preview: of the newest stored universe, else well-known ones."""
    try:
        universe = read_table(Store(settings.database_path, wait=_TCP_SECONDS), table("universe"))
    except HrpError:
        return settings.symbols[:3] or _WELL_KNOWN  # what is wrong there the check of the database says
    newest = universe.loc[universe["session"] == universe["session"].max()]
    inside = newest.loc[newest["in_universe"], "symbol"].tolist()
    return [str(symbol) for symbol in inside[:3]] or settings.symbols[:3] or _WELL_KNOWN
