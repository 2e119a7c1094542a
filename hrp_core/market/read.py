"""Reads files of market data: CSV or Parquet, into columns that know where each cell stands.

What belongs here: file formats, headers and the parsing of cells. What does not: the names of columns
(`schema`), judging values (`validate`, `actions`, `membership`).
"""

import csv
import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hrp_core.errors import DataError
from hrp_core.market.schema import NO_DAY, NUMBER_FIELDS, PRICE_FILE, FileSchema

SUFFIXES = (".csv", ".csv.gz", ".parquet")
# Arrow makes its compute functions when it is imported; no type checker can see them.
pc: Any = pyarrow.compute

# Files of these names stand beside price files and hold no prices.
ACTIONS_STEM, UNIVERSE_STEM = "corporate_actions", "universe"
# pandas writes an unnamed index into Parquet under this name; it carries no data of ours.
_PANDAS_INDEX = "__index_level_"


@dataclass(frozen=True, slots=True)
class RawFile:
    """The rows of one file as they were read.

    Attributes:
        path: the file.
        table: its cells.
        titles: what the file itself calls a column, by the schema's name.
    """

    path: Path
    table: pa.Table
    titles: Mapping[str, str]

    @property
    def rows(self) -> int:
        """How many rows of data the file holds."""
        return self.table.num_rows

    @property
    def advice(self) -> str:
        """What to do when a row is wrong."""
        return "correct the file and load again"

    def cell(self, column: str, row: int) -> str:
        """Return the text of a cell as the file has it (row counted from 0)."""
        value = self.table.column(column)[row].as_py()
        return "" if value is None else str(value)

    def title(self, column: str) -> str:
        """Return what the file calls a column."""
        return self.titles.get(column, column)

    def place(self, row: int) -> str:
        """Return where a row stands (counted from 0)."""
        return f"{self.path}, row {self.line(row)}"

    def line(self, row: int) -> int:
        """Return the line of a CSV as an editor counts (the header is line 1), the row of a Parquet file."""
        if self.path.suffix == ".parquet":
            return row + 1
        for index, (line, _) in enumerate(_records(self.path)):
            if index == row + 1:
                return line
        raise DataError(f"{self.path} became shorter while it was read; load it again")


@dataclass(frozen=True, slots=True)
class PriceFile(RawFile):
    """The rows of one file of prices: parsed, not yet judged.

    Attributes:
        days: shape (rows,), days since 1970-01-01; `NO_DAY` where the cell is no date.
        symbols: `rows` strings, upper case; empty where there is none.
        numbers: shape (rows,) by column; NaN where the cell is empty or no number; absent columns left out.
        unparsable: shape (rows,) by column, whether the cell holds something that is no number.
        sources: `rows` strings, or None when the file does not say where its prices come from.
    """

    days: NDArray[np.int64]
    symbols: pa.StringArray
    numbers: dict[str, NDArray[np.float64]]
    unparsable: dict[str, NDArray[np.bool_]]
    sources: pa.StringArray | None


def price_files(path: Path) -> list[Path]:
    """Return the price files at `path` (a file, or a folder that is not searched below), sorted by name.

    Raises:
        DataError: there is nothing, or nothing that can be read, at `path`.
    """
    if path.is_dir():
        found = sorted(
            entry
            for entry in path.iterdir()
            if entry.name.lower().endswith(SUFFIXES)
            and entry.name.split(".")[0].lower() not in (ACTIONS_STEM, UNIVERSE_STEM)
        )
    else:
        found = [path] if path.is_file() and path.name.lower().endswith(SUFFIXES) else []
    if not found:
        raise DataError(
            f"no price files at {path}: put files ending in {', '.join(SUFFIXES)} there, "
            "or set HRP_PRICE_FILES to where they are"
        )
    return found


def file_beside(path: Path, stem: str) -> Path | None:
    """Return the file called `stem` (with one of `SUFFIXES`) in the folder `path`, or beside the file `path`.

    Raises:
        DataError: there are several.
    """
    folder = path if path.is_dir() else path.parent
    found = [folder / f"{stem}{suffix}" for suffix in SUFFIXES if (folder / f"{stem}{suffix}").is_file()]
    if len(found) > 1:
        raise DataError(f"{' and '.join(map(str, found))} stand side by side; keep one of them")
    return found[0] if found else None


def read_raw(path: Path, schema: FileSchema) -> RawFile:
    """Read a file whose columns follow `schema`, names taken without regard to case.

    Raises:
        DataError: the file cannot be read, or a column is missing, unknown or doubled.
    """
    return _read_parquet(path, schema) if path.suffix == ".parquet" else _read_csv(path, schema)


def read_file(path: Path) -> PriceFile:
    """Read one price file.

    Column names are taken without regard to case; `date` means `session`; `session`, `symbol` and `close` are
    required; beside them the other columns of the price schema may stand, and no others.

    Raises:
        DataError: the file cannot be read, or a column is missing, unknown or doubled.
    """
    file = read_raw(path, PRICE_FILE)
    raw = file.table
    numbers: dict[str, NDArray[np.float64]] = {}
    unparsable: dict[str, NDArray[np.bool_]] = {}
    for name in NUMBER_FIELDS:
        if name in raw.column_names:
            numbers[name], unparsable[name] = parse_numbers(raw.column(name), path, file.title(name))
    return PriceFile(
        path=path,
        table=raw,
        titles=file.titles,
        days=parse_days(raw.column("session"), path, file.title("session")),
        symbols=pc.utf8_upper(parse_text(raw.column("symbol"), path, "symbol")),
        numbers=numbers,
        unparsable=unparsable,
        sources=parse_text(raw.column("source"), path, "source") if "source" in raw.column_names else None,
    )


