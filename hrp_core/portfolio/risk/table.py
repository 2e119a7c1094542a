"""The list of the risk rules, as data: code, default, what acts, what a missing input does.

What belongs here: the rules in the order in which they run; tests, `apply` and docs/risk-rules.md are made
from this list. What does not: the rules themselves (`rules`, and `construction` where one decides which names
are held at all).
"""

from dataclasses import dataclass
from enum import StrEnum

from hrp_core.portfolio.risk import rules
from hrp_core.portfolio.risk.rules import Judge
from hrp_core.portfolio.types import STRATEGY_LIMITS, PortfolioLimits, Reason


class Stage(StrEnum):
    """When a rule acts."""

    TARGETS = "targets"  # while the targets are built, before anything is sized
    WORTH = "worth"  # first and last: drops orders, sales that are no exit included
    ENTRIES = "entries"  # between: makes purchases smaller
    SENDING = "sending"  # once more before sending


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        code: as in a verdict.
        title: what it limits.
        limits: the fields of `PortfolioLimits` that set it; empty: it cannot be set.
        acts: what it does.
        missing: what it does when an input is missing.
        stage: when.
        reasons: reasons of target rows that it caused; the first is what it writes.
        judge: the function; None where `construction` or the sender applies the rule.
        latch: the latch that it sets when its limit is reached; empty: none.
        own: whether a strategy may have a tighter limit of its own that this function judges.
        sent: whether the rule is looked at again before sending.
    """

    code: str
    title: str
    limits: tuple[str, ...]
    acts: str
    missing: str
    stage: Stage
    reasons: tuple[Reason, ...] = ()
    judge: Judge | None = None
    latch: str = ""
    own: bool = False
    sent: bool = False

    @property
    def default(self) -> str:
        """The default, in words."""
        return self.shown(PortfolioLimits())

    def shown(self, limits: PortfolioLimits) -> str:
        """Return what `limits` set it to, in words."""
        return ", ".join(_shown(name, getattr(limits, name)) for name in self.limits) or "always"


RULES: tuple[Rule, ...] = (
    Rule(
        "max_positions",
        "names held",
        ("max_positions",),
        "the weakest are not bought, or sold",
        "-",
        Stage.TARGETS,
        (Reason.DROP_MAX_POSITIONS,),
    ),
    Rule(
        "restricted",
        "names on the restricted list, no-buy, frozen, or with an order of unknown fate",
        ("restricted",),
        "restricted and no-buy: not bought, may be sold; frozen and locked: nothing is ordered",
        "-",
        Stage.TARGETS,
        (Reason.SKIP_RESTRICTED, Reason.HOLD_FROZEN, Reason.HOLD_LOCKED),
    ),
    Rule(
        "stale_price",
        "the price is the official close of session D",
        (),
        "not bought; a holding stays",
        "block",
        Stage.TARGETS,
        (Reason.SKIP_NO_PRICE, Reason.HOLD_NO_PRICE),
    ),
    Rule(
        "stale_prediction",
        "the predictions are of session D",
        (),
        "the strategy buys nothing and keeps its holdings",
        "block",
        Stage.TARGETS,
    ),
    Rule(
        "min_order_value",
        "smallest order",
        ("min_order_value",),
        "drop",
        "-",
        Stage.WORTH,
        (Reason.DROP_SMALL_ORDER,),
        rules.smallest_order,
    ),
    Rule(
        "commission",
        "commission as a share of an order",
        ("max_commission_pct",),
        "drop",
        "-",
        Stage.WORTH,
        (Reason.DROP_COMMISSION,),
        rules.commission,
    ),
    Rule(
        "daily_loss",
        "loss of one session",
        ("max_daily_loss_pct",),
        "nothing is bought; sets the latch to REDUCING",
        "block, unless the account never had a NAV",
        Stage.ENTRIES,
        (Reason.BLOCK_LOSS,),
        rules.daily_loss,
        latch="reducing",
    ),
    Rule(
        "drawdown",
        "loss since the highest value",
        ("max_drawdown_pct",),
        "nothing is bought; sets the latch to HALTED",
        "block, unless the account never had a NAV",
        Stage.ENTRIES,
        (Reason.BLOCK_LOSS,),
        rules.drawdown,
        latch="halted",
    ),
    # After the rules that set it: planning again, with the latch set, must give the same verdicts.
    Rule(
        "latch",
        "the trading latch",
        (),
        "at REDUCING only exits are planned; at HALTED the sender sends nothing",
        "-",
        Stage.ENTRIES,
        (Reason.BLOCK_LATCH,),
        rules.latch,
        sent=True,
    ),
    Rule(
        "price_collar",
        "distance of an order's price from the last adjusted close",
        ("price_collar_pct",),
        "block",
        "block",
        Stage.ENTRIES,
        (Reason.BLOCK_PRICE,),
        rules.price_collar,
        sent=True,
    ),
    Rule(
        "max_position_pct",
        "one name",
        ("max_position_pct",),
        "clip; a holding above it is not sold for it",
        "-",
        Stage.ENTRIES,
        (Reason.CLIP_WEIGHT,),
        rules.position_weight,
    ),
    Rule(
        "max_order_pct",
        "one order",
        ("max_order_pct",),
        "clip",
        "block",
        Stage.ENTRIES,
        (Reason.CLIP_ORDER,),
        rules.order_notional,
        own=True,
        sent=True,
    ),
    Rule(
        "max_volume_pct",
        "share of what trades in a session (mean of 20)",
        ("max_volume_pct",),
        "clip",
        "not applicable, recorded",
        Stage.ENTRIES,
        (Reason.CLIP_VOLUME,),
        rules.traded_volume,
        own=True,
    ),
    Rule(
        "sector",
        "one sector, where sectors are given; names of unknown sector together",
        ("max_sector_pct", "max_unknown_sector_pct"),
        "scale the sector's entries",
        "the cap of unknown sectors",
        Stage.ENTRIES,
        (Reason.CLIP_SECTOR,),
        rules.sector_cap,
    ),
    Rule(
        "exposure",
        "gross and net exposure; long-only",
        ("max_gross", "max_net"),
        "scale entries",
        "block",
        Stage.ENTRIES,
        (Reason.CLIP_EXPOSURE,),
        rules.exposure,
    ),
    Rule(
        "turnover",
        "purchases and sales of a session; not while the book is empty",
        ("max_turnover_pct",),
        "scale entries",
        "-",
        Stage.ENTRIES,
        (Reason.CLIP_TURNOVER,),
        rules.turnover,
        own=True,
    ),
    Rule(
        "cash",
        "cash at hand, less the buffer and commissions",
        ("cash_buffer_pct",),
        "scale entries",
        "-",
        Stage.ENTRIES,
        (Reason.CLIP_CASH,),
    ),
    Rule(
        "duplicate_intent",
        "one order a contract and leg, and none while another one works",
        (),
        "refuse",
        "-",
        Stage.SENDING,
        sent=True,
    ),
)

BY_CODE = {rule.code: rule for rule in RULES}
BY_REASON = {reason: rule for rule in RULES for reason in rule.reasons if rule.stage is Stage.TARGETS}

_HEAD = """\
# Risk rules

