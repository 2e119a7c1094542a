"""The declared schema of a table as Great Expectations: keys, ranges, texts that must not be empty.

What belongs here: the one place where ranges of columns are declared, and holding rows to them. Types and
NOT NULL are held by the database itself. The library takes five seconds to import and 7 ms an expectation: it
is imported on first use alone, and judges cells (one row a value) so that three expectations do for all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from importlib import import_module
from math import inf, nextafter
from typing import Any

import numpy as np
import pandas as pd

from hrp_core.checks.claims import Finding, Rows
from hrp_core.errors import DataError
from hrp_core.store import ColumnType, Table, table

_POSITIVE = nextafter(0.0, 1.0)

# Lowest and highest value, both included. NULL is always in range: whether a value must be there is said by
# the declaration of the table.
RANGES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "prices": {
        **dict.fromkeys(("open", "high", "low", "close", "split_factor"), (_POSITIVE, inf)),
        **dict.fromkeys(("volume", "dividend"), (0.0, inf)),
    },
    "features": {
        **dict.fromkeys(("ret_1", "ret_5", "ret_21", "ret_63", "ret_252"), (-1.0, inf)),
        **dict.fromkeys(("vol_21", "vol_63", "adv_20"), (0.0, inf)),
        "rsi_14": (0.0, 100.0),
        **{column.name: (0.0, 1.0) for column in table("features").columns if column.name.endswith("_rank")},
    },
    "predictions": {"rank": (1.0, inf)},
}
# Columns of which the first must not be below the second.
ORDERED: Mapping[str, tuple[tuple[str, str], ...]] = {"prices": (("high", "low"),)}
# A backfill of many sessions is judged in parts, to bound the memory.
_CELLS_AT_ONCE = 500_000
_UNEXPECTED = ["column", "value", "low", "high"]


def import_expectations() -> Any:
    """Import the library (five seconds, half a gigabyte, once a process) and return it."""
    return import_module("great_expectations")


def matches_declaration(name: str) -> Callable[[Rows], Mapping[date, Finding]]:
    """Return the judgement that the rows of a table keep to its declaration."""

    def judge(rows: Rows) -> dict[date, Finding]:
        present = [rows.at(name, session) for session in rows.sessions if len(rows.at(name, session))]
        broken: dict[object, pd.DataFrame] = {}
        if present:
            bad = unexpected_cells(table(name), present)
            broken = {day: part.drop(columns="session") for day, part in bad.groupby("session")}
        found: dict[date, Finding] = {}
        for session in rows.sessions:
            count, cells = len(rows.at(name, session)), broken.get(session)
            if not count:
                found[session] = Finding(False, "no rows", 0.0)
            elif cells is None:
                found[session] = Finding(True, f"{count} rows as declared", 0.0)
            else:
                columns = ", ".join(sorted(cells["column"].unique())[:3])
                observed = f"{len(cells)} values of {columns} break the declaration"
                found[session] = Finding(False, observed, float(len(cells)), cells)
        return found

    return judge


def unexpected_cells(declared: Table, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the values that break the declaration: key, column, value, and the range it should be in.

    Args:
        declared: whose declaration.
        frames: its rows, all columns, by session.
    """
    keys = [*declared.key, "column"]
    found: list[pd.DataFrame] = []
    for cells in _parts(declared, frames):
        batch = _definition().get_batch(batch_parameters={"dataframe": cells})
        # Whether, and only then which: naming the rows takes six times as long.
        if batch.validate(
            _quick_suite(declared.key), result_format={"result_format": "BOOLEAN_ONLY"}
        ).success:
            continue
        outcome = batch.validate(_suite(declared.key), result_format={"result_format": "COMPLETE"})
        for result in outcome.results:
            if result.success:
                continue
            places = result.result.get("unexpected_index_list")
            if places is None:
                raise DataError(
                    f"{declared.name} could not be judged: {result.exception_info}; the library names no "
                    "rows, so nothing is known about them"
                )
            found.append(cells.loc[places])
    if not found:
        return pd.DataFrame(columns=[*declared.key, *_UNEXPECTED])
    return pd.concat(found).drop_duplicates()[[*keys, *_UNEXPECTED[1:]]].reset_index(drop=True)


def _parts(declared: Table, frames: Sequence[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    part: list[pd.DataFrame] = []
    for frame in frames:
        cells = _cells(declared, frame)
        if part and sum(map(len, part)) + len(cells) > _CELLS_AT_ONCE:
            yield pd.concat(part, ignore_index=True)
            part = []
        part.append(cells)
    yield pd.concat(part, ignore_index=True)


def _cells(declared: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row a value that has a range.

    The row's key, the column, the value, lowest and highest, and how far outside of them it is (0 or less:
    within; NaN: no value).
    """
    count = len(frame)
    bounded = {
        name: (frame[name].to_numpy(dtype=float, na_value=np.nan), np.full(count, low), np.full(count, high))
        for name, (low, high) in RANGES.get(declared.name, {}).items()
    }
    for upper, lower in ORDERED.get(declared.name, ()):
        high, low = frame[upper].to_numpy(dtype=float), frame[lower].to_numpy(dtype=float)
        bounded[f"{upper} above {lower}"] = high, low, np.full(count, inf)
    for column in declared.columns:
        if column.type is ColumnType.TEXT and not column.nullable and column.name not in declared.key:
            lengths = frame[column.name].str.len().to_numpy(dtype=float)
            bounded[f"length of {column.name}"] = lengths, np.ones(count), np.full(count, inf)
    cells = {name: np.tile(frame[name].to_numpy(dtype=object), len(bounded)) for name in declared.key}
    values, lows, highs = (np.concatenate(parts) for parts in zip(*bounded.values(), strict=True))
    with np.errstate(invalid="ignore"):  # infinity less infinity: a value at its open bound, within it
        outside = np.maximum(lows - values, values - highs)
    return pd.DataFrame(
        {
            **cells,
            "column": np.repeat(list(bounded), count),
            "value": values,
            "low": lows,
            "high": highs,
            "outside": outside,
        }
    )


@lru_cache(maxsize=1)
def _definition() -> Any:
    library = import_expectations()
    base = import_module("great_expectations.data_context.types.base")
    context = library.get_context(mode="ephemeral")
    context.variables.progress_bars = base.ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("stored")
    return source.add_dataframe_asset("cells").add_batch_definition_whole_dataframe("all")


@lru_cache
def _quick_suite(key: tuple[str, ...]) -> Any:
    """Return what is true of rows that keep to the declaration, and false or unknown of all others."""
    library = import_expectations()
    rules = import_module("great_expectations.expectations")
    suite = library.ExpectationSuite(f"quick {' '.join(key)}")
    suite.add_expectation(rules.ExpectCompoundColumnsToBeUnique(column_list=[*key, "column"]))
    suite.add_expectation(rules.ExpectColumnMaxToBeBetween(column="outside", max_value=0))
    return suite


@lru_cache
def _suite(key: tuple[str, ...]) -> Any:
    library = import_expectations()
    rules = import_module("great_expectations.expectations")
    suite = library.ExpectationSuite(" ".join(key))
    suite.add_expectation(rules.ExpectCompoundColumnsToBeUnique(column_list=[*key, "column"]))
    for upper, lower in (("value", "low"), ("high", "value")):
        suite.add_expectation(
            rules.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=upper, column_B=lower, or_equal=True, ignore_row_if="either_value_is_missing"
            )
        )
    return suite
