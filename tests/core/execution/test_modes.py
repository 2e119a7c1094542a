"""Mode, account, port and arm token: what may send, and that what may not reaches no socket."""

import itertools
import json
import os
import socket
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from order_support import D, E, planned

from hrp_core.errors import HrpError, RefusedError, SettingsError
from hrp_core.execution import config as config_module
from hrp_core.execution import modes
from hrp_core.execution.arming import arm, settings_limits_hash, token_state, trading_config
from hrp_core.execution.config import BrokerConfig, ClientRole
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.modes import ACCOUNTS, PORTS, Code, TokenState, docs_page, may_trade
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract
from hrp_core.portfolio.decide import limits_from_settings
from hrp_core.portfolio.types import Plan
from hrp_core.settings import PROJECT_ROOT, Mode, Settings

NOW = datetime(2026, 1, 5, 21, tzinfo=UTC)
COMBINATIONS = list(itertools.product(Mode, ACCOUNTS, PORTS, [True, False], TokenState))


def allowed(mode: Mode, account: str, port: str, paper_flag: bool, token: TokenState) -> bool:
    """The rule once more, as a list of what may send: all else may not."""
    if mode is Mode.SIM:
        return account == "DU..." and port != "live" and paper_flag
    if mode is Mode.PAPER:
        return account == "DU..." and port != "live" and paper_flag
    return account == "U..." and port == "live" and not paper_flag and token is TokenState.VALID


@pytest.mark.parametrize(("mode", "account", "port", "paper_flag", "token"), COMBINATIONS)
def test_each_combination_has_one_verdict(
    mode: Mode, account: str, port: str, paper_flag: bool, token: TokenState
) -> None:
    verdict = may_trade(mode, ACCOUNTS[account], PORTS[port], paper_flag, token)
    assert verdict.allowed == allowed(mode, account, port, paper_flag, token)
    assert bool(verdict.reason) == (verdict.code is not Code.ALLOWED)


