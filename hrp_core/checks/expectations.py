"""The declared schema of a table as a Great Expectations suite: keys, ranges, values that must be there.

What belongs here: the one place where ranges of columns are declared, and running a suite on a frame. The
library takes five seconds to import and is imported on first use alone; context and suites live as long as
the process.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

import pandas as pd

from hrp_core.checks.claims import Finding, Rows
from hrp_core.errors import DataError
from hrp_core.store import ColumnType, Table, table

# Lowest and highest value, and whether the lowest itself is allowed. NULL is always in range: whether a value
# must be there is said by the declaration of the table.
RANGES: Mapping[str, Mapping[str, tuple[float | None, float | None, bool]]] = {
    "prices": {
        **dict.fromkeys(("open", "high", "low", "close", "split_factor"), (0.0, None, False)),
        **dict.fromkeys(("volume", "dividend"), (0.0, None, True)),
    },
    "features": {
        **dict.fromkeys(("ret_1", "ret_5", "ret_21", "ret_63", "ret_252"), (-1.0, None, True)),
        **dict.fromkeys(("vol_21", "vol_63", "adv_20"), (0.0, None, True)),
        "rsi_14": (0.0, 100.0, True),
        **{
            column.name: (0.0, 1.0, True)
            for column in table("features").columns
            if column.name.endswith("_rank")
        },
    },
    "predictions": {"rank": (1.0, None, True)},
}
# (column, column that must not exceed it)
ORDERED: Mapping[str, tuple[tuple[str, str], ...]] = {"prices": (("high", "low"),)}


def import_expectations() -> Any:
    """Import the library (five seconds, half a gigabyte, once a process) and return it."""
    return import_module("great_expectations")


def matches_declaration(name: str) -> Callable[[Rows], Mapping[date, Finding]]:
    """Return the judgement that the rows of a table keep to its declaration."""

    def judge(rows: Rows) -> dict[date, Finding]:
        frame = pd.concat(
            [rows.at(name, session) for session in rows.sessions if len(rows.at(name, session))]
            or [pd.DataFrame(columns=list(table(name).column_names))],
            ignore_index=True,
        )
        if frame.empty:
            return {session: Finding(False, "no rows", 0.0) for session in rows.sessions}
        broken = unexpected_rows(table(name), frame)
        by_session = {day: part.drop(columns="session") for day, part in broken.groupby("session")}
        found: dict[date, Finding] = {}
        for session in rows.sessions:
            count, bad = len(rows.at(name, session)), by_session.get(session)
            if bad is None:
                found[session] = Finding(count > 0, f"{count} rows as declared" if count else "no rows", 0.0)
            else:
                rules = ", ".join(sorted(bad["rule"].unique())[:3])
                found[session] = Finding(False, f"{len(bad)} values break {rules}", float(len(bad)), bad)
        return found

    return judge


def unexpected_rows(declared: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the values of `frame` that break the declaration: the key, session first, then rule and value.

    Args:
        declared: whose declaration.
        frame: its rows, all columns.
    """
    key = list(declared.key)
    outcome = (
        _definition()
        .get_batch(batch_parameters={"dataframe": frame})
        .validate(
            _suite(declared.name),
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": key},
        )
    )
    found: list[dict[str, object]] = []
    for result in outcome.results:
        if result.success:
            continue
        config = result.expectation_config
        rule = f"{config.type} {config.kwargs.get('column') or config.kwargs.get('column_A') or ''}".strip()
        places = result.result.get("unexpected_index_list")
        if places is None:
            raise DataError(
                f"{rule} of {declared.name} could not be judged: {result.exception_info}; the library "
                "gives no rows for it, so nothing is known about them"
            )
        for place in places:
            where = {name: place[name] for name in key}
            value = ", ".join(f"{name}={item}" for name, item in place.items() if name not in key)
            found.append({**where, "rule": rule.removeprefix("expect_"), "value": value})
    return pd.DataFrame(found, columns=[*key, "rule", "value"])


@lru_cache(maxsize=1)
def _definition() -> Any:
    library = import_expectations()
    base = import_module("great_expectations.data_context.types.base")
    context = library.get_context(mode="ephemeral")
    context.variables.progress_bars = base.ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("stored")
    return source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")


@cache
def _suite(name: str) -> Any:
    library = import_expectations()
    rules, declared = import_module("great_expectations.expectations"), table(name)
    suite = library.ExpectationSuite(name)
    suite.add_expectation(rules.ExpectCompoundColumnsToBeUnique(column_list=list(declared.key)))
    for column in declared.columns:
        if not column.nullable and column.name not in declared.key:
            suite.add_expectation(rules.ExpectColumnValuesToNotBeNull(column=column.name))
            if column.type is ColumnType.TEXT:
                suite.add_expectation(
                    rules.ExpectColumnValueLengthsToBeBetween(column=column.name, min_value=1)
                )
        if column.name in RANGES.get(name, {}):
            low, high, inclusive = RANGES[name][column.name]
            suite.add_expectation(
                rules.ExpectColumnValuesToBeBetween(
                    column=column.name, min_value=low, max_value=high, strict_min=not inclusive
                )
            )
    for upper, lower in ORDERED.get(name, ()):
        suite.add_expectation(
            rules.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=upper, column_B=lower, or_equal=True, ignore_row_if="either_value_is_missing"
            )
        )
    return suite
