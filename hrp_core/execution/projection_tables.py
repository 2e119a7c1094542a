"""The columns of the tables that show trades and positions as they are now.

What belongs here: declarations, by which rows are checked before they are written and read back. What does
not: the DDL (the migrations of the store) and writing (`projections`).
"""

from hrp_core.store import Column, ColumnType, Table

_MODE = Column("mode", ColumnType.TEXT, "sim, paper or live.")
_ACCOUNT = Column("account", ColumnType.TEXT, "Account at the broker.")
_SYMBOL = Column("symbol", ColumnType.TEXT, "Upper-case ticker.")
_ENTRY = Column("entry_price", ColumnType.PRICE, "Average entry price without commissions, USD a share.")
_AS_OF = Column("as_of_date", ColumnType.DATE, "Session that shares and prices are of.")
_UPDATED = Column("updated_at", ColumnType.MOMENT, "Newest execution or mark in it.")

EXECUTED_TRADES = Table(
    "executed_trades",
    (
        Column("trade_id", ColumnType.TEXT, "Execution id and strategy."),
        Column(
            "order_id", ColumnType.TEXT, "Order reference, or id of a cross; EXTERNAL-<permId>: elsewhere."
        ),
        Column("broker_order_id", ColumnType.TEXT, "The broker's permanent id.", True),
        Column("hypothesis_id", ColumnType.TEXT, "Strategy; null = of no strategy's order.", True),
        _SYMBOL,
        Column("side", ColumnType.TEXT, "buy or sell."),
        Column("quantity", ColumnType.BIGINT, "Shares the order was to trade for the strategy."),
        Column("order_type", ColumnType.TEXT, "market, limit, and so on; cross; external: placed elsewhere."),
        Column("limit_price", ColumnType.PRICE, "USD a share; null unless the order has a limit.", True),
        Column("filled_price", ColumnType.PRICE, "USD a share.", True),
        Column("filled_quantity", ColumnType.BIGINT, "Shares of this execution for the strategy."),
        Column("commission", ColumnType.CASH, "USD of this part; null = not reported yet.", True),
        Column("status", ColumnType.TEXT, "State of the order in the journal."),
        Column("submitted_at", ColumnType.MOMENT, "When the order was sent.", True),
        Column("filled_at", ColumnType.MOMENT, "When the broker executed it.", True),
        Column("created_at", ColumnType.MOMENT, "As filled_at: the row is of the execution."),
        _MODE,
        _ACCOUNT,
    ),
    ("trade_id",),
    "One strategy's part of one execution.",
    partitioned=False,
)

LIVE_POSITIONS = Table(
    "live_positions",
    (
        _SYMBOL,
        Column("quantity", ColumnType.BIGINT, "Signed shares, never zero."),
        _ENTRY,
        Column(
            "current_price",
            ColumnType.PRICE,
            "What the book values it at: a close, or what the broker gave; null: neither.",
            True,
        ),
        Column("market_value", ColumnType.CASH, "quantity * current_price, USD.", True),
        Column("cost_basis", ColumnType.CASH, "quantity * entry_price + commissions paid for it, USD."),
        Column("unrealized_pnl", ColumnType.CASH, "market_value - cost_basis, USD.", True),
        Column("unrealized_pnl_pct", ColumnType.DOUBLE, "Of the cost basis; 0.1 = ten percent.", True),
        Column("hypothesis_id", ColumnType.TEXT, "The only strategy that holds it; else null.", True),
        _AS_OF,
        _UPDATED,
        _MODE,
        _ACCOUNT,
    ),
    ("symbol",),
    "One name that the account holds now.",
    partitioned=False,
)

STRATEGY_POSITIONS = Table(
    "strategy_positions",
    (
        Column("strategy_id", ColumnType.TEXT, "Strategy; EXTERNAL = of no strategy's order."),
        _SYMBOL,
        Column("quantity", ColumnType.BIGINT, "Signed shares, never zero."),
        _ENTRY,
        _AS_OF,
        _UPDATED,
        _MODE,
        _ACCOUNT,
    ),
    ("strategy_id", "symbol"),
    "One strategy's holding of one name now.",
    partitioned=False,
)
