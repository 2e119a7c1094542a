"""Run as a script: hold a DuckDB file open in another process until a line arrives on standard input.

Usage: hold_database.py PATH read|write. Prints "open" once it holds the file and "closed" once it does not.
"""

import sys

import duckdb

path, how = sys.argv[1:]
with duckdb.connect(path, read_only=how == "read") as connection:
    connection.execute("SELECT 1")
    print("open", flush=True)  # noqa: T201
    sys.stdin.readline()
print("closed", flush=True)  # noqa: T201
sys.stdin.readline()
