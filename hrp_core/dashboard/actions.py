"""What the buttons of the Trading page do: each asks, stores, and says in a sentence what came of it.

What belongs here: the two actions, without Streamlit. What does not: how the answer is shown (`page`).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import HrpError
from hrp_core.execution import IBKRBroker, PositionTracker
from hrp_core.execution.config import ClientRole, broker_config
from hrp_core.models.drift_checks import DriftReport, DriftStatus
from hrp_core.models.service import MonitorStatus
from hrp_core.platform import PlatformAPI


class Level(StrEnum):
    """How a message is meant."""

    DONE = "done"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """What came of an action."""

    level: Level
    text: str


_LEVELS = {
    MonitorStatus.DRIFT_DETECTED: Level.WARNING,
    MonitorStatus.INSUFFICIENT: Level.WARNING,
    MonitorStatus.ERROR: Level.ERROR,
}


def sync_positions(api: PlatformAPI) -> Message:
    """Bring journal and stored positions up to date with the broker, over a connection that cannot trade."""
    try:
        with IBKRBroker(broker_config(api.settings, ClientRole.DASHBOARD)) as broker:
            tracker = PositionTracker(broker, api)
            positions = tracker.sync_positions()
            tracker.persist_positions()
        unpriced = [item.symbol for item in positions if item.current_price is None]
        text = f"{_time(api.clock.now())}: {len(positions)} positions synced with the broker and stored."
        if unpriced:
            return Message(Level.WARNING, f"{text} The broker gives no price for {', '.join(unpriced)}.")
        return Message(Level.DONE, text)
    except HrpError as error:
        return Message(Level.ERROR, f"Positions were not synced: {error}")


def check_drift(api: PlatformAPI) -> Message:
    """Check the models in production for drift, and record the checks; nothing is rolled back."""
    try:
        result = api.monitor_drift()
        moment = _time(api.clock.now())
    except HrpError as error:
        return Message(Level.ERROR, f"Drift was not checked: {error}")
    if result.status is MonitorStatus.NO_MODELS:
        return Message(Level.DONE, f"{moment}: no deployed strategy uses a trained model; nothing to check.")
    found = "; ".join(_outcome(report) for report in result.reports)
    return Message(_LEVELS.get(result.status, Level.DONE), f"{moment}: drift checked. {found}")


def _outcome(report: DriftReport) -> str:
    version = f" version {report.model_version}" if report.model_version else ""
    told = f"{report.model_name}{version}, session {report.session}: {report.status.value}"
    why = [check.details for check in report.checks if check.status is DriftStatus.ERROR and check.details]
    drifted = [check.subject for check in report.checks if check.status is DriftStatus.DRIFT]
    return f"{told} ({'; '.join(why or drifted)})" if why or drifted else told


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(NEW_YORK):%Y-%m-%d %H:%M} New York"
