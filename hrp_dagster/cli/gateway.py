"""`hrp gateway`: serve, look at, and move the simulated broker."""

from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import typer

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import DataError
from hrp_core.settings import Settings
from hrp_core.simgateway.control import GatewayClient, GatewayState
from hrp_dagster.cli.context import JsonOption, load_settings, money, out, print_json, print_table

app = typer.Typer(
    help="The simulated broker: IB's protocol on a local port, real prices.", no_args_is_help=True
)

EVENING = time(17, 30)


def sim_start(settings: Settings) -> datetime:
    """Return where the clock of a new gateway begins: 17:30 New York of `HRP_SIM_START`.

    Raises:
        DataError: that day is no session.
    """
    nyse().close(settings.sim_start)
    return datetime.combine(settings.sim_start, EVENING, NEW_YORK)


@app.command()
def serve(
    participation_bps: Annotated[
        int,
        typer.Option(
            min=0,
            max=10_000,
            help="A new account trades at most so many hundredths of a percent of a name's average volume.",
        ),
    ] = 0,
) -> None:
    """Serve until Ctrl-C. State is kept; the next start goes on where this one stopped."""
    settings = load_settings(console_log=False)
    from hrp_core.market import source_from_settings
    from hrp_core.matching import Tape
    from hrp_core.simgateway.files import GatewayInfo
    from hrp_core.simgateway.server import GatewayServer

    source = source_from_settings(settings)
    tape = Tape.from_frame(source.load(source.first_session(), source.last_session()))
    server = GatewayServer(
        settings.gateway_dir,
        tape,
        start=sim_start(settings),
        cash=settings.sim_cash,
        participation_bps=participation_bps,
    )

    def ready(info: GatewayInfo) -> None:
        # Read by whoever started this process; it must leave the buffer at once.
        print(  # noqa: T201
            f"Simulated gateway on {info.host}:{info.port}, account {info.account}, "
            f"clock {info.now:%a %Y-%m-%d %H:%M} New York",
            flush=True,
        )

    server.serve_forever(ready)


@app.command()
def state(as_json: JsonOption = False) -> None:
    """Show clock, account, positions and orders of the running gateway."""
    settings = load_settings()
    current = GatewayClient(settings.gateway_file).state()
    if as_json:
        print_json(current.to_json())
        return
    _print_state(current)


@app.command()
def advance(
    to: Annotated[
        str | None, typer.Argument(help="YYYY-MM-DDTHH:MM (New York), or HH:MM of the clock's day.")
    ] = None,
    next_session: Annotated[
        bool, typer.Option("--next", help="To 17:30 of the next session: its orders have executed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Move the simulated clock forward; the market happens on the way."""
    if (to is None) == (not next_session):
        raise typer.BadParameter("give a moment, or --next")
    settings = load_settings()
    client = GatewayClient(settings.gateway_file)
    now = client.state().now
    current = client.advance(evening_after(now) if to is None else _moment(to, now))
    if as_json:
        print_json(current.to_json())
        return
    out.print(f"The simulated clock stands at {current.now:%a %Y-%m-%d %H:%M} New York.")


@app.command()
def fault(
    name: Annotated[
        str | None, typer.Argument(help="Name of the fault; `clear` lifts all, `list` shows all there are.")
    ] = None,
    parameters: Annotated[list[str] | None, typer.Argument(help="name=value")] = None,
    script: Annotated[
        Path | None, typer.Option("--script", help="TOML file with tables [[fault]].", dir_okay=False)
    ] = None,
) -> None:
    """Make the simulated broker misbehave as real ones do, to see what the system answers."""
    if (name is None) == (script is None):
        raise typer.BadParameter("give the name of a fault, or --script FILE")
    settings = load_settings()
    client = GatewayClient(settings.gateway_file)
    if script is not None:
        out.print(f"{client.script(script)} faults of {script} are in force.")
        return
    if name == "list":
        from hrp_core.simgateway.faults import FAULTS

        rows = [{"name": cls.name, "summary": cls.summary, "rows": cls.rows} for cls in FAULTS.values()]
        columns = [("name", "Fault"), ("summary", "What it does"), ("rows", "Rows of docs/faults.md")]
        print_table("Faults", columns, rows)
        return
    if name == "clear":
        client.clear_faults()
        out.print("All faults are lifted.")
        return
    values: dict[str, int | str] = {}
    for item in parameters or []:
        key, separator, value = item.partition("=")
        if not separator:
            raise typer.BadParameter(f"{item!r} is not of the form name=value")
        values[key] = int(value) if value.lstrip("-").isdigit() else value
    client.fault(str(name), **values)
    out.print(f"Fault {name} is in force.")


@app.command()
def stop() -> None:
    """End the running gateway; its state stays."""
    settings = load_settings()
    GatewayClient(settings.gateway_file).stop()
    out.print("The simulated gateway ends.")


def evening_after(now: datetime) -> datetime:
    """Return 17:30 New York of the first session whose 17:30 lies after `now`."""
    local = now.astimezone(NEW_YORK)
    day = local.date() if local.time() < EVENING else local.date() + timedelta(days=1)
    return datetime.combine(nyse().next_session_from(day), EVENING, NEW_YORK)


def _moment(text: str, now: datetime) -> datetime:
    try:
        if "-" not in text:
            return datetime.combine(now.astimezone(NEW_YORK).date(), time.fromisoformat(text), NEW_YORK)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(
            f"{text!r} is not a moment; write YYYY-MM-DDTHH:MM or HH:MM (New York time)"
        ) from None
    return moment.replace(tzinfo=NEW_YORK) if moment.tzinfo is None else moment


def _print_state(current: GatewayState) -> None:
    out.print(f"Account {current.account}, clock {current.now:%a %Y-%m-%d %H:%M} New York")
    out.print(
        f"Cash {money(current.cash)}, net liquidation {money(current.net_liquidation)} USD; "
        f"{current.orders_received} orders received, {current.executions} executions"
    )
    if current.faults:
        out.print(f"Faults in force: {', '.join(current.faults)}")
    print_table(
        "Positions at the broker",
        [("symbol", "Symbol"), ("shares", ">Shares"), ("cost", ">Average cost"), ("mark", ">Mark")],
        [
            {"symbol": p.symbol, "shares": p.shares, "cost": money(p.average_cost), "mark": money(p.mark)}
            for p in current.positions
        ],
    )
    print_table(
        "Open orders",
        [
            ("ref", "Reference"),
            ("symbol", "Symbol"),
            ("side", "Side"),
            ("shares", ">Shares"),
            ("type", "Type"),
            ("status", "Status"),
        ],
        [
            {
                "ref": o.order_ref,
                "symbol": o.symbol,
                "side": o.side,
                "shares": o.quantity,
                "type": o.order_type if o.tif == "DAY" else f"{o.order_type} {o.tif}",
                "status": o.status,
            }
            for o in current.open_orders
        ],
    )
