"""What of the desk's records a person must hear of: latch, orders, reconciliation, gate, drift, stale prices.

What belongs here: reading them and putting them into words, with the next step. What does not: sending
(`hrp_core.alerts`), and errors of jobs, which the orchestrator knows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from hrp_core.alerts import AlertKind
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState, OrderStatus
from hrp_core.market.freshness import newest_prices, recent_universe
from hrp_core.store import Store
from hrp_core.store.schema import stored_columns
from hrp_core.timetable import newest_expected, stale_symbols

_RECENT = timedelta(days=2)
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell.

    Attributes:
        key: what is told once a day.
        day: of what is told, where it happened once; None = as long as it stands, once every day.
    """

    kind: AlertKind
    title: str
    body: str
    next_step: str
    key: str
    day: date | None = None


def journal_notices(journal: Journal, now: datetime) -> list[Notice]:
    """Return what the journal has to tell: a latch that is not open, orders that went wrong.

    Args:
        journal: of this mode.
        now: timezone-aware; rejections older than two days are not told.

    Raises:
        JournalError: it cannot be read.
    """
    found: list[Notice] = []
    latch = journal.latch()
    if latch.state is not LatchState.ACTIVE:
        found.append(
            Notice(
                AlertKind.HALT,
                f"trading is {latch.state.value}",
                f"Set by {latch.by} at {latch.at:%Y-%m-%d %H:%M}: {latch.reason}. {latch.evidence}".strip(),
                "find the cause, then `hrp resume --reason ...`",
                f"latch:{latch.state.value}:{latch.at}",
            )
        )
    for status, since, next_step in (
        (
            OrderStatus.UNKNOWN,
            None,
            "look it up in TWS, then `hrp sync`, or `hrp orders resolve INTENT --as ... --reason ...`",
        ),
        (
            OrderStatus.REJECTED,
            now - _RECENT,
            "read the broker's reason with `hrp orders`; it is not sent again",
        ),
    ):
        orders = {
            order_ref: f"{intent.side.value} {attempt.quantity} {intent.contract.symbol} ({order_ref})"
            + (f": {attempt.reason}" if attempt.reason else "")
            for order_ref, (attempt, intent) in sorted(journal.sent_with_status(status).items())
            if since is None or attempt.sent_at >= since
        }
        if orders:
            found.append(
                Notice(
                    AlertKind.ORDER_ERROR,
                    f"{len(orders)} orders are {status.value}",
                    "\n".join(orders.values()),
                    next_step,
                    f"orders:{status.value}:{','.join(orders)}",
                )
            )
    return found


def store_notices(store: Store) -> list[Notice]:
    """Return what the newest reconciliation run and the newest verdict of the trade gate have to tell.

    Raises:
        NotReadyError: the database does not exist.
        StoreError: the database stays locked.
    """
    found: list[Notice] = []
    with store.read() as connection:
        run = verdict = None
        if stored_columns(connection, "reconciliation_runs"):
            run = connection.execute(
                "SELECT session, status, details FROM reconciliation_runs ORDER BY taken_at DESC LIMIT 1"
            ).fetchone()
        if stored_columns(connection, "trade_gate"):
            verdict = connection.execute(
                "SELECT session, verdict, reasons FROM trade_gate ORDER BY session DESC LIMIT 1"
            ).fetchone()
    if run is not None and run[1] in ("reduce_only", "halted"):
        session, status, details = run
        found.append(
            Notice(
                AlertKind.RECONCILIATION_BREAK,
                f"ledger and broker differ after {session}: {status}",
                _listed([str(item["message"]) for item in json.loads(details)]),
                "compare with the broker's statement, `hrp cash record` what moved cash, `hrp reconcile`",
                f"reconciliation:{session}:{status}",
            )
        )
    if verdict is not None and verdict[1] in ("no_go", "blocked"):
        session, word, objections = verdict
        reasons = json.loads(objections)
        # Another reason on the same evening is another thing to mend.
        codes = sorted({str(item["code"]) for item in reasons})
        found.append(
            Notice(
                AlertKind.NO_GO,
                f"the trade gate says {word.replace('_', '-')} for {session}",
                _listed([str(item["message"]) for item in reasons]),
                "mend what it names; the trader asks again every ten minutes until 20:00",
                f"gate:{session}:{word}:{','.join(codes)}",
            )
        )
    return found


def drift_notices(store: Store) -> list[Notice]:
    """Return what the newest look at drift found, a notice a model: drift, or a check that could not run.

    Raises:
        NotReadyError: the database does not exist.
        StoreError: the database stays locked.
    """
    with store.read() as connection:
        if not stored_columns(connection, "model_drift"):
            return []
        rows = connection.execute(
            "SELECT session, model_name, model_version, status, drift_type || ' of ' || subject || "
            "coalesce(': ' || format('{:.4g}', statistic), '') || coalesce(' against ' || "
            "format('{:.4g}', threshold), '') FROM model_drift WHERE status IN ('drift', 'error') "
            "AND session = (SELECT max(session) FROM model_drift) ORDER BY ALL"
        ).fetchall()
    checks: dict[tuple[date, str, str, str], list[str]] = {}
    for session, model, version, status, line in rows:
        checks.setdefault((session, model, version, status), []).append(line)
    return [
        Notice(
            AlertKind.DRIFT,
            f"{model} version {version or '(none)'}: {len(lines)} "
            + ("checks found drift" if status == "drift" else "drift checks could not run"),
            f"Session {session}. {_listed(lines)}",
            f"`hrp model drift {model}`; go back with `hrp model rollback {model} --reason ...`",
            f"drift:{session}:{model}:{version}:{status}",
            day=session,
        )
        for (session, model, version, status), lines in checks.items()
    ]


def stale_notices(store: Store, now: datetime) -> list[Notice]:
    """Return which names of the recent universe have no price of the newest finished evening.

    Raises:
        NotReadyError: the database does not exist.
        StoreError: the database stays locked.
    """
    symbols = recent_universe(store)
    if not symbols:
        return []
    expected = newest_expected(now)
    newest = newest_prices(store, symbols)
    stale = stale_symbols(newest, expected)
    if not stale:
        return []
    lines = [f"{symbol} ends {newest[symbol]}, {count} sessions behind" for symbol, count in stale.items()]
    return [
        Notice(
            AlertKind.STALE_DATA,
            f"{len(stale)} of {len(symbols)} names have no price of {expected}",
            _listed(lines),
            f"`hrp job run market-data --session {expected}`, or ask the source of the prices",
            f"stale:{expected}:{len(stale)}",
        )
    ]


def _listed(lines: Sequence[str]) -> str:
    shown = list(lines[:_SHOWN])
    if len(lines) > _SHOWN:
        shown.append(f"and {len(lines) - _SHOWN} more")
    return "\n".join(shown)
