"""Endpoint, mode and account: which combinations are accepted, and what each mode reads."""

import itertools
import json
import os
import subprocess
import sys
import warnings
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from hrp_core.errors import BrokerConnectionError, RefusedError, SettingsError
from hrp_core.execution.config import BrokerConfig, ClientRole, broker_config, sim_config
from hrp_core.settings import Mode, Settings

ACCOUNTS = {"paper": "DU1234567", "live": "U1234567", "advisor": "F1234567"}
PORTS = {"paper TWS": 7497, "paper Gateway": 4002, "live TWS": 7496, "live Gateway": 4001, "unknown": 5123}
KINDS = ("paper", "live")


def outcome(kind: str, account: str, port: str) -> str:
    """Return what must happen: the rule, written independently of the code."""
    if account != kind:
        return "refused"
    if port == "unknown":
        return "warns" if kind == "paper" else "accepted"
    return "accepted" if port.startswith(kind) else "refused"


@pytest.mark.parametrize(("kind", "account", "port"), list(itertools.product(KINDS, ACCOUNTS, PORTS)))
def test_each_combination_of_kind_account_and_port_has_one_outcome(
    kind: str, account: str, port: str
) -> None:
    seen = "accepted"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            BrokerConfig("127.0.0.1", PORTS[port], 1, ACCOUNTS[account], paper_trading=kind == "paper")
        except ValueError:
            seen = "refused"
    if caught:
        assert seen == "accepted"
        seen = "warns"

    assert seen == outcome(kind, account, port)


@pytest.mark.parametrize(("mode", "kind"), list(itertools.product(Mode, KINDS)))
@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("port", PORTS)
def test_only_a_mode_whose_configuration_agrees_with_it_reaches_an_endpoint_of_ibkr(
    mode: Mode, kind: str, account: str, port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBKR_PORT", str(PORTS[port]))
    monkeypatch.setenv("IBKR_ACCOUNT", ACCOUNTS[account])
    monkeypatch.setenv("IBKR_PAPER_TRADING", "true" if kind == "paper" else "false")
    settings = Settings(mode=mode, home=tmp_path)
    reaches = mode.value == kind and outcome(kind, account, port) != "refused"
    # BrokerConfig takes any port but a paper one for live; the mode takes the known live ports alone.
    reaches = reaches and not (mode is Mode.LIVE and port == "unknown")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if reaches:
            assert broker_config(settings).port == PORTS[port]
        else:
            with pytest.raises((RefusedError, SettingsError, BrokerConnectionError)):
                broker_config(settings)


def test_host_is_required() -> None:
    with pytest.raises(ValueError, match=r"^host is required$"):
        BrokerConfig("", 7497, 1, "DU1")


def test_an_account_that_is_not_set_is_missed_with_where_to_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IBKR_ACCOUNT", raising=False)
    with pytest.raises(SettingsError, match=r"^account is required \(IBKR_\* .* \.env"):
        broker_config(Settings(mode=Mode.PAPER))


def test_account_is_required() -> None:
    with pytest.raises(ValueError, match=r"^account is required$"):
        BrokerConfig("127.0.0.1", 7497, 1, "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 0),
        ("port", 65536),
        ("port", -1),
        ("client_id", 0),
        ("client_id", -1),
        ("client_id", 2**31),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    values = {"host": "127.0.0.1", "port": 7497, "client_id": 1, "account": "DU1", field: value}

    with pytest.raises(ValueError, match=f"^{field} must be"):
        BrokerConfig(**values)


def test_a_configuration_cannot_be_changed() -> None:
    config = BrokerConfig("127.0.0.1", 7497, 1, "DU1")

    with pytest.raises(FrozenInstanceError):
        config.port = 7496  # type: ignore[misc]


def test_the_environment_has_defaults_for_all_but_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_ACCOUNT", "DU7654321")

    assert BrokerConfig.from_env() == BrokerConfig("127.0.0.1", 7497, 1, "DU7654321", True, 10)


def test_the_environment_names_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "HOST": "10.0.0.5",
        "PORT": "4001",
        "CLIENT_ID": "17",
        "ACCOUNT": "U7654321",
        "PAPER_TRADING": "false",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"IBKR_{name}", value)

    assert BrokerConfig.from_env() == BrokerConfig("10.0.0.5", 4001, 17, "U7654321", False)


def test_an_environment_without_account_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^account is required$"):
        BrokerConfig.from_env()


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "abc"), ("CLIENT_ID", "1.5"), ("PAPER_TRADING", "perhaps")]
)
def test_a_variable_that_cannot_be_read_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBKR_ACCOUNT", "DU1")
    monkeypatch.setenv(f"IBKR_{name}", value)

    with pytest.raises(SettingsError, match=f"IBKR_{name}='{value}'"):
        BrokerConfig.from_env()


