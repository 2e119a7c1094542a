"""Which broker endpoint to talk to, and the checks that keep sim, paper and live apart.

What belongs here: `BrokerConfig`, the only reader of the IBKR_* variables, and the choice of the endpoint by
mode. What may send orders is said by `modes`. In sim nothing of IBKR_* is read: the endpoint is the simulated
gateway that this installation started.
"""

import json
import math
import os
import warnings
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from hrp_core.errors import BrokerConnectionError, RefusedError, SettingsError
from hrp_core.execution.modes import LIVE_PORTS, PAPER_PORTS, Code, TokenState, may_trade
from hrp_core.settings import Mode, Settings

MAX_CLIENT_ID = 2**31 - 1
SIM_CLIENT_ID = 1
IbLibrary = Literal["ib_insync", "ib_async"]
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ClientRole(IntEnum):
    """Who connects. The value is added to the configured client id.

    One id places and cancels orders; IB lets no second connection use it (326), which makes it a lock across
    hosts on the same gateway. Whoever only reads connects with an id of its own, and cannot place or cancel.
    """

    WRITER = 0
    READER = 100
    DASHBOARD = 200
    DOCTOR = 300
    PRICES = 400


@dataclass(frozen=True)
class BrokerConfig:
    """One endpoint of TWS or IB Gateway and the one account that may be traded there.

    Attributes:
        host: where TWS or IB Gateway runs.
        port: 1 to 65535; paper is 7497 (TWS) or 4002 (Gateway), live 7496 or 4001.
        client_id: 1 to 2147483647, the order writer's. Not 0: IB binds orders placed by hand to that one.
        account: D... is paper, U... an individual live account; nothing else is accepted.
        paper_trading: whether this is meant to be a paper account.
        timeout: longest wait for one answer, and for the whole of connecting, in seconds.
        simulated: the endpoint is our own simulated gateway, on any port of this machine (see `sim_config`).
        role: who connects; set by `for_role`, which also moves the client id.
        armed: the connection may place orders in a live account; set by `hrp_core.execution.arming` alone.
            Without it a live connection reads and cancels.
        library: whose client and decoder the adapter uses (HRP_IB_LIBRARY).

    Raises:
        SettingsError: (a ValueError) a value is missing, out of range, or contradicts another one.
    """

    host: str
    port: int
    client_id: int
    account: str
    paper_trading: bool = True
    timeout: float = 10
    simulated: bool = field(default=False, kw_only=True)
    role: ClientRole = field(default=ClientRole.WRITER, kw_only=True)
    library: IbLibrary = field(default="ib_insync", kw_only=True)
    armed: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not self.host.strip():
            raise SettingsError("host is required")
        if not self.account.strip():
            raise SettingsError("account is required")
        if not 1 <= self.port <= 65535:
            raise SettingsError(f"port must be between 1 and 65535, not {self.port}")
        if not 1 <= self.client_id <= MAX_CLIENT_ID:
            raise SettingsError(
                f"client_id must be between 1 and {MAX_CLIENT_ID}, not {self.client_id} "
                "(0 would take over orders placed by hand)"
            )
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise SettingsError(f"timeout must be a positive number of seconds, not {self.timeout}")
        if self.simulated:
            self._check_simulated()
        elif self.paper_trading:
            self._check_paper()
        else:
            self._check_live()

    @classmethod
    def from_env(cls, library: IbLibrary = "ib_insync") -> Self:
        """Return the configuration that the IBKR_* variables (or `.env`) describe. Never called in sim.

        IBKR_HOST (127.0.0.1), IBKR_PORT (7497), IBKR_CLIENT_ID (1), IBKR_ACCOUNT, IBKR_PAPER_TRADING (true).

        Raises:
            SettingsError: (a ValueError) a value cannot be read, or the combination is refused.
        """
        try:
            # The .env file of all other settings; pydantic takes it, its type stubs do not know.
            env = _Environment(_env_file=Settings.model_config.get("env_file"))  # pyright: ignore[reportCallIssue]
        except ValidationError as error:
            problems = "; ".join(
                f"IBKR_{'_'.join(map(str, item['loc'])).upper()}={item['input']!r}: {item['msg']}"
                for item in error.errors()
            )
            raise SettingsError(
                f"cannot read the broker settings: {problems}; correct them in the environment or in .env"
            ) from None
        return cls(env.host, env.port, env.client_id, env.account.strip(), env.paper_trading, library=library)

    def for_role(self, role: ClientRole) -> Self:
        """Return this configuration with the client id of `role`."""
        return replace(self, client_id=self.client_id - self.role + role, role=role)

    @property
    def may_place(self) -> bool:
        """Whether orders may go over a connection of this configuration."""
        return self.paper_trading or self.armed

    @property
    def endpoint(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    def _check_simulated(self) -> None:
        if not self.paper_trading or not self.account.startswith("DU") or self.host not in _LOOPBACK:
            raise SettingsError(
                f"a simulated gateway is a DU paper account on this machine, not account {self.account!r} on "
                f"{self.endpoint} (paper_trading={self.paper_trading})"
            )

    def _check_paper(self) -> None:
        if not self.account.startswith("D"):
            raise SettingsError(
                f"paper trading needs a paper account (D...), not {self.account!r}; correct IBKR_ACCOUNT"
            )
        if self.port in LIVE_PORTS:
            raise SettingsError(
                f"paper trading on port {self.port} is refused: that is a live port; use 7497 (TWS) or 4002 "
                "(IB Gateway)"
            )
        if self.port not in PAPER_PORTS:
            warnings.warn(
                f"port {self.port} is not a known paper port (7497 for TWS, 4002 for IB Gateway); make sure "
                "that a paper account listens there",
                UserWarning,
                stacklevel=4,
            )

    def _check_live(self) -> None:
        if not self.account.startswith("U"):
            raise SettingsError(
                f"live trading needs an individual live account (U...), not {self.account!r}; paper accounts "
                "(D...) need paper_trading=True, advisor and master accounts are not supported"
            )
        if self.port in PAPER_PORTS:
            raise SettingsError(
                f"live trading on port {self.port} is refused: that is a paper port; use 7496 (TWS) or 4001 "
                "(IB Gateway)"
            )


class _Environment(BaseSettings):
    """The IBKR_* variables as they stand."""

    model_config = SettingsConfigDict(env_prefix="IBKR_", env_ignore_empty=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = 7497
    client_id: int = 1
    account: str = ""
    paper_trading: bool = True


def broker_config(settings: Settings, role: ClientRole = ClientRole.WRITER) -> BrokerConfig:
    """Return the endpoint of this installation's mode.

    In live it reads and cancels; what places orders there is armed first (`arming.trading_config`).

    Raises:
        BrokerConnectionError: sim, and no simulated gateway of this installation runs.
        SettingsError: the IBKR_* variables contradict the mode or each other.
        RefusedError: the endpoint that the gateway file names is no simulated gateway's.
    """
    if settings.mode is Mode.SIM:
        return sim_config(settings, role)
    try:
        config = BrokerConfig.from_env(settings.ib_library)
    except SettingsError as error:
        raise SettingsError(
            f"{error} (IBKR_* in the environment or in .env; docs/operations/ibkr-setup.md)"
        ) from None
    verdict = may_trade(settings.mode, config.account, config.port, config.paper_trading, TokenState.VALID)
    if not verdict.allowed:
        raise SettingsError(
            f"{verdict.reason}; nothing was sent. Let HRP_MODE, IBKR_PAPER_TRADING, IBKR_ACCOUNT and "
            "IBKR_PORT name one kind of account (docs/modes.md)"
        )
    return config.for_role(role)


def sim_config(settings: Settings, role: ClientRole = ClientRole.WRITER) -> BrokerConfig:
    """Return the endpoint and account of the simulated gateway that this installation started.

    Reads `settings.gateway_file` and nothing else.

    Raises:
        RefusedError: the mode is not sim.
        BrokerConnectionError: no gateway was started here, or it no longer runs.
    """
    if settings.mode is not Mode.SIM:
        raise RefusedError(f"the simulated gateway is for HRP_MODE=sim, not {settings.mode.value}")
    path = settings.gateway_file
    entry = _read_gateway_file(path)
    if not _is_alive(entry.pid):
        raise BrokerConnectionError(
            f"the simulated gateway has ended (process {entry.pid} of {path} is gone); start it with "
            "`hrp gateway serve`"
        )
    config = BrokerConfig(
        entry.host, entry.port, SIM_CLIENT_ID, entry.account, simulated=True, library=settings.ib_library
    )
    verdict = may_trade(Mode.SIM, config.account, config.port, True, TokenState.ABSENT)
    if verdict.code is Code.PORT:
        raise RefusedError(f"{path}: {verdict.reason}, where no simulated gateway listens; nothing was sent")
    return config.for_role(role)


@dataclass(frozen=True, slots=True)
class _GatewayEntry:
    host: str
    port: int
    pid: int
    account: str


def _read_gateway_file(path: Path) -> _GatewayEntry:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _GatewayEntry(
            str(content["host"]), int(content["port"]), int(content["pid"]), str(content["account"])
        )
    except FileNotFoundError:
        raise BrokerConnectionError(
            f"no simulated gateway was started by this installation ({path} does not exist); start it with "
            "`hrp gateway serve`, or run `hrp demo`"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise BrokerConnectionError(
            f"{path} does not describe a simulated gateway ({error!r}); stop the gateway, delete the file "
            "and start it again with `hrp gateway serve`"
        ) from None


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        # kill() gives 0 and negative numbers another meaning: whole process groups.
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
