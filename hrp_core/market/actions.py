"""Corporate actions from a file, put onto the prices that they apply to.

What belongs here: reading and judging `corporate_actions.*`, and knowing which bar is the first after an
action. What does not: adjusting (`adjust`); bars stay as they were traded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hrp_core.errors import DataError
from hrp_core.market.problems import Problems
from hrp_core.market.read import parse_days, parse_numbers, parse_text, read_raw
from hrp_core.market.schema import ACTIONS_FILE, NO_DAY
from hrp_core.market.validate import PriceTable, are_sessions, to_date

_COLUMNS = {"split": "split_factor", "dividend": "dividend"}
_NONE = {"split": 1.0, "dividend": 0.0}


@dataclass(frozen=True, slots=True)
class Action:
    """One split or dividend.

    Attributes:
        symbol: upper case.
        kind: split | dividend.
        effective: first session that trades at the new number of shares, or without the dividend.
        value: new shares for one old, or USD a share.
        place: where it was read, for messages.
    """

    symbol: str
    kind: str
    effective: date
    value: float
    place: str


def read_actions(path: Path) -> tuple[Action, ...]:
    """Return the actions of a file with the columns symbol, kind, effective_date, factor and amount.

    Valid means: kind is split (with a factor) or dividend (with an amount), numbers are finite and greater
    than zero, the date is a session of the exchange, and an action of one kind, symbol and date occurs once.

    Raises:
        DataError: naming file, row and column of the first problem and how many more there are.
    """
    file = read_raw(path, ACTIONS_FILE)
    table, problems = file.table, Problems([file], ACTIONS_FILE.columns)
    symbols = _texts(table, path, "symbol", upper=True)
    kinds = np.char.lower(_texts(table, path, "kind").astype(str)).astype(object)
    days = parse_days(table.column("effective_date"), path, file.title("effective_date"))
    split, dividend = kinds == "split", kinds == "dividend"

    problems.add(symbols == "", "symbol", lambda _: "there is no symbol")
    problems.add(
        ~split & ~dividend,
        "kind",
        lambda row: f"{problems.cell('kind', row)!r} is neither split nor dividend",
    )
    distinct, code = np.unique(days, return_inverse=True)
    problems.add(
        ~are_sessions(distinct)[code],
        "effective_date",
        lambda row: (
            f"{problems.cell('effective_date', row)!r} is no session of the exchange; write the first "
            "session after the action as YYYY-MM-DD"
        ),
    )
    values = np.full(file.rows, np.nan)
    for column, wanted, kind in (("factor", split, "split"), ("amount", dividend, "dividend")):
        if column in table.column_names:
            numbers, unparsable = parse_numbers(table.column(column), path, column)
        else:
            numbers, unparsable = np.full(file.rows, np.nan), np.zeros(file.rows, dtype=bool)
        problems.add(
            unparsable, column, lambda row, column=column: f"{problems.cell(column, row)!r} is not a number"
        )
        problems.add(
            wanted & ~unparsable & ~(np.isfinite(numbers) & (numbers > 0)),
            column,
            lambda _, kind=kind, column=column: f"a {kind} needs a finite {column} greater than zero",
        )
        problems.add(
            ~wanted & np.isfinite(numbers) & (split | dividend),
            column,
            lambda _, kind=kind, column=column: f"{column} belongs to a {kind}; leave it empty",
        )
        values = np.where(wanted, numbers, values)
    seen: dict[tuple[str, str, int], int] = {}
    repeated = np.zeros(file.rows, dtype=bool)
    for row, key in enumerate(zip(symbols, kinds, days.tolist(), strict=True)):
        repeated[row] = seen.setdefault(key, row) != row
    problems.add(
        repeated & (days != NO_DAY),
        "symbol",
        lambda row: f"a second {kinds[row]} of {symbols[row]} on {to_date(days[row])}; make them one row",
    )
    problems.raise_first()
    return tuple(
        Action(str(symbols[row]), str(kinds[row]), to_date(days[row]), float(values[row]), file.place(row))
        for row in range(file.rows)
    )


def apply_actions(table: PriceTable, actions: Sequence[Action]) -> PriceTable:
    """Return the prices with the actions in `split_factor` and `dividend`; closes stay as they are.

    An action goes to the first bar of its name on or after its session: that is the first one at the new
    basis. Actions after the last bar, or of names without bars, wait for one.

    Raises:
        DataError: a bar already states an action of the kind, so that it would count twice.
    """
    if not actions or not len(table.session_code):
        return table
    numbers = dict(table.numbers) | {name: table.numbers[name].copy() for name in _COLUMNS.values()}
    width = len(table.sessions)
    keys = table.symbol_code * width + table.session_code
    order = np.argsort(keys)
    ordered = keys[order]
    applied: set[tuple[int, str]] = set()
    for action in actions:
        symbol = int(np.searchsorted(table.symbols, action.symbol))
        if symbol == len(table.symbols) or table.symbols[symbol] != action.symbol:
            continue
        day = int(np.searchsorted(table.sessions, np.array(action.effective, dtype=object)))
        place = int(np.searchsorted(ordered, symbol * width + day))
        if day == width or place == len(ordered) or ordered[place] // width != symbol:
            continue
        row, values = int(order[place]), numbers[_COLUMNS[action.kind]]
        stated = np.isfinite(values[row]) and values[row] != _NONE[action.kind]
        if stated and (row, action.kind) not in applied:
            raise DataError(
                f"{action.place}: the prices already state a {action.kind} of {action.symbol} for "
                f"{table.sessions[table.session_code[row]]} ({values[row]:g}); state it in one place. "
                "Nothing was loaded"
            )
        if not stated:
            values[row] = action.value
        else:
            # Several actions while the name did not trade take effect together.
            values[row] = values[row] * action.value if action.kind == "split" else values[row] + action.value
        applied.add((row, action.kind))
    return replace(table, numbers=numbers)


def splits_after(days: Sequence[date], splits: Sequence[tuple[date, float]]) -> NDArray[np.float64]:
    """Return by how much vendors who adjust for splits have divided the price of each day.

    Args:
        days: sessions of bars.
        splits: (first session at the new basis, new shares for one old).

    Returns:
        Shape (len(days),): the product of the factors of all splits after the day.
    """
    product = np.ones(len(days))
    for effective, factor in splits:
        product[[day < effective for day in days]] *= factor
    return product


def _texts(table: pa.Table, path: Path, name: str, *, upper: bool = False) -> NDArray[np.object_]:
    texts = parse_text(table.column(name), path, name).to_pylist()
    return np.array([text.upper() if upper else text for text in texts], dtype=object)
