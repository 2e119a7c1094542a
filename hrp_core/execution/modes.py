"""Whether a mode, an account, a port and an arm token together may send orders: one pure function.

What belongs here: the rule, and the table in docs/modes.md that is generated from it. What does not: reading
settings (`config`) or tokens (`arming`). Run this module to print docs/modes.md.
"""

from dataclasses import dataclass
from enum import StrEnum

from hrp_core.settings import Mode

PAPER_PORTS = frozenset({7497, 4002})
LIVE_PORTS = frozenset({7496, 4001})


class TokenState(StrEnum):
    """What the newest arm token is worth for an account, under the limits and at the time of asking."""

    ABSENT = "absent"  # never armed, or disarmed
    VALID = "valid"
    EXPIRED = "expired"
    SPENT = "spent"  # nothing is left of its amount
    OTHER_ACCOUNT = "other account"
    OTHER_LIMITS = "other limits"  # the limits were changed after it was given


class Code(StrEnum):
    """Why a combination may send orders, or may not."""

    ALLOWED = "sends"
    UNKNOWN_PORT = "sends, with a warning"  # no known paper port: a person must know what listens there
    ACCOUNT = "account"  # its prefix does not belong to the mode
    PORT = "port"  # it is the other kind's, or in live none that is known
    PAPER_FLAG = "flag"  # IBKR_PAPER_TRADING contradicts the mode
    TOKEN = "token"  # live, and the arm token is not valid


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, its code, and for a person what to change."""

    allowed: bool
    code: Code
    reason: str = ""


def may_trade(mode: Mode, account: str, port: int, paper_flag: bool, token: TokenState) -> Verdict:
    """Return whether orders may be sent at all; everything that is not named here is refused.

    An approved plan, the latch, the send window and the account's own word at login come on top.

    Args:
        mode: sim, paper or live.
        account: configured account; D... is paper, U... an individual live account, nothing else is known.
        port: of TWS or IB Gateway; in sim the simulated gateway's.
        paper_flag: IBKR_PAPER_TRADING; in sim it is not read, and the endpoint counts as paper.
        token: of the account; counts in live alone.
    """
    live = mode is Mode.LIVE
    prefix = "U" if live else "DU" if mode is Mode.SIM else "D"
    if paper_flag is live:
        flag = str(paper_flag).lower()
        return Verdict(False, Code.PAPER_FLAG, f"HRP_MODE={mode} contradicts IBKR_PAPER_TRADING={flag}")
    if not account.startswith(prefix):
        return Verdict(False, Code.ACCOUNT, f"account {account!r} is no {prefix}... account")
    if live and port not in LIVE_PORTS:
        return Verdict(False, Code.PORT, f"port {port} is no live port (7496 for TWS, 4001 for IB Gateway)")
    if not live and port in LIVE_PORTS:
        return Verdict(False, Code.PORT, f"port {port} is a live port")
    if live and token is not TokenState.VALID:
        return Verdict(
            False,
            Code.TOKEN,
            f"the arm token is {token.value}; arm the account with `hrp arm`, see docs/modes.md",
        )
    if mode is Mode.PAPER and port not in PAPER_PORTS:
        return Verdict(True, Code.UNKNOWN_PORT, f"port {port} is not a known paper port (7497, 4002)")
    return Verdict(True, Code.ALLOWED)


ACCOUNTS = {"DU...": "DU1234567", "U...": "U1234567", "other": "F1234567"}
PORTS = {"paper": 7497, "live": 7496, "unknown": 5123}
_HEAD = """\
# Modes: what may send orders

Generated from `hrp_core.execution.modes.may_trade` (`python -m hrp_core.execution.modes > docs/modes.md`);
a test keeps it up to date.

| mode | endpoint | sends by default |
|---|---|---|
| `sim` | the simulated gateway that this installation started; `IBKR_*` is not read | yes |
| `paper` | `IBKR_HOST`, `IBKR_PORT`, a paper account (D...) | no: `HRP_DRY_RUN=false` |
| `live` | `IBKR_HOST`, `IBKR_PORT`, an individual live account (U...) | no: `HRP_DRY_RUN=false` |

Paper ports are 7497 (TWS) and 4002 (IB Gateway), live ports 7496 and 4001. `IBKR_PAPER_TRADING` must agree
with the mode (true in paper, false in live); in the table it does, and where it does not, everything is
refused (`flag`). At login the broker's list of managed accounts must be exactly the configured account, or
the connection is closed before anything is asked or sent.

A plan is sent only once it is approved: in sim it approves itself; in paper too, unless
`HRP_PAPER_APPROVAL=person`; in live always by a person (`hrp plan approve`).

In live the account must also be armed: `hrp arm --account U1234567 --max-notional 50000 --expires 8h
--reason ...`. The token is for that account under the limits of that moment, lasts at most seven days, and
each order takes its value (at its limit, or at the close of D) from it in the transaction that claims the
order; the order that would exceed it is refused. A new token replaces the old one; `hrp disarm` takes it
back. Reading from a live account and cancelling there (`hrp halt`) need no token, and a flatten is armed by
its own confirmation.

A cell says what happens in that state of the token: **sends**, or the condition that refuses. In a refused
combination no connection is made for sending.
"""


def docs_page() -> str:
    """Return the whole of docs/modes.md."""
    lines = [
        _HEAD,
        "| mode | account | port | " + " | ".join(f"token {state.value}" for state in TokenState) + " |",
        "|" + "---|" * (3 + len(TokenState)),
    ]
    for mode in Mode:
        for account_name, account in ACCOUNTS.items():
            for port_name, port in PORTS.items():
                verdicts = [
                    may_trade(mode, account, port, mode is not Mode.LIVE, state) for state in TokenState
                ]
                cells = [
                    f"**{verdict.code.value}**" if verdict.allowed else verdict.code.value
                    for verdict in verdicts
                ]
                lines.append(f"| {mode} | {account_name} | {port_name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(docs_page(), end="")  # noqa: T201