def test_the_page_of_modes_is_up_to_date() -> None:
    page = (PROJECT_ROOT / "docs" / "modes.md").read_text(encoding="utf-8")
    assert page == docs_page(), "run: python -m hrp_core.execution.modes > docs/modes.md"


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """What stands in for TWS: it would accept whoever connects."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> dict[TokenState, Journal]:
    """A live journal in each state of the token, for the default limits and the account U1234567."""
    account, limits = ACCOUNTS["U..."], settings_limits_hash(Settings())
    found = {}
    for state in TokenState:
        journal = Journal(tmp_path_factory.mktemp(state.name) / "journal.sqlite")
        if state is not TokenState.ABSENT:
            journal.arm(
                "U7654321" if state is TokenState.OTHER_ACCOUNT else account,
                "other" if state is TokenState.OTHER_LIMITS else limits,
                max_notional=Decimal(1000),
                expires_at=NOW if state is TokenState.EXPIRED else NOW + timedelta(hours=8),
                by="ann",
                reason="test",
                now=NOW - timedelta(hours=1),
            )
        if state is TokenState.SPENT:
            spend(journal, account)
        found[state] = journal
    return found


def spend(journal: Journal, account: str) -> None:
    """Claim ten shares at 100 USD."""
    plan = journal.freeze_plan(
        Plan(D, E, Decimal(10_000), Decimal(10_000), (), (planned("KO", 10),)),
        mode="live",
        account=account,
        contracts={"KO": Contract("KO", 8894)},
        inputs={"limits": asdict(limits_from_settings(Settings()))},
        now=NOW,
    )
    journal.approve(plan.plan_id, by="ann", plan_hash=plan.inputs_hash, now=NOW)
    epoch = journal.acquire_epoch("test", NOW)
    journal.claim(plan.intents[0].intent_id, "L221215-8894-aaaaaa-1", 10, epoch, NOW)


@pytest.mark.parametrize(("mode", "account", "port", "paper_flag", "token"), COMBINATIONS)
def test_a_refused_combination_reaches_no_socket(
    mode: Mode,
    account: str,
    port: str,
    paper_flag: bool,
    token: TokenState,
    listener: socket.socket,
    journals: dict[TokenState, Journal],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The ports of a real TWS are never used: the listener's takes their place in the sets of known ports.
    number = listener.getsockname()[1]
    for module in (modes, config_module):
        monkeypatch.setattr(module, "PAPER_PORTS", frozenset({number} if port == "paper" else ()))
        monkeypatch.setattr(module, "LIVE_PORTS", frozenset({number} if port == "live" else ()))
    values = {"HOST": "127.0.0.1", "PORT": number, "ACCOUNT": ACCOUNTS[account], "PAPER_TRADING": paper_flag}
    for name, value in values.items():
        monkeypatch.setenv(f"IBKR_{name}", str(value))
    settings = Settings(mode=mode, home=tmp_path, dry_run=False)
    if mode is Mode.SIM:
        settings.gateway_dir.mkdir()
        entry = {"host": "127.0.0.1", "port": number, "pid": os.getpid(), "account": ACCOUNTS[account]}
        settings.gateway_file.write_text(json.dumps(entry))
        paper_flag = True  # IBKR_* are not read: its endpoint counts as paper
    journal = journals[token]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if allowed(mode, account, port, paper_flag, token):
            assert trading_config(settings, journal, ClientRole.WRITER, NOW).may_place
        else:
            with pytest.raises(HrpError):
                IBKRBroker(trading_config(settings, journal, ClientRole.WRITER, NOW)).connect()

    with pytest.raises(BlockingIOError):
        listener.accept()


def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Settings:
    values = {"PORT": "7496", "ACCOUNT": "U1234567", "PAPER_TRADING": "false"}
    for name, value in values.items():
        monkeypatch.setenv(f"IBKR_{name}", value)
    return Settings(mode=Mode.LIVE, home=tmp_path, **changes)  # type: ignore[arg-type]


def give(settings: Settings, journal: Journal, **changes: object) -> None:
    arguments: dict[str, object] = {
        "account": "U1234567",
        "max_notional": Decimal(1000),
        "expires_at": NOW + timedelta(hours=8),
        "by": "ann",
        "reason": "first day",
        "now": NOW,
        **changes,
    }
    arm(settings, journal, **arguments)  # type: ignore[arg-type]


def state(settings: Settings, journal: Journal, now: datetime = NOW) -> TokenState:
    return token_state(journal.arm_token(), "U1234567", settings_limits_hash(settings), now)


def test_a_token_ends_with_its_time_its_limits_and_when_it_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = live(tmp_path, monkeypatch)
    journal = Journal(settings.journal_path)
    assert state(settings, journal) is TokenState.ABSENT
    give(settings, journal)
    assert state(settings, journal) is TokenState.VALID
    assert state(settings, journal, NOW + timedelta(hours=8)) is TokenState.EXPIRED
    assert state(live(tmp_path, monkeypatch, max_positions=21), journal) is TokenState.OTHER_LIMITS
    journal.disarm(by="ann", reason="done", now=NOW)
    assert state(settings, journal) is TokenState.ABSENT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"account": "U7654321"}, "IBKR_ACCOUNT is U1234567"),
        ({"max_notional": Decimal(0)}, "no amount"),
        ({"max_notional": Decimal("NaN")}, "no amount"),
        ({"expires_at": NOW}, "within 7 days"),
        ({"expires_at": NOW + timedelta(days=8)}, "within 7 days"),
    ],
)
def test_arming_for_nothing_for_ever_or_for_another_account_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = live(tmp_path, monkeypatch)
    with pytest.raises(RefusedError, match=message):
        give(settings, Journal(settings.journal_path), **changes)


def test_only_live_is_armed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(RefusedError, match="HRP_MODE is sim"):
        give(settings, Journal(settings.journal_path))


def test_reading_and_a_dry_run_need_no_token_and_cannot_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = live(tmp_path, monkeypatch)
    journal = Journal(settings.journal_path)
    assert settings.is_dry_run
    for role in (ClientRole.READER, ClientRole.WRITER):
        assert not trading_config(settings, journal, role, NOW).may_place
    assert not BrokerConfig("127.0.0.1", 7496, 1, "U1234567", paper_trading=False).may_place


def test_watching_and_cancelling_need_no_token_where_sending_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = live(tmp_path, monkeypatch).model_copy(update={"dry_run": False})
    journal = Journal(settings.journal_path)
    with pytest.raises(RefusedError, match="the arm token is absent"):
        trading_config(settings, journal, ClientRole.WRITER, NOW)
    assert not trading_config(settings, journal, ClientRole.WRITER, NOW, sends=False).may_place


def test_a_port_that_is_no_known_live_port_is_refused_in_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = live(tmp_path, monkeypatch)
    monkeypatch.setenv("IBKR_PORT", "5123")
    with pytest.raises(SettingsError, match="5123 is no live port"):
        trading_config(settings, Journal(settings.journal_path), ClientRole.READER, NOW)
