"""`PlatformAPI`: one object to read an installation with, and to act on it within its rules.

What belongs here: names, defaults and return types. What does not: any rule or arithmetic of its own; each
method calls the function that the jobs call. One file of more than 400 lines, because it is one contract and
most of it is documentation.
"""

import getpass
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import pandas as pd

from hrp_core.calendar import NEW_YORK, Clock, nyse
from hrp_core.errors import DataError, NotReadyError
from hrp_core.execution.marks import book_marks
from hrp_core.execution.orders import Order
from hrp_core.execution.projection_tables import EXECUTED_TRADES, LIVE_POSITIONS
from hrp_core.execution.projections import positions_as_of
from hrp_core.execution.recorded_trades import record_trade
from hrp_core.features import FEATURES, feature_version
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.models.deployments import ACTIVE, PRODUCTION, Deployment
from hrp_core.models.drift_checks import DriftReport, newest_drift
from hrp_core.models.inspection import compare_samples, inspect_drift, recent_features
from hrp_core.models.registered import score_model
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.scoring import score_factor
from hrp_core.models.service import MonitorResult, monitor_drift
from hrp_core.models.tracking import Tracking
from hrp_core.money import to_money
from hrp_core.platform.status import Status, read_status
from hrp_core.portfolio.strategies import StrategyState, load_strategies, read_strategy_files
from hrp_core.settings import Settings
from hrp_core.store import (
    EventType,
    Store,
    Table,
    log_event,
    migrate,
    newest_session,
    query_readonly,
    read_lineage,
    select_rows,
    status,
    table,
)
from hrp_core.store.schema import stored_columns

DEPLOYED_COLUMNS = (
    "strategy_id",
    "name",
    "state",
    "model_name",
    "model_version",
    "deployed_at",
    "method",
    "parameters",
    "capital_weight",
)
SCORE_COLUMNS = ("session", "symbol", "prediction", "rank", "model_name", "model_version")

Conditions = list[tuple[str, Sequence[object]]]


