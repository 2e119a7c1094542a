"""`hrp orders` and `hrp explain`: orders, resolving one of unknown fate, and where a fill came from."""

import getpass
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape
from rich.tree import Tree

from hrp_core.execution.explain import Node
from hrp_core.ledger.types import OrderStatus
from hrp_dagster.cli import views
from hrp_dagster.cli.context import JsonOption, load_settings, out, print_json

app = typer.Typer(help="The orders of a plan; resolve one of unknown fate.", invoke_without_command=True)


class Fate(StrEnum):
    """What a person can decide about an order of unknown fate. Fills come from executions alone."""

    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


@app.callback()
def orders(context: typer.Context, session: views.SessionOption = None, as_json: JsonOption = False) -> None:
    """Show the orders of a session's plan with their state."""
    if context.invoked_subcommand is None:
        views.orders(session, as_json)


@app.command()
def resolve(
    order: Annotated[str, typer.Argument(help="Intent id or orderRef of an order of unknown fate.")],
    fate: Annotated[Fate, typer.Option("--as", help="What became of it.")],
    reason: Annotated[str, typer.Option(help="Where you looked, and what you saw there.")],
    as_json: JsonOption = False,
) -> None:
    """Decide what became of an order that nobody has seen; its contract is free again."""
    settings = load_settings()
    from hrp_core.execution.resolution import resolve_order
    from hrp_core.ledger.journal import Journal
    from hrp_core.store import EventType, Store, log_event, migrate

    now, who = settings.clock().now(), getpass.getuser()
    journal = Journal(settings.journal_path)
    try:
        attempt = resolve_order(journal, order, OrderStatus(fate.value), by=who, reason=reason, now=now)
    finally:
        journal.close()
    store = Store(settings.database_path)
    migrate(store)
    details = {"order_ref": attempt.order_ref, "as": fate.value, "reason": reason}
    log_event(store, EventType.ORDER_RESOLVED, who, details=details, now=now)
    if as_json:
        print_json({**details, "intent_id": attempt.intent_id, "by": who})
        return
    out.print(f"{attempt.order_ref} is {attempt.status.value}: {attempt.reason}")


def explain(
    name: Annotated[
        str, typer.Argument(metavar="EXEC_ID|INTENT_ID", help="An execution, a cross or an order.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Show what a fill came from: order, plan, target, signal, prediction, model, data."""
    settings = load_settings()
    from hrp_core.execution.explain import explain as explain_name
    from hrp_core.ledger.journal import Journal
    from hrp_core.store import Store

    journal = Journal(settings.journal_path)
    try:
        found = explain_name(Store(settings.database_path), journal, name)
    finally:
        journal.close()
    if as_json:
        print_json({**asdict(found.root), "missing": list(found.missing)})
        return

    def grow(branch: Tree, node: Node) -> None:
        for child in node.children:
            grow(branch.add(_line(child)), child)

    tree = Tree(_line(found.root))
    grow(tree, found.root)
    out.print(tree)
    for message in found.missing:
        out.print(f"Not explained: {message}", markup=False)


def _line(node: Node) -> str:
    known = ", ".join(f"{key} {value}" for key, value in node.details.items() if value not in (None, ""))
    return f"[bold]{node.kind}[/] {escape(node.name)}" + (f"  [dim]{escape(known)}[/]" if known else "")
