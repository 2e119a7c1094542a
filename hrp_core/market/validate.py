"""The one validator that the prices of every source go through, and the table that comes out of it.

What belongs here: what a valid value is. What does not: reading files (`read`), choosing a source
(`sources`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from hrp_core.calendar import nyse
from hrp_core.market.problems import Problems
from hrp_core.market.read import PriceFile
from hrp_core.market.schema import NO_DAY, NUMBER_FIELDS, PRICE_COLUMNS, PRICE_FIELDS

_EPOCH = np.datetime64("1970-01-01", "D")


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Validated prices of one source, sorted by session, then symbol.

    Attributes:
        sessions: distinct sessions in order.
        symbols: distinct symbols in order.
        session_code: shape (rows,), index into `sessions`.
        symbol_code: shape (rows,), index into `symbols`.
        numbers: shape (rows,) by column of `NUMBER_FIELDS` (USD a share, shares, a factor); NaN = none.
        source: shape (rows,), where each price comes from.
    """

    sessions: NDArray[np.object_]
    symbols: NDArray[np.object_]
    session_code: NDArray[np.int64]
    symbol_code: NDArray[np.int64]
    numbers: dict[str, NDArray[np.float64]]
    source: NDArray[np.object_]

    def frame(self, start: date, end: date) -> pd.DataFrame:
        """Return the rows from session `start` to `end`, both included, with the columns `PRICE_COLUMNS`."""
        first = np.searchsorted(self.sessions, np.array(start, dtype=object), side="left")
        last = np.searchsorted(self.sessions, np.array(end, dtype=object), side="right")
        rows = slice(*np.searchsorted(self.session_code, [first, last]))
        columns: dict[str, object] = {
            "session": self.sessions[self.session_code[rows]],
            "symbol": self.symbols[self.symbol_code[rows]],
        }
        columns |= {name: self.numbers[name][rows].copy() for name in NUMBER_FIELDS}
        columns["source"] = self.source[rows].copy()
        return pd.DataFrame(columns, columns=list(PRICE_COLUMNS))


def build_table(files: Sequence[PriceFile], source: str) -> PriceTable:
    """Validate all rows of all files together and return them as one table.

    Valid means: each session is a trading day of the exchange; each (session, symbol) occurs once; each row
    has a symbol and a close; prices and split factors are finite and greater than zero, volumes and dividends
    finite and not negative; the high is not below the low; each cell of a number column is a number or empty.

    Args:
        files: what was read, in reading order.
        source: what to write in the column `source` where a file does not say.

    Raises:
        DataError: naming file, row and column of the first problem and how many more there are.
    """
    problems = Problems(files, PRICE_COLUMNS)
    days = np.concatenate([file.days for file in files])
    symbol_texts = pa.chunked_array([file.symbols for file in files], pa.string())
    encoded = symbol_texts.combine_chunks().dictionary_encode()
    names = np.array(encoded.dictionary.to_pylist(), dtype=object)
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)

    distinct_days, day_code = np.unique(days, return_inverse=True)
    no_session = ~are_sessions(distinct_days)[day_code]
    no_day = days == NO_DAY
    problems.add(
        no_day, "session", lambda row: f"{problems.cell('session', row)!r} is no date; write it YYYY-MM-DD"
    )
    problems.add(
        no_session & ~no_day,
        "session",
        lambda row: (
            f"{to_date(days[row])} is not a trading session of the exchange "
            f"(known from {nyse().first} to {nyse().last})"
        ),
    )
    no_symbol = (names == "")[codes]
    problems.add(no_symbol, "symbol", lambda _: "there is no symbol")

    key = codes * len(distinct_days) + day_code
    repeated = pd.Series(key).duplicated().to_numpy() & ~no_day & ~no_symbol
    problems.add(
        repeated,
        "symbol",
        lambda row: (
            f"a second price of {names[codes[row]]} for {to_date(days[row])}; the first is in "
            f"{problems.where(int(np.flatnonzero(key == key[row])[0]))}"
        ),
    )
    numbers = _check_numbers(files, problems)
    problems.raise_first()

    by_name = np.argsort(names)
    position = np.empty(len(names), dtype=np.int64)
    position[by_name] = np.arange(len(names))
    symbol_code = position[codes]
    order = np.lexsort((symbol_code, day_code))
    return PriceTable(
        sessions=np.array([to_date(day) for day in distinct_days], dtype=object),
        symbols=names[by_name],
        session_code=day_code[order],
        symbol_code=symbol_code[order],
        numbers={name: values[order] for name, values in numbers.items()},
        source=_sources(files, source)[order],
    )


def _check_numbers(files: Sequence[PriceFile], problems: Problems) -> dict[str, NDArray[np.float64]]:
    """Return the number columns of all files, having added what is wrong with them to `problems`."""
    numbers: dict[str, NDArray[np.float64]] = {}
    for name in NUMBER_FIELDS:
        values = np.concatenate([file.numbers.get(name, np.full(file.rows, np.nan)) for file in files])
        unparsable = np.concatenate(
            [file.unparsable.get(name, np.zeros(file.rows, dtype=bool)) for file in files]
        )
        problems.add(unparsable, name, lambda row, name=name: f"{problems.cell(name, row)!r} is not a number")
        if name in (*PRICE_FIELDS, "split_factor"):
            wrong, rule = (values <= 0) | np.isinf(values), "must be finite and greater than zero"
        else:
            wrong, rule = (values < 0) | np.isinf(values), "must be finite and not negative"
        problems.add(wrong, name, lambda row, values=values, rule=rule: f"{values[row]:g} {rule}")
        if name == "close":
            problems.add(np.isnan(values) & ~unparsable, name, lambda _: "there is no price")
        numbers[name] = values
    high, low = numbers["high"], numbers["low"]
    problems.add(high < low, "high", lambda row: f"the high {high[row]:g} is below the low {low[row]:g}")
    return numbers


def _sources(files: Sequence[PriceFile], default: str) -> NDArray[np.object_]:
    parts = [
        np.full(file.rows, default, dtype=object)
        if file.sources is None
        else np.array([text or default for text in file.sources.to_pylist()], dtype=object)
        for file in files
    ]
    return np.concatenate(parts)


def are_sessions(days: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the sorted `days` (since 1970-01-01) the exchange trades on."""
    real = days[days != NO_DAY]
    if not len(real):
        return np.zeros(len(days), dtype=bool)
    # Clamped: a year 9999 in a file would not fit into a date range of the calendar otherwise.
    first, last = max(to_date(real[0]), nyse().first), min(to_date(real[-1]), nyse().last)
    sessions = np.array(nyse().between(first, last), dtype="datetime64[D]")
    return np.isin(days, (sessions - _EPOCH).astype(np.int64))


def to_date(day: np.int64) -> date:
    """Return the date of a number of days since 1970-01-01."""
    return (_EPOCH + np.timedelta64(int(day), "D")).astype(object)