def _read_csv(path: Path, schema: FileSchema) -> RawFile:
    try:
        header = next(_records(path), None)
        if header is None:
            raise DataError(f"{path}, row 1: the file is empty; its first line must name the columns")
        names = _canonical(header[1], path, schema)
        table = pacsv.read_csv(
            path,
            read_options=pacsv.ReadOptions(column_names=names, skip_rows=header[0]),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        return RawFile(path, table, _titles(names, header[1]))
    except (pa.ArrowInvalid, csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataError(
            f"{_broken_record(path)}. Nothing was loaded; correct the file and load again"
        ) from error


def _broken_record(path: Path) -> str:
    """Return a sentence that says where the CSV file cannot be read."""
    line, expected = 0, 0
    try:
        for line, fields in _records(path):
            expected = expected or len(fields)
            if len(fields) != expected:
                return f"{path}, row {line}: {len(fields)} columns where the header has {expected}"
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        return f"{path}, row {line + 1}: cannot be read as CSV text in UTF-8 ({error})"
    return f"{path}: cannot be read as CSV with a header and commas between the columns"


def _read_parquet(path: Path, schema: FileSchema) -> RawFile:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}); write the file anew") from error
    table = table.select([name for name in table.column_names if not name.startswith(_PANDAS_INDEX)])
    names = _canonical(table.column_names, path, schema)
    return RawFile(path, table.rename_columns(names), _titles(names, table.column_names))


def _titles(names: list[str], header: list[str]) -> dict[str, str]:
    return dict(zip(names, (title.strip() for title in header), strict=True))


def _canonical(header: list[str], path: Path, schema: FileSchema) -> list[str]:
    """Return the schema's names of the columns of `header`, in its order."""
    stripped = [name.strip().lower() for name in header]
    names = [schema.aliases.get(name, name) for name in stripped]
    first_alias = next(iter(schema.aliases), "")
    advice = f"known columns: {', '.join(filter(None, (first_alias, *schema.columns)))}"
    for index, name in enumerate(names):
        if name not in schema.columns:
            raise DataError(
                f"{path}, row 1, column {header[index]!r}: not a column of {schema.what}; rename or remove "
                f"it "
                f"({advice})"
            )
        if name in names[:index]:
            raise DataError(
                f"{path}, row 1, column {header[index]!r}: the file holds {name} twice; remove one"
            )
    for name in schema.required:
        if name not in names:
            wanted = "date (or session)" if name == "session" else name
            raise DataError(f"{path}, row 1: column {wanted} is missing; add it ({advice})")
    return names


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line the record starts on, its fields) of a CSV file, blank lines left out."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        start = 1
        for fields in reader:
            if fields:
                yield start, fields
            start = reader.line_num + 1


def parse_text(column: pa.ChunkedArray, path: Path, name: str) -> pa.StringArray:
    """Return a column as trimmed text, empty where there is none."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        if pa.types.is_null(column.type) or column.null_count == len(column):
            return pa.array([""] * len(column), pa.string())
        raise DataError(f"{path}, row 1, column {name}: holds {column.type}, not text; write it as text")
    trimmed = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return _one_array(pc.fill_null(trimmed, ""))


def parse_numbers(
    column: pa.ChunkedArray, path: Path, name: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the values (NaN where empty or wrong) and where the cell holds something that is no number."""
    kind = column.type
    if (
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        return _floats(column.cast(pa.float64())), np.zeros(len(column), dtype=bool)
    text = parse_text(column, path, name)
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    try:
        return _floats(text.cast(pa.float64())), np.zeros(len(text), dtype=bool)
    except pa.ArrowInvalid:
        # Arrow says that a cell is wrong but not which: find the cells the slow way.
        texts = pd.Series(text.to_pandas(), dtype=object)
        values = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
        said_nan = texts.str.lower().eq("nan").to_numpy(dtype=bool)
        return values, np.isnan(values) & texts.notna().to_numpy() & ~said_nan


def parse_days(column: pa.ChunkedArray, path: Path, name: str = "session") -> NDArray[np.int64]:
    """Return days since 1970-01-01, `NO_DAY` where the cell is no plain date."""
    kind = column.type
    if pa.types.is_date(kind):
        return _days(column.cast(pa.date32()))
    if pa.types.is_timestamp(kind):
        if kind.tz is not None:
            raise DataError(
                f"{path}, row 1, column {name}: holds moments with a time zone ({kind.tz}), not dates; "
                "write the date of the session in New York"
            )
        days = column.cast(pa.date32())
        midnight = _one_array(pc.fill_null(pc.equal(days.cast(kind), column), False))
        return np.where(midnight.to_numpy(zero_copy_only=False), _days(days), NO_DAY)
    text = parse_text(column, path, name)
    try:
        return _days(text.cast(pa.date32()))
    except pa.ArrowInvalid:
        parsed = pd.to_datetime(pd.Series(text.to_pandas()), format="%Y-%m-%d", errors="coerce")
        return _days(pa.chunked_array([pa.Array.from_pandas(parsed.dt.date, type=pa.date32())]))


def _days(column: Any) -> NDArray[np.int64]:
    return pc.fill_null(_one_array(column).cast(pa.int32()).cast(pa.int64()), NO_DAY).to_numpy(
        zero_copy_only=False
    )


def _floats(column: Any) -> NDArray[np.float64]:
    return _one_array(column).to_numpy(zero_copy_only=False).astype(np.float64)


def _one_array(column: Any) -> Any:
    """Return an Arrow column as one contiguous array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
