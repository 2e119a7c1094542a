"""The one declaration of every asset table: columns, types, keys, descriptions.

It drives the DDL, the validation of what is written, the types of what is read, and the column schemas that
Dagster shows. What does not belong here: tables that are not assets (they live in the migrations). Past 400
lines because it is one list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from hrp_core.errors import StoreError


class ColumnType(StrEnum):
    """The DuckDB types that a column may have; each has one pandas type on the way back (`read_table`)."""

    DATE = "DATE"
    TEXT = "VARCHAR"
    DOUBLE = "DOUBLE"
    BIGINT = "BIGINT"
    INTEGER = "INTEGER"
    BOOLEAN = "BOOLEAN"
    MOMENT = "TIMESTAMP WITH TIME ZONE"
    PRICE = "DECIMAL(18,6)"
    CASH = "DECIMAL(18,4)"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: ColumnType
    description: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One asset table.

    Attributes:
        name: the table's name, and the key of the asset that writes its partitions.
        columns: in the order of the DDL; `session` comes first.
        key: columns that together name a row once within the table; all are NOT NULL and `session` leads.
        description: one sentence on what a row is.
        partitioned: whether one session is one partition.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    description: str
    partitioned: bool = True

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns in declared order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column called `name`.

        Raises:
            StoreError: the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise StoreError(f"table {self.name} has no column {name!r}; it has {', '.join(self.column_names)}")

    @property
    def ddl(self) -> str:
        """The statement that creates the table where it does not exist yet.

        Keys are not declared: DuckLake knows no PRIMARY KEY, so whoever writes asserts them.
        """
        columns = ", ".join(
            f"{column.name} {column.type}{'' if column.nullable else ' NOT NULL'}" for column in self.columns
        )
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({columns})"


def table(name: str) -> Table:
    """Return the declared asset table called `name`.

    Raises:
        StoreError: no such table is declared.
    """
    try:
        return TABLES[name]
    except KeyError:
        raise StoreError(
            f"no asset table {name!r} is declared; there are {', '.join(sorted(TABLES))}"
        ) from None


_SESSION = Column("session", ColumnType.DATE, "Decision session D: the partition the row belongs to.")
_SYMBOL = Column("symbol", ColumnType.TEXT, "Upper-case ticker.")
_STRATEGY = Column("strategy_id", ColumnType.TEXT, "Strategy, such as HYP-2026-001.")
_PLAN = Column("plan_id", ColumnType.TEXT, "Frozen plan in the order journal.")
_MODE = Column("mode", ColumnType.TEXT, "sim, paper or live.")
_ACCOUNT = Column("account", ColumnType.TEXT, "Account at the broker.")
_VALUATION = Column(
    "valuation_session", ColumnType.DATE, "Execution session E whose end the row is valued at."
)

UNIVERSE = Table(
    "universe",
    (
        _SESSION,
        _SYMBOL,
        Column("in_universe", ColumnType.BOOLEAN, "Whether new entries in the name are allowed."),
        Column("reason", ColumnType.TEXT, "Why the name is in, or out."),
    ),
    ("session", "symbol"),
    "The names that may be scored and bought on a session, and why.",
)

CORPORATE_ACTIONS = Table(
    "corporate_actions",
    (
        _SESSION,
        _SYMBOL,
        Column("kind", ColumnType.TEXT, "split, dividend, and so on."),
        Column("factor", ColumnType.DOUBLE, "New shares for one old share; null unless shares change.", True),
        Column("amount", ColumnType.DOUBLE, "USD a share; null unless cash is paid.", True),
        Column("effective_session", ColumnType.DATE, "First session that trades after the action."),
    ),
    ("session", "symbol", "kind", "effective_session"),
    "Splits, dividends and other events known on a session.",
)

PRICES = Table(
    "prices",
    (
        _SESSION,
        _SYMBOL,
        Column("open", ColumnType.DOUBLE, "First price, USD a share; null where the source has none.", True),
        Column("high", ColumnType.DOUBLE, "Highest price, USD a share; null where there is none.", True),
        Column("low", ColumnType.DOUBLE, "Lowest price, USD a share; null where there is none.", True),
        Column("close", ColumnType.DOUBLE, "Official close as the source gives it, USD a share."),
        Column("volume", ColumnType.DOUBLE, "Shares traded; null where the source has none.", True),
        Column(
            "split_factor",
            ColumnType.DOUBLE,
            "New shares for one old, on the first session at the new basis; null where the source has none.",
            True,
        ),
        Column(
            "dividend",
            ColumnType.DOUBLE,
            "USD a share, on the ex-date; null where the source has none.",
            True,
        ),
        Column("source", ColumnType.TEXT, "Price source that delivered the row."),
    ),
    ("session", "symbol"),
    "One bar of one name on one session, unadjusted by us; adjusted when it is read.",
)

_FEATURES = (
    ("ret_1", "Total return over 1 session, a fraction."),
    ("ret_5", "Total return over 5 sessions, a fraction."),
    ("ret_21", "Total return over 21 sessions, a fraction."),
    ("ret_63", "Total return over 63 sessions, a fraction."),
    ("ret_252", "Total return over 252 sessions, a fraction."),
    ("momentum_12_1", "Total return from 252 to 21 sessions ago, a fraction."),
    ("vol_21", "Standard deviation of 21 daily total returns, a fraction a day."),
    ("vol_63", "Standard deviation of 63 daily total returns, a fraction a day."),
    ("rsi_14", "Relative strength index of 14 changes (Cutler), 0 to 100."),
    ("price_to_sma_20", "Close over its mean of 20 sessions, less 1, a fraction."),
    ("sma_50_200", "Mean close of 50 sessions over that of 200, less 1, a fraction."),
    ("zscore_20", "Close less its mean of 20 sessions, in standard deviations."),
    ("adv_20", "Mean dollar volume of 20 sessions, USD; null where the source has no volume."),
)

FEATURES = Table(
    "features",
    (
        _SESSION,
        _SYMBOL,
        *(
            Column(name, ColumnType.DOUBLE, f"{meaning} Null without enough history.", True)
            for name, meaning in _FEATURES
        ),
        *(
            Column(f"{name}_rank", ColumnType.DOUBLE, f"Rank of {name} among the names of D, 0 to 1.", True)
            for name, _ in _FEATURES
        ),
    ),
    ("session", "symbol"),
    "The features of one name on one session: one column a feature.",
)

PREDICTIONS = Table(
    "predictions",
    (
        _SESSION,
        _STRATEGY,
        _SYMBOL,
        Column("prediction", ColumnType.DOUBLE, "The model's score; null = not scored.", True),
        Column("rank", ColumnType.INTEGER, "1 = highest score of the strategy; null = not scored.", True),
        Column("model_name", ColumnType.TEXT, "Registered model, or feature used as a factor."),
        Column("model_version", ColumnType.TEXT, "Version that was resolved for this partition."),
    ),
    ("session", "strategy_id", "symbol"),
    "One strategy's score of one name, with the model that made it.",
)

SIGNALS = Table(
    "signals",
    (
        _SESSION,
        _STRATEGY,
        _SYMBOL,
        Column("signal", ColumnType.DOUBLE, "+1 long, 0 none, -1 short."),
        Column("prediction", ColumnType.DOUBLE, "The score behind it; null = not scored.", True),
        Column("method", ColumnType.TEXT, "Rule that turned scores into signals."),
    ),
    ("session", "strategy_id", "symbol"),
    "What each strategy wants of each name it was asked to score.",
)

TARGET_PORTFOLIO = Table(
    "target_portfolio",
    (
        _SESSION,
        _STRATEGY,
        _SYMBOL,
        Column("signal", ColumnType.DOUBLE, "+1, 0 or -1; null where the strategy gave none.", True),
        Column("prediction", ColumnType.DOUBLE, "The score behind it; null = not scored.", True),
        Column("price", ColumnType.PRICE, "Close of D, USD a share; null where there is none.", True),
        Column("weight_before", ColumnType.DOUBLE, "Share of the whole equity before."),
        Column("weight_target", ColumnType.DOUBLE, "Share of the whole equity wanted."),
        Column("shares_before", ColumnType.BIGINT, "Shares of the strategy before."),
        Column("shares_target", ColumnType.BIGINT, "Shares of the strategy wanted."),
        Column("reason", ColumnType.TEXT, "Reason code of the target."),
        Column("note", ColumnType.TEXT, "What a reader should know besides; may be empty."),
        _PLAN,
    ),
    ("session", "strategy_id", "symbol"),
    "What one strategy holds and wants of one name, with the reason.",
)

TRADE_GATE = Table(
    "trade_gate",
    (
        _SESSION,
        Column("verdict", ColumnType.TEXT, "go, reduce_only, no_go or blocked (evidence is missing)."),
        Column("reasons", ColumnType.TEXT, "JSON list: code, verdict and message of each objection."),
        Column("evidence", ColumnType.TEXT, "JSON object: what was known of each condition."),
        Column("plan_id", ColumnType.TEXT, "Plan that was judged; null = there was none.", True),
        Column("plan_hash", ColumnType.TEXT, "Hash of that plan's inputs; null without a plan.", True),
        Column("hashes", ColumnType.TEXT, "JSON object: content hash by asset that was judged."),
        Column("judged_at", ColumnType.MOMENT, "When the evidence was taken."),
        Column("expires_at", ColumnType.MOMENT, "From then on nothing is sent on this verdict."),
        _MODE,
        _ACCOUNT,
    ),
    ("session",),
    "Whether the plan of the session may be sent, and why not.",
)

ORDERS = Table(
    "orders",
    (
        _SESSION,
        _PLAN,
        Column("intent_id", ColumnType.TEXT, "One decided order of the plan."),
        Column("order_ref", ColumnType.TEXT, "Reference of the latest attempt; null = never sent.", True),
        Column("allocations", ColumnType.TEXT, "JSON object: signed shares by strategy."),
        _SYMBOL,
        Column("con_id", ColumnType.BIGINT, "The broker's contract id."),
        Column("side", ColumnType.TEXT, "buy or sell."),
        Column("quantity", ColumnType.BIGINT, "Shares decided, positive."),
        Column("order_type", ColumnType.TEXT, "market, limit, and so on."),
        Column("limit_price", ColumnType.PRICE, "USD a share; null unless the order has a limit.", True),
        Column("reference_price", ColumnType.PRICE, "Close of D, USD a share."),
        Column("status", ColumnType.TEXT, "State of the intent in the journal."),
        Column("filled", ColumnType.BIGINT, "Shares filled so far over all attempts."),
        Column("perm_id", ColumnType.BIGINT, "The broker's permanent id; null = not acknowledged.", True),
        Column("reason", ColumnType.TEXT, "Why it was rejected, cancelled or held; may be empty."),
        _MODE,
        _ACCOUNT,
    ),
    ("session", "intent_id"),
    "One order of a session's frozen plan with its state.",
)

FILLS = Table(
    "fills",
    (
        _SESSION,
        Column("exec_id", ColumnType.TEXT, "The broker's execution id; of a cross, its own id."),
        Column("intent_id", ColumnType.TEXT, "Intent it fills; null = placed elsewhere, or a cross.", True),
        Column("order_ref", ColumnType.TEXT, "Order reference; empty = placed elsewhere; exec_id = a cross."),
        Column("strategy_id", ColumnType.TEXT, "Strategy this part of the execution is allocated to."),
        _SYMBOL,
        Column("side", ColumnType.TEXT, "buy or sell."),
        Column("shares", ColumnType.BIGINT, "Shares of this allocation, positive."),
        Column("price", ColumnType.PRICE, "USD a share."),
        Column("commission", ColumnType.CASH, "USD for this allocation; null = not reported yet.", True),
        Column("executed_at", ColumnType.MOMENT, "When the broker executed it."),
        _MODE,
        _ACCOUNT,
    ),
    ("session", "exec_id", "strategy_id"),
    "One strategy's part of one execution, or of one cross between strategies.",
)

POSITIONS = Table(
    "positions",
    (
        _SESSION,
        _VALUATION,
        Column("strategy_id", ColumnType.TEXT, "Strategy; empty = the whole account."),
        _SYMBOL,
        Column("shares", ColumnType.BIGINT, "Signed shares."),
        Column("average_price", ColumnType.PRICE, "Average entry price without commissions, USD a share."),
        Column("mark", ColumnType.PRICE, "Price it is valued at, USD a share."),
        Column("market_value", ColumnType.CASH, "shares * mark, USD."),
        Column("unrealized_pnl", ColumnType.CASH, "USD against the average price."),
        Column(
            "mark_source",
            ColumnType.TEXT,
            "official_close, broker_mark (provisional), or last_close of a name without either; null = an "
            "older row, at the official close.",
            True,
        ),
        Column("mark_time", ColumnType.MOMENT, "Moment of the mark; null in an older row.", True),
        _MODE,
        _ACCOUNT,
    ),
    ("session", "strategy_id", "symbol"),
    "Shares held after the execution session, of the account and of each strategy.",
)

NAV = Table(
    "nav",
    (
        _SESSION,
        _VALUATION,
        Column("cash", ColumnType.CASH, "USD, from opening cash, flows, fills and commissions."),
        Column("market_value", ColumnType.CASH, "Sum of the positions at their marks, USD."),
        Column("nav", ColumnType.CASH, "cash + market_value, USD."),
        Column("gross_exposure", ColumnType.DOUBLE, "Sum of absolute market values / nav."),
        Column("net_exposure", ColumnType.DOUBLE, "market_value / nav."),
        Column("flows", ColumnType.CASH, "Deposits less withdrawals of the session, USD."),
        Column("commissions", ColumnType.CASH, "Commissions of the session, USD."),
        Column("daily_return", ColumnType.DOUBLE, "Time-weighted, net of flows; null on the first.", True),
        Column(
            "drawdown", ColumnType.DOUBLE, "Fall from the highest time-weighted value so far, a fraction."
        ),
        Column("turnover", ColumnType.DOUBLE, "Traded value of the session / nav."),
        Column("positions", ColumnType.INTEGER, "Names held."),
        Column("mark_source", ColumnType.TEXT, "official_close (final) or broker_mark (provisional)."),
        Column("mark_time", ColumnType.MOMENT, "Moment of the marks."),
        _MODE,
        _ACCOUNT,
    ),
    ("session",),
    "What the account is worth after an execution session.",
)

RECONCILIATION = Table(
    "reconciliation",
    (
        _SESSION,
        _VALUATION,
        Column("number", ColumnType.INTEGER, "1 for the first break of the run."),
        Column("reconciliation_id", ColumnType.TEXT, "The run, a row of reconciliation_runs."),
        Column("kind", ColumnType.TEXT, "How they differ; null = executions are missing.", True),
        Column("cause", ColumnType.TEXT, "What it most likely is."),
        Column("symbol", ColumnType.TEXT, "Upper-case ticker; empty where it concerns none."),
        Column("message", ColumnType.TEXT, "What differs, with the figures of both sides."),
        _MODE,
        _ACCOUNT,
    ),
    ("session", "number"),
    "One difference between ledger and broker, as the newest comparison of the session found it.",
)

MODEL_DRIFT = Table(
    "model_drift",
    (
        _SESSION,
        Column("model_name", ColumnType.TEXT, "Registered model."),
        Column("model_version", ColumnType.TEXT, "Version in production; empty when there is none."),
        Column("drift_type", ColumnType.TEXT, "feature, prediction or concept."),
        Column("subject", ColumnType.TEXT, "What was checked, and by which statistic."),
        Column("status", ColumnType.TEXT, "ok, drift, insufficient or error."),
        Column("statistic", ColumnType.DOUBLE, "What was measured; null where nothing was.", True),
        Column("threshold", ColumnType.DOUBLE, "Beyond it is drift; null where there is none.", True),
        Column("samples", ColumnType.BIGINT, "Values that the statistic rests on."),
        Column("details", ColumnType.TEXT, "JSON object: why, in words, unless all is well."),
    ),
    ("session", "model_name", "model_version", "drift_type", "subject"),
    "One drift check of a model in production.",
)

EXECUTION_QUALITY = Table(
    "execution_quality",
    (
        _SESSION,
        Column("exec_id", ColumnType.TEXT, "The broker's execution id; of a cross, its own id."),
        _STRATEGY,
        _SYMBOL,
        Column("side", ColumnType.TEXT, "buy or sell."),
        Column("is_cross", ColumnType.BOOLEAN, "Whether strategies took it from one another."),
        Column("shares", ColumnType.BIGINT, "Shares of this allocation, positive."),
        Column("price", ColumnType.PRICE, "USD a share."),
        Column("decision_close", ColumnType.PRICE, "Official close of D at E's basis; null: none.", True),
        Column("open", ColumnType.PRICE, "Official open of E, USD a share; null where there is none.", True),
        Column("shortfall_usd", ColumnType.CASH, "Cost against the decision close; below 0 is a gain.", True),
        Column("shortfall_bps", ColumnType.DOUBLE, "The same, of the value at the decision close.", True),
        Column("slippage_usd", ColumnType.CASH, "Cost against the open of E; below 0 is a gain.", True),
        Column("slippage_bps", ColumnType.DOUBLE, "The same, of the value at the open.", True),
        Column("commission", ColumnType.CASH, "USD; null = not reported yet. In neither cost.", True),
        Column("assumed_price", ColumnType.PRICE, "Price replay fills the same order at; null: none.", True),
        Column("assumed_commission", ColumnType.CASH, "USD replay charges for these shares.", True),
        _MODE,
        _ACCOUNT,
    ),
    ("session", "exec_id", "strategy_id"),
    "What one strategy's part of one execution cost against the decision and the open.",
)

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        declared.name: declared
        for declared in (
            UNIVERSE,
            CORPORATE_ACTIONS,
            PRICES,
            FEATURES,
            PREDICTIONS,
            SIGNALS,
            TARGET_PORTFOLIO,
            TRADE_GATE,
            ORDERS,
            FILLS,
            POSITIONS,
            NAV,
            RECONCILIATION,
            MODEL_DRIFT,
            EXECUTION_QUALITY,
        )
    }
)
