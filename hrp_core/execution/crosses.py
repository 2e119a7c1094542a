"""Crosses between strategies, from the plan's sending to their official price.

What belongs here: when crosses may be written down, and their price from the store. What does not: netting
(`hrp_core.portfolio.netting`) and their place in the book (`hrp_core.ledger`).
"""

from collections.abc import Mapping
from datetime import date, datetime

from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan, OrderStatus, PlanStatus
from hrp_core.money import is_price, to_money
from hrp_core.portfolio.types import Purpose
from hrp_core.store import Store, newest_session, read_table, table


def crosses_waiting(journal: Journal, plan: FrozenPlan, opening: datetime, now: datetime) -> bool:
    """Return whether crosses of the plan still are to be written down; never after `opening`, that of E.

    A flatten that came later has given them up: it sells to the share what each strategy held then.
    """
    undecided = plan.status in (PlanStatus.PROPOSED, PlanStatus.APPROVED)
    if not (plan.crosses and undecided and now < opening) or journal.crosses_of(plan.plan_id):
        return False
    flattened = journal.plans(plan.session, plan.session, Purpose.FLATTEN)
    return all(other.created_at < plan.created_at for other in flattened)


def after_crosses(
    journal: Journal, session: date, shares: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """Return what each strategy holds once the crosses of `session` that wait for the open have counted.

    Args:
        journal: holds the crosses.
        session: decision session D.
        shares: by strategy and symbol, as the book has them now.
    """
    held = {name: dict(mine) for name, mine in shares.items()}
    counted = {cross.cross_id for cross in journal.book_crosses()}
    for plan in journal.plans(session, session):
        for cross in journal.crosses_of(plan.plan_id):
            for name, moved in () if cross.cross_id in counted else cross.shares:
                mine = held.setdefault(name, {})
                mine[cross.symbol] = mine.get(cross.symbol, 0) + moved
    return held


def never_sent(journal: Journal, plan: FrozenPlan) -> bool:
    """Return whether a plan had something to do, and its time passed before any of it was done."""
    expired = all(intent.status is OrderStatus.EXPIRED for intent in plan.intents)
    return bool(plan.intents or plan.crosses) and expired and not journal.crosses_of(plan.plan_id)


def price_crosses(store: Store, journal: Journal, execution_session: date, now: datetime) -> int:
    """Record the official price of every cross of an execution session; return how many were recorded.

    The open of the stored bar, or its close where the source has no open. A cross without a stored bar keeps
    none; a bar that was corrected since adds a price, and the newest one counts.
    """
    crosses = [cross for cross in journal.book_crosses() if cross.session == execution_session]
    if not crosses or newest_session(store, table("prices")) is None:
        return 0
    rows = read_table(
        store, table("prices"), sessions=[execution_session], columns=["symbol", "open", "close"]
    )
    prices = {
        str(symbol): next((to_money(float(price)) for price in (first, last) if is_price(price)), None)
        for symbol, first, last in zip(rows["symbol"], rows["open"], rows["close"], strict=True)
    }
    recorded = 0
    for cross in crosses:
        price = prices.get(cross.symbol)
        recorded += price is not None and journal.record_cross_price(cross.cross_id, price, now)
    return recorded
