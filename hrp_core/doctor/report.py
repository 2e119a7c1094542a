"""One judgement of the doctor, and how a probe that breaks becomes one."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from hrp_core.errors import HrpError

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What a check found, best first."""

    OK = "ok"
    WARNING = "warning"  # it works, but a person should know
    FAILURE = "failure"  # something will not work
    SKIPPED = "skipped"  # it could not be asked, or does not apply; `found` says why


@dataclass(frozen=True, slots=True)
class Check:
    """One judgement.

    Attributes:
        name: what was looked at.
        found: what was found there; of a skipped check why nothing was asked.
        fix: the next step, a command where there is one; empty where there is nothing to do.
    """

    name: str
    outcome: Outcome
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Check:
    """Return that all is well."""
    return Check(name, Outcome.OK, found)


def warning(name: str, found: str, fix: str) -> Check:
    """Return something that works and that a person should know."""
    return Check(name, Outcome.WARNING, found, fix)


def failure(name: str, found: str, fix: str) -> Check:
    """Return something that does not work."""
    return Check(name, Outcome.FAILURE, found, fix)


def skipped(name: str, why: str) -> Check:
    """Return that nothing was asked."""
    return Check(name, Outcome.SKIPPED, why)


def failed(checks: Iterable[Check]) -> bool:
    """Return whether anything does not work."""
    return any(check.outcome is Outcome.FAILURE for check in checks)


def examine(name: str, probe: Callable[[], Check], fix: str = "do what the message says") -> Check:
    """Return what `probe` finds; one that raises is a failure, and the others are still asked.

    Args:
        name: of the check, for a probe that raises.
        probe: looks and judges.
        fix: the step for an error of this system; its message says more.
    """
    try:
        return probe()
    except HrpError as error:
        return failure(name, str(error), fix)
    except Exception as error:  # noqa: BLE001
        # A doctor that ends at the first thing that is broken is of no use.
        _log.exception("the check %r broke", name)
        return failure(
            name,
            f"the check itself broke: {type(error).__name__}: {error}",
            "look at the log file under HRP_HOME/logs and report it",
        )