What may make a basket smaller, in the order in which the rules run. This page is generated from the list of
the rules (`python -m hrp_core.portfolio.risk > docs/risk-rules.md`); a test keeps it current.

The rules run when a plan is made, in the daily run and in replay alike; those marked *again* are looked at
once more before each basket is sent. Limits and verdicts are frozen with the plan and are part of its hash.
Shares are of the trading equity: the account's equity times `HRP_CAPITAL`.

- **Exits are never held back.** A rule only makes purchases smaller; a sale that ends a holding passes all of
  them. Two rules also drop a sale that leaves a rest (smallest order, commission): it is not worth it.
- A rule never buys or sells more, so that no later rule breaks an earlier one. Those that drop what is too
  small run first, and once more at the end, on what the others left.
- Orders that may still trade count at the worse of filled and unfilled: their names take a place and are
  not ordered again, and what they may cost counts towards cash, exposure, sector and turnover.

| rule | limits | default | acts | input missing | again | setting |
|---|---|---|---|---|---|---|
"""

_TAIL = """
A setting of 0 switches its rule off, except `HRP_MAX_POSITIONS` and `HRP_MAX_POSITION_PCT`, which must be
above 0.

## Readings

- **Price collar.** The price that an order states, or without one the close that sizes it, may be at most so
  far from our last adjusted close: a limit price with a gap beyond the collar is not sent. The move of the
  day itself is not limited: it is in the official close. Before sending, the 20 largest entries are quoted in
  one request, and the broker's newest trade (in the evening) or its prior close (from the morning of E on) is
  compared with the close that the plan was made from; that catches a split, a wrong contract and a bad tick.
  A delayed quote counts; a name without one is compared with nothing.
