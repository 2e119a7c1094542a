"""The decision of one session: pure, the same in the daily run and in replay.

What belongs here: valuing the account, the order of the steps, and wording the result. What does not: the
order of the inputs (`inputs`), the rules of sizing (`construction`), the risk rules (`risk`), the basket
(`netting`); reading or storing anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal

import numpy as np

from hrp_core.errors import SettingsError
from hrp_core.money import from_units, to_units
from hrp_core.portfolio.construction import (
    NO_REASON,
    REASONS,
    Book,
    Targets,
    Turnover,
    build_targets,
    fraction,
)
from hrp_core.portfolio.inputs import Market, read_market, read_rows
from hrp_core.portfolio.netting import keep_account_long, net_crosses, net_orders, order_prices
from hrp_core.portfolio.risk import Facts, apply_rules
from hrp_core.portfolio.sectors import read_sectors
from hrp_core.portfolio.strategies import check_capital
from hrp_core.portfolio.types import (
    STRATEGY_LIMITS,
    SWITCHABLE,
    LedgerState,
    OrderType,
    Performance,
    Plan,
    PortfolioLimits,
    Reason,
    SessionPanel,
    Strategy,
    StrategySignals,
    SymbolAction,
    TargetRow,
)
from hrp_core.settings import Settings

_CHANGED_LATER = frozenset(
    reason for reason in Reason if reason.name.startswith(("CLIP_", "BLOCK_", "DROP_SMALL", "DROP_COMM"))
)


def limits_from_settings(settings: Settings) -> PortfolioLimits:
    """Return the limits that the settings state; reads the file of sectors where there is one.

    Raises:
        SettingsError: the file of sectors cannot be read.
    """
    stated = {
        item.name: getattr(settings, item.name)
        for item in fields(PortfolioLimits)
        if item.name not in ("sectors", "commission_per_share", "commission_minimum")
    }
    for name in SWITCHABLE:
        stated[name] = stated[name] or None
    stated["order_type"] = OrderType(settings.order_type)
    sectors = None if settings.sectors_file is None else read_sectors(settings.sectors_file)
    return PortfolioLimits(sectors=sectors, **stated)


def decide(
    panel: SessionPanel,
    signals: Sequence[StrategySignals],
    ledger: LedgerState,
    strategies: Sequence[Strategy],
    limits: PortfolioLimits,
    locked: Mapping[str, Decimal] | None = None,
    controls: Mapping[str, SymbolAction] | None = None,
    performance: Performance | None = None,
    *,
    reducing: bool = False,
) -> Plan:
    """Return the targets of every strategy and the account's basket for one session.

    Depends on nothing but its arguments, not on the order of anything in them. What is missing never sells: a
    held name without a score or price, and all of a strategy that is paused, no longer deployed, or without
    complete predictions, keeps its shares and says why.

    A strategy's predictions are complete when at least `min_coverage` of the universe has a finite score and
    each name it holds is among those it was asked to score; if the score of such a name is NaN, that name
    alone is kept.

    Args:
        panel: market after the close of D; holds each symbol that the ledger holds.
        signals: at most one a strategy; of strategies that are not among `strategies` they are left aside.
        ledger: account before the basket.
        strategies: deployed, paused and retired ones.
        limits: limits of the account.
        locked: names with an order of unknown fate, each with the USD it may still cost (0 for a sale): they
            keep their shares, take a place, and the cash stays set aside.
        controls: what a person decided about names, in force on D.
        performance: what the account earned; None: not known, which blocks purchases while a loss limit is
            set (`NEVER_VALUED` is an account without a NAV so far).
        reducing: whether the latch lets only exits go.

    Raises:
        NotReadyError: a held name has no price, now or earlier, so that the account has no value.
        DataError: the inputs contradict each other (shares that do not sum up, symbols twice, shapes that
            differ, fills after D).
        SettingsError: the strategies' capital weights sum to more than 1, or a strategy's own limit is looser
            than the account's.
    """
    check_capital(strategies)
    check_own_limits(strategies, limits)
    locked, controls = locked or {}, controls or {}
    market = read_market(panel, ledger)
    rows = read_rows(market, panel.session, signals, ledger, strategies, limits)
    before = np.stack([row.before for row in rows]) if rows else market.empty_rows(np.int64)
    cash_units = to_units(ledger.cash)
    equity_units = cash_units + int(before.sum(axis=0) @ market.value_price)
    base_units = max(int(equity_units * fraction(limits.capital)), 0)
    reserve_units = equity_units - int(base_units * (1 - fraction(limits.cash_buffer_pct)))
    reserve_units += to_units(sum(locked.values(), Decimal(0)))
    no_buy = [name for name, action in controls.items() if action is SymbolAction.NO_BUY]
    book = Book(
        price=market.price,
        in_universe=market.in_universe,
        removed=market.flags(panel.removed),
        before=before,
        prediction=np.stack([row.prediction for row in rows]) if rows else market.empty_rows(np.float64),
        signal=np.stack([row.signal for row in rows]) if rows else market.empty_rows(np.float64),
        capital=[row.capital for row in rows],
        holds=[row.hold for row in rows],
        locked=market.flags(locked),
        frozen=market.flags(name for name, action in controls.items() if action is SymbolAction.FREEZE),
        restricted=market.flags([*limits.restricted, *no_buy]),
        leaving=market.flags(name for name, action in controls.items() if action is SymbolAction.EXIT),
        young=np.stack([row.young for row in rows]) if rows else market.empty_rows(np.bool_),
        turnover=[_turnover(row.strategy, limits, base_units) for row in rows],
        overdrawn=cash_units < 0,
    )
    wanted = build_targets(book, base_units, limits.max_positions, limits.max_position_pct)
    working = np.zeros(len(market.symbols), dtype=np.int64)
    for name in locked.keys() & market.position.keys():
        working[market.position[name]] = to_units(locked[name])
    facts = Facts(
        symbols=market.symbols,
        strategy_ids=[row.strategy_id for row in rows],
        value_price=market.value_price,
        order_price=order_prices(market.price, limits),
        reference=market.value_price,
        traded_value=market.traded_value,
        working=working,
        working_elsewhere=to_units(sum(locked.values(), Decimal(0))) - int(working.sum()),
        base_units=base_units,
        cash_units=cash_units,
        reserve_units=reserve_units,
        performance=performance,
        reducing=reducing,
        own=[{} if row.strategy is None else row.strategy.limits for row in rows],
    )
    targets, verdicts = apply_rules(book, keep_account_long(book, wanted), facts, limits)

    ids = [row.strategy_id for row in rows]
    notes = _undeployed_signals(signals, strategies)
    notes += [note for row in rows for note in row.notes]
    notes += [f"{name}: locked; nothing is ordered" for name in sorted(locked)]
    return Plan(
        session=panel.session,
        execution_session=panel.execution_session,
        equity=from_units(equity_units),
        cash=from_units(cash_units),
        targets=_target_rows(market, ids, book, wanted, targets, equity_units),
        orders=net_orders(market.symbols, ids, book, targets, limits),
        notes=tuple(notes),
        crosses=net_crosses(market.symbols, ids, book, targets),
        verdicts=(*(row.stale for row in rows if row.stale is not None), *verdicts),
    )


def check_own_limits(strategies: Iterable[Strategy], limits: PortfolioLimits) -> None:
    """Refuse a strategy whose own limit is looser than the account's.

    Raises:
        SettingsError: names the strategy and the limit.
    """
    for strategy in strategies:
        for name in STRATEGY_LIMITS:
            account, own = getattr(limits, name), strategy.limits.get(name)
            if own is not None and account is not None and own > account:
                raise SettingsError(
                    f"strategy {strategy.strategy_id}: its limit {name} is {own}, looser than the account's "
                    f"{account} (HRP_{name.upper()}); a strategy may only be stricter. Lower it in its file"
                )


def _turnover(strategy: Strategy | None, limits: PortfolioLimits, base_units: int) -> Turnover:
    """Return when a strategy leaves a holding as it is, and its own limits on names and weights."""
    if strategy is None:
        return Turnover()
    band = limits.band_pct if strategy.band is None else strategy.band
    floor = limits.band_nav_pct if band != 0 else None
    names, weight = (strategy.limits.get(name) for name in ("max_positions", "max_position_pct"))
    return Turnover(
        band=fraction(band or 0),
        band_units=int(base_units * fraction(floor or 0)),
        max_positions=None if names is None else int(names),
        max_position_pct=None if weight is None else fraction(weight),
        retired=strategy.retired,
    )


def _undeployed_signals(signals: Iterable[StrategySignals], strategies: Iterable[Strategy]) -> list[str]:
    deployed = {strategy.strategy_id for strategy in strategies}
    return [
        f"{name}: signals left aside, it is not deployed"
        for name in sorted(each.strategy_id for each in signals if each.strategy_id not in deployed)
    ]


def _target_rows(
    market: Market, ids: Sequence[str], book: Book, wanted: Targets, targets: Targets, equity_units: int
) -> tuple[TargetRow, ...]:
    """Return a row for each strategy and name that is held, wanted, or left for a reason."""
    result = []
    for row, column in np.argwhere(targets.reason != NO_REASON).tolist():
        reason = REASONS[targets.reason[row, column]]
        price = int(market.price[column])
        value_price = int(market.value_price[column])
        before, after = int(book.before[row, column]), int(targets.shares[row, column])
        note = ""
        if reason in _CHANGED_LATER:
            note = f"wanted {int(wanted.shares[row, column])} shares"
        elif reason is Reason.SIGNAL and not after:
            note = "one share costs more than the name's weight"
        elif not price and before:
            note = f"valued at the last price, {from_units(value_price)}"
        result.append(
            TargetRow(
                strategy_id=ids[row],
                symbol=market.symbols[column],
                signal=float(book.signal[row, column]),
                prediction=float(book.prediction[row, column]),
                price=from_units(price) if price else None,
                weight_before=_weight(before * value_price, equity_units),
                weight_target=_weight(after * value_price, equity_units),
                shares_before=before,
                shares_target=after,
                reason=reason,
                note=note,
            )
        )
    return tuple(result)


def _weight(value_units: int, equity_units: int) -> float:
    return value_units / equity_units if value_units and equity_units else 0.0
