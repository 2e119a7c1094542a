"""Contracts as columns of the journal: of a row of `intents` or `executions`, and back."""

import sqlite3
from collections.abc import Sequence
from decimal import Decimal

from hrp_core.ledger.types import Contract


def contract_of(row: sqlite3.Row) -> Contract:
    """Return the contract columns of a row of `intents` or `executions`."""
    return Contract(
        symbol=row["symbol"],
        con_id=row["con_id"],
        primary_exchange=row["primary_exchange"],
        currency=row["currency"],
        min_tick=Decimal(row["min_tick"]),
    )


def contract_values(contract: Contract) -> Sequence[str | int]:
    """Return the contract columns: symbol, con_id, primary_exchange, currency, min_tick."""
    return (
        contract.symbol,
        contract.con_id,
        contract.primary_exchange,
        contract.currency,
        str(contract.min_tick),
    )
