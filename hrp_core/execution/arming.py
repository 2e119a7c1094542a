"""Arming a live account: an amount, an end, one account, the limits of that moment.

What belongs here: giving, judging and taking back arm tokens, and the connection that they allow. What a
claimed order takes of a token is decided in the journal, in the claim's own transaction.
"""

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from decimal import Decimal

from hrp_core.errors import RefusedError
from hrp_core.execution.config import BrokerConfig, ClientRole, broker_config
from hrp_core.execution.modes import TokenState, may_trade
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.permits import ArmToken, limits_hash
from hrp_core.portfolio.decide import limits_from_settings
from hrp_core.settings import Mode, Settings

LONGEST = timedelta(days=7)


def settings_limits_hash(settings: Settings) -> str:
    """Return the hash of the limits that plans are decided under with these settings."""
    return limits_hash(asdict(limits_from_settings(settings)))


def token_state(token: ArmToken | None, account: str, limits: str, now: datetime) -> TokenState:
    """Return what a token is worth for an account under limits (their hash) at `now`."""
    if token is None:
        return TokenState.ABSENT
    if token.account != account:
        return TokenState.OTHER_ACCOUNT
    if now >= token.expires_at:
        return TokenState.EXPIRED
    if token.limits_hash != limits:
        return TokenState.OTHER_LIMITS
    return TokenState.VALID if token.left > 0 else TokenState.SPENT


def trading_config(
    settings: Settings, journal: Journal, role: ClientRole, now: datetime, *, sends: bool = True
) -> BrokerConfig:
    """Return the endpoint for `role`; for a writer in live, unless it is a dry run, an armed one.

    Args:
        settings: mode and endpoint.
        journal: holds the arm token.
        role: the order writer, or a reader.
        now: timezone-aware.
        sends: whether a writer is to place orders. One that watches and cancels needs no token: the check
            of the morning comes when the evening's token is spent or over.

    Raises:
        RefusedError: live, and the account is not armed: no connection is to be made.
        SettingsError, BrokerConnectionError: as `broker_config`.
    """
    config = broker_config(settings, role)
    if settings.mode is not Mode.LIVE or role is not ClientRole.WRITER or settings.is_dry_run or not sends:
        return config
    state = token_state(journal.arm_token(), config.account, settings_limits_hash(settings), now)
    verdict = may_trade(settings.mode, config.account, config.port, config.paper_trading, state)
    if not verdict.allowed:
        raise RefusedError(f"account {config.account}: {verdict.reason}. Nothing was sent")
    return replace(config, armed=True)


def arm(
    settings: Settings,
    journal: Journal,
    *,
    account: str,
    max_notional: Decimal,
    expires_at: datetime,
    by: str,
    reason: str,
    now: datetime,
) -> ArmToken:
    """Arm the live account of this installation; the token replaces the one before.

    Args:
        settings: mode live; the token is for their limits.
        journal: of that mode.
        account: typed by the person: it must be the configured one.
        max_notional: USD of orders, purchases and sales alike.
        expires_at: after `now`, at most seven days.
        by: the person.
        reason: why; may be empty.
        now: timezone-aware.

    Raises:
        RefusedError: another mode or account, no amount, or an end that is past or too far away.
        SettingsError: the IBKR_* variables contradict the mode or each other.
    """
    if settings.mode is not Mode.LIVE:
        raise RefusedError(
            f"HRP_MODE is {settings.mode.value}: only a live account is armed; nothing was. "
            "The other modes need no token"
        )
    config = broker_config(settings)
    if account != config.account:
        raise RefusedError(
            f"IBKR_ACCOUNT is {config.account}, not {account}: nothing was armed. Type the account that is "
            "to trade"
        )
    journal.bind(settings.mode.value, account, now)
    if not max_notional.is_finite() or max_notional <= 0:
        raise RefusedError(f"{max_notional} USD is no amount to arm an account for; nothing was armed")
    if not now < expires_at <= now + LONGEST:
        raise RefusedError(
            f"a token ends after now and within {LONGEST.days} days, not at {expires_at:%Y-%m-%d %H:%M}; "
            "nothing was armed"
        )
    return journal.arm(
        account,
        settings_limits_hash(settings),
        max_notional=max_notional,
        expires_at=expires_at,
        by=by,
        reason=reason,
        now=now,
    )