class PlatformAPI:
    """Everything there is to know about one installation, for notebooks, the command line and the dashboard.

    Frames have declared columns, also when there is nothing yet: an empty installation answers with empty
    frames. The database is made, or brought to the newest schema, when it is first needed. No connection
    stays open between two calls, and none is made to a broker.

    Args:
        settings: default: read from the environment.
        clock: default: the one of the mode.
    """

    def __init__(self, settings: Settings | None = None, *, clock: Clock | None = None) -> None:
        self._settings = settings or Settings()
        self._clock = clock or self._settings.clock()
        self._journal = Journal(self._settings.journal_path)
        self._store: Store | None = None

    @property
    def settings(self) -> Settings:
        """The settings of the installation."""
        return self._settings

    @property
    def clock(self) -> Clock:
        """The clock of the mode: the simulated gateway's in sim, the wall clock otherwise."""
        return self._clock

    @property
    def journal(self) -> Journal:
        """The order journal."""
        return self._journal

    @property
    def store(self) -> Store:
        """The database, with the newest schema."""
        if self._store is None:
            store = Store(self._settings.database_path)
            if status(store).pending:
                migrate(store)
            self._store = store
        return self._store

    @cached_property
    def registry(self) -> ModelRegistry:
        """The model registry; MLflow is imported when it is first asked something."""
        return ModelRegistry(Tracking(self._settings.home))

    # --- the account ---------------------------------------------------------------------------------

    def get_live_positions(self, as_of_date: date | None = None) -> pd.DataFrame:
        """Return what the account holds: the columns of `live_positions`, USD, sorted by symbol.

        Args:
            as_of_date: default: as last stored, by the book at its marks or by `PositionTracker` at the
                broker's prices. With a day: as the journal knows it after that day, at official closes.
        """
        if as_of_date is None:
            return self._account_rows(LIVE_POSITIONS)
        try:
            return positions_as_of(self.store, self.journal, as_of_date)
        except NotReadyError:  # never bound to an account: it holds nothing yet
            return pd.DataFrame(columns=list(LIVE_POSITIONS.column_names))

    def get_executed_trades(
        self,
        symbol: str | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
        limit: int = 100,
    ) -> pd.DataFrame:
        """Return trades, the newest first: the columns of `executed_trades`.

        Args:
            symbol: only this name.
            start_date: first day in New York.
            end_date: last day in New York, included.
            limit: most rows.

        Raises:
            DataError: (a ValueError) `limit` is not positive.
        """
        if limit <= 0:
            raise DataError("limit must be positive")
        conditions: Conditions = []
        if symbol is not None:
            conditions.append(("symbol = ?", [symbol.strip().upper()]))
        if start_date is not None:
            conditions.append(("CAST(filled_at AS DATE) >= ?", [start_date]))
        if end_date is not None:
            conditions.append(("CAST(filled_at AS DATE) <= ?", [end_date]))
        rows = self._account_rows(EXECUTED_TRADES, conditions)
        newest = rows.sort_values(["filled_at", "trade_id"], ascending=False, kind="stable")
        return newest.head(limit).reset_index(drop=True)

    def record_trade(
        self,
        order: Order,
        filled_price: Decimal,
        filled_quantity: int | None = None,
        commission: Decimal | None = None,
        hypothesis_id: str | None = None,
    ) -> str:
        """Return the trade_id of a trade, recording one made elsewhere that the broker reports no more.

        `executed_trades` follows from the journal, and the journal from the broker's executions: the trade of
        an order sent from here is looked up, never written. The shares of one made elsewhere belong to the
        account, or to the strategy that `hypothesis_id` names. See `hrp_core.execution.recorded_trades`.

        Raises:
            DataError: (a ValueError) price, quantity or commission makes no sense.
            RefusedError: the broker's word contradicts it, nothing shows yet that it happened, or there is no
                such strategy.
            NotReadyError: the journal was never bound to an account.
        """
        return record_trade(
            self.store,
            self.journal,
            order,
            filled_price,
            filled_quantity,
            commission,
            hypothesis_id,
            strategies=lambda: {item.strategy_id for item in load_strategies(self._settings.strategies)},
            actor=getpass.getuser(),
            now=self.clock.now(),
        )

    def get_portfolio_value(self) -> Decimal:
        """Return cash plus positions, USD: the ledger at the official closes of the newest stored session.

        Nothing of the broker is in it. A name without a close of that session keeps its last one, as in the
        book. Before the first connection it is 0.

        Raises:
            DataError: a held name has no price that counts.
        """
        book = read_book(self.journal)
        if not book.holdings:
            return to_money(book.cash)
        session = self._newest("prices")
        if session is None:
            raise DataError(
                f"{', '.join(sorted(book.holdings))} has no official close of any session, so the portfolio "
                "cannot be valued; run market_data_job for it"
            )
        with self.store.read() as connection:
            marks = book_marks(connection, book.holdings, session, self.journal.splits())
        held = sum((item.shares * marks[name].price for name, item in book.holdings.items()), Decimal(0))
        return to_money(book.cash + held)

    def get_cash(self) -> Decimal:
        """Return the cash of the ledger, USD. Before the first connection it is 0."""
        return to_money(read_book(self.journal).cash)

    def get_nav(self, start_date: date | None = None, end_date: date | None = None) -> pd.DataFrame:
        """Return what the account was worth after each session: the columns of `nav`, oldest first.

        The last row may be provisional, at the broker's prices: its mark_source is not official_close.

        Args:
            start_date: first decision session.
            end_date: last decision session, included.
        """
        return self._account_rows(table("nav"), _conditions(None, start_date, end_date))

    def get_gate_verdict(self) -> pd.DataFrame:
        """Return the newest verdict of the trade gate: the columns of `trade_gate`, one row or none."""
        rows = self._account_rows(table("trade_gate"))
        return rows.sort_values("session", ignore_index=True).tail(1).reset_index(drop=True)

    def get_status(self) -> Status:
        """Return the state of the installation in a dozen facts, and what happens next."""
        return read_status(self.settings)

    # --- research ------------------------------------------------------------------------------------

    def get_deployed_strategies(self) -> pd.DataFrame:
        """Return the strategies that are deployed or paused, by id.

        Returns:
            Columns strategy_id, name, state, model_name, model_version (in production; None without one),
            deployed_at (of that version, New York time; NaT for a factor), method, parameters (JSON text),
            capital_weight (Decimal, a fraction of the capital).

        Raises:
            SettingsError: a strategy file is wrong; names file and key.
        """
        active = self._active_models()
        rows: list[dict[str, object]] = []
        for file in read_strategy_files(self._settings.strategies):
            if file.state is StrategyState.DRAFT:
                continue
            strategy = file.strategy
            version, deployed_at = active.get(strategy.model, (None, None))
            if strategy.model in FEATURES:
                version, deployed_at = f"factor-v{feature_version(strategy.model)}", None
            rows.append(
                {
                    "strategy_id": strategy.strategy_id,
                    "name": strategy.name,
                    "state": file.state.value,
                    "model_name": strategy.model,
                    "model_version": version,
                    "deployed_at": deployed_at,
                    "method": strategy.method,
                    "parameters": json.dumps(dict(strategy.parameters), sort_keys=True),
                    "capital_weight": strategy.capital_weight,
                }
            )
        frame = pd.DataFrame(rows, columns=list(DEPLOYED_COLUMNS))
        moments = pd.to_datetime(frame["deployed_at"], utc=True).dt.tz_convert(NEW_YORK)
        return frame.assign(deployed_at=moments)

    def get_universe(self, as_of_date: date) -> pd.DataFrame:
        """Return the universe of the newest stored session up to `as_of_date`: columns of `universe`."""
        declared = table("universe")
        with self.store.read() as connection:
            if not stored_columns(connection, declared.name):
                return pd.DataFrame(columns=list(declared.column_names))
            newest = f"session = (SELECT max(session) FROM {declared.name} WHERE session <= ?)"
            return select_rows(connection, declared, conditions=[(newest, [as_of_date])])

    def get_prices(
        self,
        symbols: Sequence[str] | str | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
    ) -> pd.DataFrame:
        """Return bars as the source gave them, unadjusted: the columns of `prices`, USD a share.

        Args:
            symbols: only these names; default all.
            start_date: first session.
            end_date: last session, included.
        """
        return self._rows(table("prices"), _conditions(symbols, start_date, end_date))

    def get_features(
        self,
        symbols: Sequence[str] | str | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
    ) -> pd.DataFrame:
        """Return stored features: the columns of `features`; arguments as for `get_prices`."""
        return self._rows(table("features"), _conditions(symbols, start_date, end_date))

    def predict_model(
        self,
        model_name: str,
        symbols: Sequence[str],
        as_of_date: date,
        model_version: str | None = None,
    ) -> pd.DataFrame:
        """Score names now, from the stored features of one session. Nothing is stored.

        Args:
            model_name: registered model, or a feature used as a factor.
            symbols: names to score; the rank is among them.
            as_of_date: the session.
            model_version: default: the version in production.

        Returns:
            One row a name: session, symbol, prediction, rank (1 = best), model_name, model_version. A name
            without features of the session has a null prediction.

        Raises:
            NotReadyError: no features of the session are stored.
            ModelError: there is no such version, or it cannot score these features.
            DataError: no names were given, or a factor was asked for a version that it does not have.
        """
        names = sorted({symbol.strip().upper() for symbol in symbols})
        if not names:
            raise DataError("symbols is empty: give the names to score")
        features = self.get_features(start_date=as_of_date, end_date=as_of_date)
        if features.empty:
            raise NotReadyError(
                f"features of session {as_of_date} are not stored; run market_data_job for it"
            )
        wanted = pd.DataFrame({"symbol": names}).merge(features, on="symbol", how="left")
        if model_name in FEATURES:
            scored = score_factor("", model_name, wanted)
            own = f"factor-v{feature_version(model_name)}"
            if model_version not in (None, own):
                raise DataError(f"{model_name} is a feature in version {own}, it has no {model_version}")
        else:
            scored = score_model("", model_name, wanted, as_of_date, self.registry, version=model_version)
        return scored.assign(session=as_of_date)[list(SCORE_COLUMNS)]

    def get_model_predictions(
        self,
        model_name: str,
        as_of_date: date | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
    ) -> pd.DataFrame:
        """Return the stored predictions of a model: the columns of `predictions`.

        Args:
            model_name: registered model, or feature used as a factor.
            as_of_date: only this session.
            start_date: first session.
            end_date: last session, included.
        """
        conditions = _conditions(None, start_date, end_date)
        conditions.append(("model_name = ?", [model_name]))
        if as_of_date is not None:
            conditions.append(("session = ?", [as_of_date]))
        return self._rows(table("predictions"), conditions)

    def get_latest_predictions(self, strategy_id: str) -> pd.DataFrame:
        """Return the newest stored predictions of a strategy: the columns of `predictions`, best rank first.

        Args:
            strategy_id: such as HYP-2026-001.
        """
        newest = "session = (SELECT max(session) FROM predictions WHERE strategy_id = ?)"
        rows = self._rows(table("predictions"), [("strategy_id = ?", [strategy_id]), (newest, [strategy_id])])
        return rows.sort_values(["rank", "symbol"], ignore_index=True)

    def get_drift_report(self, model_name: str, model_version: str) -> DriftReport | None:
        """Return the newest recorded look for drift at a version; None when there was none yet.

        Args:
            model_name: registered model.
            model_version: number, as text.
        """
        return newest_drift(self.store, model_name, model_version)

    def check_model_drift(
        self,
        model_name: str,
        current_data: pd.DataFrame | None = None,
        reference_data: pd.DataFrame | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Look for drift now. Nothing is recorded, and nothing follows from it.

        Args:
            model_name: registered model.
            current_data: features to judge (session, symbol and the features); default: those stored.
            reference_data: what was normal; default: what was logged with the version in production. With it,
                each numeric column that both frames have is compared, whatever the model takes.

        Returns:
            Each check by its subject (drift_type, status, drift_detected, statistic, threshold, samples,
            details), and under "summary": total_checks, drift_detected, num_drifts. The status of a check
            that could not run is error or insufficient, which is not "no drift".

        Raises:
            ModelError: there is no such model in production, or it has no reference.
            NotReadyError: an input is not stored.
            DataError: a frame lacks what is to be compared.
        """
        if reference_data is None:
            report = inspect_drift(self.store, self.registry, model_name, current_data)
        else:
            current = recent_features(self.store) if current_data is None else current_data
            session = current["session"].max() if "session" in current.columns else self.clock.now().date()
            report = compare_samples(model_name, current, reference_data, session)
        found: dict[str, dict[str, Any]] = {
            check.subject: {
                "drift_type": check.drift_type,
                "status": check.status.value,
                "drift_detected": check.status.value == "drift",
                "statistic": check.statistic,
                "threshold": check.threshold,
                "samples": check.samples,
                "details": check.details,
            }
            for check in report.checks
        }
        return {**found, "summary": dict(report.summary)}

    def monitor_drift(self, actor: str = "") -> MonitorResult:
        """Check the models of all deployed strategies for drift as of the decision session, and record it.

        Nothing is rolled back: that is the drift monitor's, where it is turned on.

        Args:
            actor: who asks; default: the user of this process.

        Raises:
            NotReadyError: the clock of the mode does not run.
            SettingsError: a strategy file is wrong.
            StoreError: the database stays locked.
        """
        now = self.clock.now()
        strategies = load_strategies(self._settings.strategies)
        models = [item.model for item in strategies if item.model not in FEATURES]
        session = nyse().decision_session(now)
        who = actor or getpass.getuser()
        return monitor_drift(self.store, self.registry, models, session, now=now, actor=who)

    def rollback_deployment(
        self, model_name: str, to_version: str | None = None, actor: str = "", reason: str = ""
    ) -> Deployment:
        """Put an earlier version of a model into production again.

        Args:
            model_name: registered model.
            to_version: default: the one that was in production before.
            actor: who does it; required.
            reason: why; required.

        Raises:
            ModelError: actor or reason is missing.
            NoPredecessorError: there is no version to go back to that loads: halt trading.
        """
        return self.registry.rollback(
            model_name, to_version, actor=actor, reason=reason, store=self.store, now=self.clock.now()
        )

    # --- the record ----------------------------------------------------------------------------------

    def log_event(
        self,
        event_type: EventType | str,
        actor: str,
        hypothesis_id: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> int:
        """Append an event to the lineage and return its id.

        Raises:
            ValueError: there is no such kind of event (`hrp_core.store.EventType`).
        """
        kind = EventType(event_type)
        return log_event(self.store, kind, actor, hypothesis_id, details, now=self.clock.now())

    def get_lineage(
        self,
        hypothesis_id: str | None = None,
        event_type: EventType | str | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> pd.DataFrame:
        """Return the newest events first: columns as of `hrp_core.store.read_lineage`."""
        kind = None if event_type is None else EventType(event_type)
        return read_lineage(
            self.store, hypothesis_id=hypothesis_id, event_type=kind, since=since, limit=limit
        )

    def query_readonly(self, sql: str, params: Sequence[object] | Mapping[str, object] = ()) -> pd.DataFrame:
        """Run one SELECT on the stored tables: read-only, no files, no network, at most 10,000 rows.

        ``attrs["truncated"]`` of the result says whether rows were left out. See
        `hrp_core.store.query_readonly` for limits and errors.
        """
        return query_readonly(self.store, sql, params)

    # --- reading -------------------------------------------------------------------------------------

    def _rows(self, declared: Table, conditions: Conditions) -> pd.DataFrame:
        """Return rows of a table; none when it was never written."""
        with self.store.read() as connection:
            if not stored_columns(connection, declared.name):
                return pd.DataFrame(columns=list(declared.column_names))
            return select_rows(connection, declared, conditions=conditions)

    def _account_rows(
        self, declared: Table, conditions: Sequence[tuple[str, Sequence[object]]] = ()
    ) -> pd.DataFrame:
        """Return rows of this mode and account: several may share a database file (HRP_DATABASE)."""
        try:
            owner = self.journal.binding()
        except NotReadyError:  # no account yet, so no rows of it
            return pd.DataFrame(columns=list(declared.column_names))
        return self._rows(declared, [*conditions, ("mode = ? AND account = ?", owner)])

    def _newest(self, name: str) -> date | None:
        return newest_session(self.store, table(name))

    def _active_models(self) -> dict[str, tuple[str, datetime]]:
        with self.store.read() as connection:
            rows = connection.execute(
                "SELECT model_name, model_version, deployed_at FROM model_deployments "
                "WHERE alias = ? AND status = ? ORDER BY deployed_at, deployment_id",
                [PRODUCTION, ACTIVE],
            ).fetchall()
        return {name: (str(version), deployed_at) for name, version, deployed_at in rows}


def _conditions(
    symbols: Sequence[str] | str | None, start_date: date | None, end_date: date | None
) -> Conditions:
    conditions: Conditions = []
    if symbols is not None:
        names = [symbols] if isinstance(symbols, str) else list(symbols)
        marks = ", ".join("?" * len(names))
        wanted = [name.strip().upper() for name in names]
        conditions.append((f"symbol IN ({marks})" if names else "false", wanted))
    if start_date is not None:
        conditions.append(("session >= ?", [start_date]))
    if end_date is not None:
        conditions.append(("session <= ?", [end_date]))
    return conditions
