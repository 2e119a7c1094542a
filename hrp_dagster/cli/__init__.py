"""The `hrp` command: parse, call, render. Nothing here decides anything."""

from hrp_dagster.cli.app import main

__all__ = ["main"]
