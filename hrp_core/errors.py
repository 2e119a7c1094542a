"""The error family of the system.

Every error that a user can meet derives from `HrpError`. Its message says what happened, to what, and the
next step. `exit_code` is what the `hrp` command ends with when the error reaches the top.
"""


class HrpError(Exception):
    """Base of all errors raised on purpose by this system."""

    exit_code = 1


class SettingsError(HrpError, ValueError):
    """A setting is missing or contradicts another one."""

    exit_code = 2


class DataError(HrpError, ValueError):
    """Data from a source, or given to a store, breaks its declared schema."""


class StoreError(HrpError):
    """The DuckDB store cannot do what was asked (locked for too long, wrong version, missing table)."""


class NotReadyError(HrpError):
    """An input of this step does not exist yet; the message names the step that makes it."""


class ModelError(HrpError):
    """A model cannot be trained, found, loaded or used as it is registered."""


class NotPromotedError(ModelError):
    """A model has no version under the alias that was asked for."""


class NoPredecessorError(ModelError):
    """There is no good version to roll back to: trading must halt."""

    exit_code = 3


class JournalError(HrpError):
    """The order journal refuses a transition or cannot be read."""


class BrokerError(HrpError):
    """The broker answered with an error, or not at all."""


class BrokerConnectionError(BrokerError, ConnectionError):
    """No usable connection to the broker; the message says cause and fix."""


class IncompleteSnapshotError(BrokerError):
    """The broker's answers do not agree with each other, or an end marker is missing."""


class RefusedError(HrpError):
    """A safety rule said no. Nothing was sent."""

    exit_code = 3


class NoGoError(RefusedError):
    """The trade gate says no to a plan; the verdict, which is told by itself, has the reasons."""


class ReconciliationBreakError(RefusedError):
    """Ledger and broker disagree; nothing may be sent until a person or a rule has explained why."""
