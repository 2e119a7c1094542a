"""Run as a script: materialize a partition again and again, each time in a fork that stops half-way.

Usage: killed_writer.py DATABASE SESSION. Each line on standard input is "POINT ROWS", the point being
before-insert or before-commit. A fork then writes ROWS rows for SESSION through Dagster and the IO manager;
at the point it prints "POINT PID" and waits to be killed. When it has ended, "ended SIGNAL" is printed. The
stops live in a wrapper around the connection, so the code under test knows nothing of them.
"""

import logging
import os
import signal
import sys
from datetime import date
from typing import Any

import dagster as dg
import duckdb
import pandas as pd

from hrp_core.store.tables import FEATURES
from hrp_dagster.metadata import definition_metadata
from hrp_dagster.resources.duckdb_io_manager import StoreIOManager
from hrp_dagster.resources.platform import Platform

_connect = duckdb.connect
_GIVE_UP_AFTER = 60


def say(*words: object) -> None:
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


class StoppingConnection:
    """A DuckDB connection that announces itself at one point and then stands still."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, point: str) -> None:
        self._connection, self._point = connection, point

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def cursor(self) -> "StoppingConnection":
        return StoppingConnection(self._connection.cursor(), self._point)

    def execute(self, statement: str, *parameters: Any) -> Any:
        if self._point == "before-insert" and statement.startswith("INSERT INTO features"):
            self._stop()
        return self._connection.execute(statement, *parameters)

    def commit(self) -> None:
        if self._point == "before-commit":
            self._stop()
        self._connection.commit()

    def _stop(self) -> None:
        say(self._point, os.getpid())
        signal.pause()


def write(database: str, session: str, point: str, rows: int) -> None:
    frame = pd.DataFrame(
        {
            "session": [date.fromisoformat(session)] * rows,
            "symbol": [f"N{number}" for number in range(rows)],
            "momentum_12_1": 9.0,
        },
        columns=list(FEATURES.column_names),
    )

    @dg.asset(
        name="features",
        partitions_def=dg.StaticPartitionsDefinition([session]),
        metadata=definition_metadata(FEATURES),
    )
    def features() -> pd.DataFrame:
        return frame

    duckdb.connect = lambda *given, **named: StoppingConnection(_connect(*given, **named), point)
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [features],
            partition_key=session,
            instance=instance,
            resources={"io_manager": StoreIOManager(database=database, platform=Platform())},
        )


def warm_up() -> None:
    """Do once, before forking, what Dagster does lazily in its first run (about a second)."""

    @dg.asset
    def nothing() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([nothing], instance=instance)


def main(database: str, session: str) -> None:
    logging.disable()
    warm_up()
    say("ready")
    for line in sys.stdin:
        point, rows = line.split()
        pid = os.fork()
        if pid == 0:
            # A fork that is never killed must not outlive the test.
            signal.alarm(_GIVE_UP_AFTER)
            write(database, session, point, int(rows))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        say("ended", os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
