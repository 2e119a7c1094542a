"""What is wrong with data that was read, said with file, row and column.

What belongs here: collecting problems and reporting the first. What does not: knowing what is valid
(`validate`, `actions`, `membership`).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hrp_core.errors import DataError


class Rows(Protocol):
    """Rows that know where they stand: of a file, or of a vendor's answer."""

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    @property
    def advice(self) -> str:
        """What to do when one is wrong."""
        ...

    def cell(self, column: str, row: int) -> str:
        """Return the text of a cell (row counted from 0)."""
        ...

    def title(self, column: str) -> str:
        """Return what the data itself calls a column."""
        ...

    def place(self, row: int) -> str:
        """Return in words where a row stands."""
        ...


class Problems:
    """Collects what is wrong with which rows, and reports the first in reading order.

    Args:
        files: what was read, in reading order; rows are counted through all of them from 0.
        columns: names in the order in which they are read.
    """

    def __init__(self, files: Sequence[Rows], columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._files = files
        self._starts = np.cumsum([0, *(file.rows for file in files)])
        self._found: list[tuple[NDArray[np.bool_], str, Callable[[int], str]]] = []

    def add(self, bad: NDArray[np.bool_], column: str, message: Callable[[int], str]) -> None:
        """Record that `column` is wrong where `bad`; `message` words it for one row."""
        if bad.any():
            self._found.append((bad, column, message))

    def locate(self, row: int) -> tuple[Rows, int]:
        """Return the file that holds `row` of the whole, and its row there (both counted from 0)."""
        index = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._files[index], row - int(self._starts[index])

    def where(self, row: int) -> str:
        """Return in words where a row stands."""
        file, local = self.locate(row)
        return file.place(local)

    def cell(self, column: str, row: int) -> str:
        """Return the text of a cell as it was read."""
        file, local = self.locate(row)
        return file.cell(column, local)

    def raise_first(self) -> None:
        """Raise a DataError for the first problem, if there is one."""
        if not self._found:
            return
        count = sum(int(bad.sum()) for bad, _, _ in self._found)
        bad, column, message = min(
            self._found, key=lambda found: (int(np.argmax(found[0])), self._columns.index(found[1]))
        )
        row = int(np.argmax(bad))
        file, _ = self.locate(row)
        more = f" {count - 1} more problem{'s' if count > 2 else ''} there." if count > 1 else ""
        raise DataError(
            f"{self.where(row)}, column {file.title(column)}: {message(row)}.{more} Nothing was loaded; "
            f"{file.advice}"
        )