- **A single order** (`OrderManager.submit_order`) that adds exposure is judged when it is sent by the price
  collar, one order, one name and the restricted list, as shares of the broker's net liquidation value times
  `HRP_CAPITAL`. The broker's quote stands for the close; without one the order is refused. What rules over a
  whole basket (sector, exposure, turnover, cash, loss) do not judge it; the latch does. None sells more than
  the account holds.
- **Turnover** is purchases and sales together, as in the table `nav`. Sales alone may exceed it; then nothing
  is bought. A book that holds nothing is being built and is not limited.
- **Traded volume** is the mean value traded (close x volume) of the 20 sessions up to D; a session without
  volume counts as 0. Where a name has no volume in any of them, the rule does not apply, and the plan says
  so.
- **Sectors** come from the file `HRP_SECTORS_FILE` (CSV or Parquet, columns `symbol` and `sector`). Without
  it there is no cap. Names that are not in it share one cap.
- **Daily loss and drawdown** are those of the official NAV, net of deposits and withdrawals. A limit that is
  reached sets the latch before the plan is frozen; only a person opens it again (`hrp resume --reason`). The
  rule says so again while the limit is still exceeded: to go on trading in a drawdown, raise the limit first.
  An account that never had a NAV has nothing to have lost. In a replay nobody opens a latch: REDUCING lasts
  one session, HALTED ends trading.
- **Restricted** (`HRP_RESTRICTED`) and no-buy names may be sold. To stop sales as well, freeze the name.

## Turnover control

What a strategy leaves as it is, before the rules run. An entry, and an exit, always pass the band.

| key of a strategy file | default | effect |
|---|---|---|
"""

_KEYS = {
    ("band", "`HRP_BAND_PCT`, 0.2"): (
        "no trade while a holding is nearer to its target than this share of the target, or than "
        "`HRP_BAND_NAV_PCT` (0.005) of the trading equity; 0 trades every difference"
    ),
    ("rebalance", "daily"): (
        "`weekly`: on the first session of a week; a weekday: on the first session of the week on or after "
        "it (else its last). On other sessions the strategy keeps what it holds"
    ),
    ("min_holding_sessions", "0"): (
        "a name is not sold for its score before it was held for so many sessions"
    ),
    ("[limits]", "none"): (
        "tighter limits of the strategy, of its own capital: "
        f"{', '.join(f'`{name}`' for name in STRATEGY_LIMITS)}; "
        "one that is looser than the account's is refused"
    ),
}

_END = """
Names that leave the universe by its policy `exit`, that a person wants sold, or whose strategy is retired are
sold whatever schedule and minimum holding say. While cash is below zero the band holds back no sale.
"""


def docs_page() -> str:
    """Return the whole of docs/risk-rules.md."""
    rows = "".join(
        f"| {rule.code} | {rule.title} | {rule.default} | {rule.acts} | {rule.missing} | "
        f"{'yes' if rule.sent else ''} | {' '.join(f'`HRP_{name.upper()}`' for name in rule.limits)} |\n"
        for rule in RULES
    )
    keys = "".join(f"| `{key}` | {default} | {effect} |\n" for (key, default), effect in _KEYS.items())
    return _HEAD + rows + _TAIL + keys + _END


def _shown(name: str, value: object) -> str:
    if name.endswith("_pct") and isinstance(value, float):
        return f"{value:.1%}".replace(".0%", "%")
    if name == "min_order_value":
        return f"${value}"
    return "none" if value == () else str(value)
