"""The account's figures under the broker's names.

What belongs here: which keys exist and how each is computed from cash, positions and marks.
"""

from dataclasses import dataclass
from decimal import Decimal

from hrp_core.matching import Engine, Position
from hrp_core.money import from_units

CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class AccountValue:
    """One figure. `currency` is empty where the value is no amount."""

    key: str
    value: str
    currency: str


def unrealized_units(engine: Engine, position: Position) -> int:
    """Return the profit of a position at its mark, commissions counted, in ten-thousandths of a dollar."""
    return position.shares * engine.mark_units(position) - position.cost_units


def account_values(engine: Engine, account: str) -> list[AccountValue]:
    """Return every figure of the account, as at the engine's clock."""
    cash = engine.account.cash_units
    stock = engine.account.market_value_units(engine.mark_units)
    unrealized = sum(unrealized_units(engine, position) for position in engine.account.positions)
    amounts = {
        "AvailableFunds": cash,
        "BuyingPower": cash,
        "CashBalance": cash,
        "EquityWithLoanValue": cash + stock,
        "ExcessLiquidity": cash,
        "GrossPositionValue": stock,
        "NetLiquidation": cash + stock,
        "NetLiquidationByCurrency": cash + stock,
        "RealizedPnL": engine.account.realized_units,
        "SettledCash": cash,
        "StockMarketValue": stock,
        "TotalCashBalance": cash,
        "TotalCashValue": cash,
        "UnrealizedPnL": unrealized,
    }
    return [
        AccountValue("AccountCode", account, ""),
        AccountValue("AccountReady", "true", ""),
        AccountValue("AccountType", "INDIVIDUAL", ""),
        AccountValue("Currency", CURRENCY, CURRENCY),
        AccountValue("ExchangeRate", "1.00", CURRENCY),
        *(AccountValue(key, text(from_units(units)), CURRENCY) for key, units in sorted(amounts.items())),
    ]


def text(amount: Decimal) -> str:
    """Return an amount of USD with its four places."""
    return format(amount, "f")
