"""Every setting of the system, once, typed.

Values come from the environment (`HRP_*`), then from `.env` in the project root (or the file that
`HRP_ENV_FILE` names), then from the defaults below. Broker settings (`IBKR_*`) are read by
`hrp_core.execution.config` alone, and never in sim mode.
"""

import os
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hrp_core.calendar import Clock, GatewayClock, WallClock

PROJECT_ROOT = Path(__file__).resolve().parent.parent
# One checkout can serve several installations: each has its file of settings.
ENV_FILE = PROJECT_ROOT / Path(os.environ.get("HRP_ENV_FILE") or ".env").expanduser()


class Mode(StrEnum):
    """Where orders go: the simulated gateway, a paper account, or a real account."""

    SIM = "sim"
    PAPER = "paper"
    LIVE = "live"


class Settings(BaseSettings):
    """The settings of one installation. Build one and pass it on; nothing reads the environment twice."""

    model_config = SettingsConfigDict(
        env_prefix="HRP_",
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    home: Path = Field(default=PROJECT_ROOT / ".hrp", description="Where all state lives.")
    mode: Mode = Field(default=Mode.SIM, description="sim, paper or live.")
    database: Path | None = Field(
        default=None, description="The DuckDB file; default <home>/<mode>/hrp.duckdb."
    )
    strategies: Path = Field(
        default=PROJECT_ROOT / "strategies", description="Folder of strategy files (TOML)."
    )

    price_source: Literal["sample", "files", "yahoo", "ibkr"] = Field(
        default="sample", description="Where prices come from."
    )
    price_files: Path | None = Field(
        default=None,
        description="Folder (or file) of CSV or Parquet prices for source `files`; for yahoo and ibkr, where "
        "`universe.*` (and for ibkr `corporate_actions.*`) stand.",
    )
    symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names for the sources yahoo and ibkr, separated by commas."
    )
    first_session: date = Field(default=date(2022, 10, 3), description="First session that is a partition.")
    last_session: date | None = Field(
        default=None,
        description="Last session that is a partition; default: the end of a finished price file in sim.",
    )

    dry_run: bool | None = Field(
        default=None, description="Plan, check and record, send nothing. Default: off in sim, else on."
    )
    capital: Decimal = Field(
        default=Decimal(1), gt=0, le=1, description="Share of the account's equity to trade with."
    )
    sim_start: date = Field(
        default=date(2022, 12, 2), description="The session after whose close the simulated clock starts."
    )
    sim_cash: Decimal = Field(
        default=Decimal(100_000), gt=0, description="Opening cash of the simulated account, USD."
    )

    max_positions: int = Field(default=20, gt=0, description="Most names held.")
    max_position_pct: float = Field(default=0.10, gt=0, le=1, description="Most of the equity in one name.")
    min_order_value: Decimal = Field(default=Decimal(100), ge=0, description="Smallest order sent, USD.")
    cash_buffer_pct: float = Field(default=0.02, ge=0, lt=1, description="Share of the equity kept in cash.")
    min_coverage: float = Field(
        default=0.95, gt=0, le=1, description="Least share of the universe that must be scored."
    )

    order_type: Literal["market", "market_on_open", "limit_on_open", "market_on_close", "limit_on_close"] = (
        Field(
            default="market",
            description="Type of every planned order; limit_on_open is recommended for a real account.",
        )
    )
    limit_gap_pct: float = Field(
        default=0.03, gt=0, lt=1, description="How far a limit is from the close of D, a fraction of it."
    )
    max_order_pct: float = Field(default=0.15, ge=0, le=1, description="Most of the equity in one order.")
    max_volume_pct: float = Field(
        default=0.05, ge=0, le=1, description="Most of what trades in a session (mean of 20) in one order."
    )
    max_gross: float = Field(default=1.0, ge=0, le=1, description="Largest gross exposure.")
    max_net: float = Field(default=1.0, ge=0, le=1, description="Largest net exposure.")
    max_turnover_pct: float = Field(
        default=0.50, ge=0, description="Most of the equity traded in a session, purchases and sales."
    )
    price_collar_pct: float = Field(
        default=0.05, ge=0, lt=1, description="Largest distance of a price from the last adjusted close."
    )
    sectors_file: Path | None = Field(
        default=None, description="CSV or Parquet of symbol and sector; without it there is no sector cap."
    )
    max_sector_pct: float = Field(default=0.25, ge=0, le=1, description="Most of the equity in one sector.")
    max_unknown_sector_pct: float = Field(
        default=0.10, ge=0, le=1, description="Most of the equity in all names of unknown sector."
    )
    max_daily_loss_pct: float = Field(
        default=0.03, ge=0, lt=1, description="Loss of a session that sets the latch to REDUCING."
    )
    max_drawdown_pct: float = Field(
        default=0.15, ge=0, lt=1, description="Loss since the highest value that sets the latch to HALTED."
    )
    max_commission_pct: float = Field(
        default=0.01, ge=0, lt=1, description="Largest commission of an order as a share of it."
    )
    restricted: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names that may be sold and not bought, separated by commas."
    )
    band_pct: float = Field(
        default=0.20, ge=0, lt=1, description="No trade nearer to a target than this share of it."
    )
    band_nav_pct: float = Field(
        default=0.005, ge=0, lt=1, description="No trade nearer to a target than this share of the equity."
    )
    max_unexplained_return: float = Field(
        default=0.5, gt=0, description="Largest move of a close in a session without a corporate action."
    )
    drift_grace_sessions: int = Field(
        default=10, ge=0, description="Sessions for which a new model version may have too few drift samples."
    )

    auto_rollback: bool = Field(
        default=False, description="Whether drift that stays moves a model back to its predecessor."
    )
    send_ack_timeout: float = Field(
        default=10.0, gt=0, description="Seconds to wait for the broker to acknowledge an order."
    )
    max_in_flight: int = Field(
        default=20, gt=0, le=50, description="Most orders sent and not yet acknowledged."
    )
    send_at: Literal["evening", "preopen"] = Field(
        default="evening", description="When an approved plan is sent: after the close of D, or 09:00 of E."
    )
    paper_approval: Literal["auto", "person"] = Field(
        default="auto", description="Who approves a plan in paper: itself, or a person (`hrp plan approve`)."
    )
    external_orders: Literal["halt", "adopt", "carve-out"] = Field(
        default="halt", description="What to do about orders placed by hand or by another program."
    )
    one_sided_policy: Literal["leave", "cancel-entries"] = Field(
        default="leave", description="What to do before the open when one side of a basket is gone."
    )
    residual_policy: Literal["leave", "cancel"] = Field(
        default="leave", description="What to do at 09:45 about orders that the open did not fill."
    )
    lock_timeout: float = Field(default=30.0, gt=0, description="Seconds to wait for the broker lock.")
    ib_library: Literal["ib_insync", "ib_async"] = Field(
        default="ib_insync", description="Client library of Interactive Brokers' protocol; ib_async: extra."
    )

    mlflow_ui: str | None = Field(
        default=None, description="Address of a running MLflow UI, such as http://127.0.0.1:5000, for links."
    )
    run_history_days: int = Field(
        default=90, gt=0, description="Days that Dagster keeps finished runs; runs that send orders stay."
    )
    min_free_disk_gb: float = Field(
        default=1.0, ge=0, description="Free space under HRP_HOME below which `hrp doctor` fails, GB."
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO",
        validation_alias=AliasChoices("HRP_LOG_LEVEL", "LOG_LEVEL"),
        description="Least severe line logged; LOG_LEVEL is read too.",
    )
    log_format: Literal["text", "json"] = Field(default="text", description="How log lines look.")

    @field_validator("home", "database", "strategies", "price_files", "sectors_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        """Anchor a relative path at the project root: state must not follow the working directory."""
        if value is None:
            return None
        value = value.expanduser()
        return value if value.is_absolute() else (PROJECT_ROOT / value)

    @field_validator("mlflow_ui")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        """Take the address of a web page, without the slash at its end."""
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError(f"HRP_MLFLOW_UI must be an address such as http://127.0.0.1:5000, not {value!r}")
        return value and value.rstrip("/")

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        """Take `debug` for DEBUG, as other programs that read LOG_LEVEL do."""
        return value.upper() if isinstance(value, str) else value

    @field_validator("symbols", "restricted", mode="before")
    @classmethod
    def _split_symbols(cls, value: object) -> object:
        """Take AAPL,MSFT apart; symbols are upper case everywhere, each once."""
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        return tuple(dict.fromkeys(str(part).strip().upper() for part in parts if str(part).strip()))

    @model_validator(mode="after")
    def _source_has_files(self) -> "Settings":
        if self.price_source == "files" and self.price_files is None:
            raise ValueError("HRP_PRICE_SOURCE=files needs HRP_PRICE_FILES: the folder that holds the prices")
        if self.price_source in ("yahoo", "ibkr") and not self.symbols:
            raise ValueError(f"HRP_PRICE_SOURCE={self.price_source} needs HRP_SYMBOLS, such as AAPL,MSFT")
        return self

    @property
    def mode_dir(self) -> Path:
        """The state of this mode: database, journal, lock. Bound to one account."""
        return self.home / self.mode.value

    @property
    def database_path(self) -> Path:
        """The DuckDB file."""
        return self.database or self.mode_dir / "hrp.duckdb"

    @property
    def journal_path(self) -> Path:
        """The order journal (sqlite)."""
        return self.mode_dir / "journal.sqlite"

    @property
    def broker_lock_path(self) -> Path:
        """The file whose kernel lock makes one process at a time the order writer."""
        return self.mode_dir / "broker.lock"

    @property
    def gateway_dir(self) -> Path:
        """State of the simulated gateway: `gateway.json` (endpoint, clock) and `gateway.sqlite`."""
        return self.home / "sim"

    @property
    def gateway_file(self) -> Path:
        """Endpoint, account and clock of the simulated gateway that this installation started."""
        return self.gateway_dir / "gateway.json"

    @property
    def logs_dir(self) -> Path:
        """Rotating log files."""
        return self.home / "logs"

    @property
    def is_dry_run(self) -> bool:
        """Whether orders are withheld: by default in paper and live, not in sim."""
        return self.mode is not Mode.SIM if self.dry_run is None else self.dry_run

    def clock(self) -> Clock:
        """Return the clock of this mode: the simulated gateway's in sim, the wall clock otherwise."""
        return GatewayClock(self.gateway_file) if self.mode is Mode.SIM else WallClock()