def test_each_role_connects_with_its_own_client_id() -> None:
    config = BrokerConfig("127.0.0.1", 7497, 7, "DU1")

    ids = {role: config.for_role(role).client_id for role in ClientRole}

    assert ids[ClientRole.WRITER] == 7
    assert len(set(ids.values())) == len(ClientRole)
    assert config.for_role(ClientRole.DOCTOR).for_role(ClientRole.WRITER) == config


def test_a_paper_mode_with_a_live_configuration_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PORT": "7496", "ACCOUNT": "U1234567", "PAPER_TRADING": "false"}.items():
        monkeypatch.setenv(f"IBKR_{name}", value)

    with pytest.raises(SettingsError, match="HRP_MODE=paper contradicts IBKR_PAPER_TRADING=false"):
        broker_config(Settings(mode=Mode.PAPER, home=tmp_path))


def gateway_file(settings: Settings, **changes: object) -> None:
    content = {"host": "127.0.0.1", "port": 40123, "pid": os.getpid(), "account": "DU1234567", **changes}
    settings.gateway_dir.mkdir(parents=True)
    settings.gateway_file.write_text(json.dumps(content))


def test_sim_reads_the_gateway_file_and_nothing_of_ibkr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path)
    gateway_file(settings)
    for name in ("PORT", "CLIENT_ID", "PAPER_TRADING"):
        monkeypatch.setenv(f"IBKR_{name}", "unreadable")

    config = broker_config(settings)

    assert (config.host, config.port, config.account) == ("127.0.0.1", 40123, "DU1234567")
    assert config.simulated


def test_sim_without_a_gateway_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(BrokerConnectionError, match="hrp gateway serve"):
        sim_config(Settings(home=tmp_path))


def test_sim_with_a_gateway_that_has_ended_says_so(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    settings = Settings(home=tmp_path)
    gateway_file(settings, pid=ended.pid)

    with pytest.raises(BrokerConnectionError, match=f"process {ended.pid} .* is gone.*hrp gateway serve"):
        sim_config(settings)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"host": "127.0.0.1", "port": "x", "pid": 1, "account": "DU1"}']
)
def test_sim_with_an_unreadable_gateway_file_names_it(content: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.gateway_dir.mkdir(parents=True)
    settings.gateway_file.write_text(content)

    with pytest.raises(BrokerConnectionError, match=r"gateway\.json does not describe"):
        sim_config(settings)


@pytest.mark.parametrize("changes", [{"host": "10.0.0.5"}, {"account": "U1234567"}, {"account": "DF1234567"}])
def test_sim_accepts_only_a_du_account_on_this_machine(changes: dict[str, object], tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    gateway_file(settings, **changes)

    with pytest.raises(SettingsError, match="DU paper account on this machine"):
        sim_config(settings)


@pytest.mark.parametrize("pid", [0, -1])
def test_sim_does_not_take_a_process_group_for_a_process(pid: int, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    gateway_file(settings, pid=pid)

    with pytest.raises(BrokerConnectionError, match="has ended"):
        sim_config(settings)


@pytest.mark.parametrize("mode", [Mode.PAPER, Mode.LIVE])
def test_the_simulated_gateway_is_for_sim_alone(mode: Mode, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, mode=mode)
    gateway_file(Settings(home=tmp_path))

    with pytest.raises(RefusedError, match="HRP_MODE=sim"):
        sim_config(settings)
