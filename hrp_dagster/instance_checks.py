"""What `hrp doctor` asks of Dagster: where its state goes, whether its daemon runs, which schedules are on.

What does not belong here: everything that needs no Dagster (`hrp_core.doctor`).
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from hrp_core.doctor.report import Check, examine, ok, skipped, warning
from hrp_core.settings import PROJECT_ROOT, Settings
from hrp_dagster.environment import dagster_state

_START = "hrp dev (or, as a service, dagster-daemon run)"


def given_environment() -> dict[str, str]:
    """Return Dagster's variables as the person's shell has them; ask before `prepare_environment` does."""
    return {name: os.environ.get(name, "") for name in ("DAGSTER_HOME", "HRP_DAGSTER_STATE")}


def examine_dagster(settings: Settings, given: Mapping[str, str]) -> Iterator[Check]:
    """Look at the Dagster instance of this installation.

    Args:
        settings: say where its state belongs.
        given: as `given_environment` returned it.
    """
    yield _home(settings, given)
    if not dagster_state(settings).is_dir():
        for name in ("dagster daemon", "schedules"):
            yield skipped(name, f"{dagster_state(settings)} does not exist")
        return
    yield examine("dagster daemon", _daemon)
    yield examine("schedules", _schedules)


def _home(settings: Settings, given: Mapping[str, str]) -> Check:
    wanted = {"DAGSTER_HOME": str(PROJECT_ROOT), "HRP_DAGSTER_STATE": str(dagster_state(settings))}
    wrong = {name: value for name, value in given.items() if value and Path(value) != Path(wanted[name])}
    if wrong:
        shown = ", ".join(f"{name}={value}" for name, value in wrong.items())
        return warning(
            "dagster home",
            f"{shown} in this shell: `dagster` would keep its runs elsewhere (`hrp` sets them by itself)",
            "; ".join(f"export {name}={wanted[name]}" for name in wrong),
        )
    return ok("dagster home", f"{PROJECT_ROOT}, state in {dagster_state(settings)}")


def _daemon() -> Check:
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        statuses = instance.get_daemon_statuses()
    required = {name: status for name, status in statuses.items() if status.required}
    silent = sorted(name for name, status in required.items() if not status.healthy)
    if len(silent) == len(required):
        return warning("dagster daemon", "does not run: no schedule and no sensor fires", _START)
    if silent:
        return warning("dagster daemon", f"no heartbeat of {', '.join(silent)}", f"start it again: {_START}")
    return ok("dagster daemon", f"runs ({len(required)} parts)")


def _schedules() -> Check:
    import dagster as dg
    from dagster._core.scheduler.instigation import InstigatorStatus

    from hrp_dagster.definitions import defs

    repository = defs.get_repository_def()
    default = {
        each.name: each.default_status.value == "RUNNING"
        for each in (*repository.schedule_defs, *repository.sensor_defs)
    }
    if not default:
        return skipped("schedules", "this installation has none")
    with dg.DagsterInstance.get() as instance:
        changed = {
            state.instigator_name: state.status is InstigatorStatus.RUNNING
            for state in instance.all_instigator_state()
            if state.status is not InstigatorStatus.DECLARED_IN_CODE
        }
    running = {**default, **{name: on for name, on in changed.items() if name in default}}
    on, off = (sorted(name for name, state in running.items() if state is wanted) for wanted in (True, False))
    return ok("schedules", f"on: {', '.join(on) or 'none'}; off: {', '.join(off) or 'none'}")
