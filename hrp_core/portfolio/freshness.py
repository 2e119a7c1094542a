"""Whether there is enough data, and new enough, to score a session.

What belongs here: the floor below which nothing is scored at all. What does not: what a decision needs of its
own session (`stored`), which is stricter, and judging the values.
"""

from datetime import date

from hrp_core.calendar import nyse
from hrp_core.errors import NotReadyError
from hrp_core.store import Store, table
from hrp_core.store.schema import stored_columns

LEAST_ROWS = {"features": 100, "prices": 1_000}
MOST_SESSIONS_OLD = 3


def require_fresh_data(store: Store, session: date) -> None:
    """Refuse to score on too little or too old data.

    Args:
        store: holds prices and features.
        session: decision session D.

    Raises:
        NotReadyError: features have fewer than 100 rows up to D, or prices fewer than 1,000, or the newest of
            them are more than three sessions older than D; the message has the figures.
    """
    oldest = nyse().offset(session, -MOST_SESSIONS_OLD)
    problems = []
    with store.read() as connection:
        for name, least in LEAST_ROWS.items():
            rows, newest = 0, None
            if stored_columns(connection, table(name).name):
                [(rows, newest)] = connection.execute(
                    f"SELECT count(*), max(session) FROM {name} WHERE session <= ?", [session]
                ).fetchall()
            if rows < least:
                problems.append(f"{name} hold {rows} rows up to {session}, {least} are needed")
            elif newest is not None and newest < oldest:
                problems.append(
                    f"{name} end on {newest}, more than {MOST_SESSIONS_OLD} sessions before {session}"
                )
    if problems:
        raise NotReadyError(
            f"there is not enough fresh data to score {session}: {'; '.join(problems)}; run "
            "market_data_job, or `hrp data load`"
        )
