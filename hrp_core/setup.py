"""`hrp init`: everything an installation needs before its first session, made where it is missing.

What belongs here: the steps, each of which leaves what is there as it is. A second run changes nothing.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hrp_core.errors import HrpError, NotReadyError
from hrp_core.execution.bookkeeping import Connect
from hrp_core.execution.reconciliation import ReconciliationStatus, run_reconciliation
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FlowKind
from hrp_core.models.tracking import EXPERIMENT, Tracking
from hrp_core.settings import PROJECT_ROOT, Mode, Settings
from hrp_core.store import Store, migrate

TEMPLATE = PROJECT_ROOT / ".env.example"
EXAMPLES = PROJECT_ROOT / "strategies"


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one step.

    Attributes:
        name: what was set up.
        changed: whether anything was made; False where it was there, or could not be made.
        told: what was made, what was there, or why it could not be made and what to do.
        done: False where the step did not succeed.
    """

    name: str
    changed: bool
    told: str
    done: bool = True


def set_up(settings: Settings, env_file: Path, connect: Connect, now: datetime) -> Iterator[Step]:
    """Make what is missing; a step that fails is told, and the others are still done.

    Args:
        settings: of the installation; `mode` decides what the settings file says when it is written.
        env_file: the settings file; never overwritten.
        connect: opens a connection of a role, for the first look at a paper or live account.
        now: timezone-aware.
    """
    yield _step("home", lambda: _home(settings))
    yield _step("settings file", lambda: _env_file(env_file, settings.mode))
    yield _step("database", lambda: _database(settings))
    yield _step("journal", lambda: _journal(settings))
    yield _step("models", lambda: _registry(settings))
    yield _step("strategies", lambda: _strategies(settings.strategies))
    yield _step("account", lambda: _account(settings, connect, now))


def _step(name: str, work: Callable[[], tuple[bool, str]]) -> Step:
    try:
        changed, told = work()
    except (HrpError, OSError) as error:
        return Step(name, False, str(error), done=False)
    return Step(name, changed, told)


def _home(settings: Settings) -> tuple[bool, str]:
    folders = (settings.home, settings.mode_dir, settings.logs_dir)
    missing = [folder for folder in folders if not folder.is_dir()]
    for folder in missing:
        folder.mkdir(parents=True, exist_ok=True)
    return bool(missing), f"{settings.home}"


def env_text(mode: Mode) -> str:
    """Return the text of a new settings file: the commented template, with the mode filled in."""
    text = TEMPLATE.read_text(encoding="utf-8")
    lines = {Mode.SIM: (), Mode.PAPER: ("HRP_MODE=paper",)}.get(
        mode, ("HRP_MODE=live", "IBKR_PORT=7496", "IBKR_PAPER_TRADING=false")
    )
    for line in lines:
        name = line.partition("=")[0]
        text = "".join(
            f"{line}\n" if each.startswith(f"# {name}=") else each for each in text.splitlines(keepends=True)
        )
    return text


def _env_file(path: Path, mode: Mode) -> tuple[bool, str]:
    try:
        # Made for its owner alone from the first moment: secrets go into it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False, f"{path} is there and stays as it is"
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(env_text(mode))
    return True, f"{path}, every setting commented; readable by its owner alone"


def _database(settings: Settings) -> tuple[bool, str]:
    applied = migrate(Store(settings.database_path))
    return bool(applied), f"{settings.database_path}"


def _journal(settings: Settings) -> tuple[bool, str]:
    was_there = settings.journal_path.exists()
    Journal(settings.journal_path).close()
    return not was_there, f"{settings.journal_path}"


def _registry(settings: Settings) -> tuple[bool, str]:
    was_there = (settings.home / "mlflow.db").exists()
    tracking = Tracking(settings.home)
    tracking.set_up()
    return not was_there, f"{tracking.uri}, experiment {EXPERIMENT!r}"


def _strategies(folder: Path) -> tuple[bool, str]:
    if folder.exists():
        return False, f"{folder} is there and stays as it is"
    shutil.copytree(EXAMPLES, folder)
    return True, f"{folder}, with the example strategies"


def _account(settings: Settings, connect: Connect, now: datetime) -> tuple[bool, str]:
    if settings.mode is Mode.SIM:
        return False, "the simulated account is bound at the first connection"
    with closing(Journal(settings.journal_path)) as journal:
        opened = _opened(journal)
        if opened is not None:
            return False, opened
        with connect() as broker:
            store = Store(settings.database_path)
            result = run_reconciliation(settings, store, journal, broker, now, run_id="init")
        if result.status is not ReconciliationStatus.RECONCILED:
            raise HrpError(
                f"account {result.account} does not reconcile with the empty ledger: "
                f"{'; '.join(item.message for item in result.breaks)}. Compare with the broker's statement"
            )
        told = _opened(journal)
    assert told is not None
    return True, told


def _opened(journal: Journal) -> str | None:
    """Return how the account was taken on; None while it was not."""
    try:
        mode, account = journal.binding()
    except NotReadyError:
        return None
    cash = [flow for flow in journal.cash_flows() if flow.kind is FlowKind.OPENING]
    if not cash:
        return None
    return f"{mode} account {account}, opened with {cash[0].amount:,.2f} USD on {cash[0].at:%Y-%m-%d}"
