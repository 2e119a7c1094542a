"""The faults in force, and how often each has acted.

What belongs here: counting occasions. What a fault does is written where the gateway asks for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2s
from typing import TypeVar

from hrp_core.simgateway.faults.base import About, Fault, Lasting, Parameters
from hrp_core.simgateway.faults.lasting import OmitExecution

F = TypeVar("F", bound=Lasting)
NOTHING = About()


@dataclass(slots=True)
class ActiveFault:
    """A fault in force, with the number under which it is stored.

    Attributes:
        seen: occasions that matched.
        effects: occasions on which it acted.
    """

    number: int
    fault: Fault
    parameters: Parameters
    seen: int = 0
    effects: int = 0


class FaultBook:
    """The faults in force.

    Args:
        active: those in force already, oldest first.
        seed: makes the draws of `chance`; the same seed and the same occasions give the same draws.
        changed: told when a fault has counted an occasion.
        ended: told the number of a fault that is over.
    """

    def __init__(
        self,
        active: list[ActiveFault],
        seed: int,
        changed: Callable[[ActiveFault], None],
        ended: Callable[[int], None],
    ) -> None:
        self._active = active
        self._seed = seed
        self._changed = changed
        self._ended = ended

    @property
    def active(self) -> tuple[ActiveFault, ...]:
        """The faults in force, oldest first."""
        return tuple(self._active)

    def add(self, fault: ActiveFault) -> None:
        """Put a fault in force."""
        self._active.append(fault)

    def clear(self) -> None:
        """Lift all faults."""
        self.lift(Fault)

    def lift(self, kind: type[Fault]) -> None:
        """Lift all faults of a kind."""
        for active in [active for active in self._active if isinstance(active.fault, kind)]:
            self._end(active)

    def in_force(self, kind: type[Fault], about: About = NOTHING) -> Fault | None:
        """Return the oldest fault of a kind that concerns `about`; None when there is none."""
        return next(
            (
                active.fault
                for active in self._active
                if isinstance(active.fault, kind) and active.fault.concerns(about)
            ),
            None,
        )

    def take(self, kind: type[F], about: About = NOTHING) -> F | None:
        """Return the fault of a kind that acts on this occasion, and count it; None when none does."""
        for active in tuple(self._active):
            fault = active.fault
            if isinstance(fault, kind) and fault.concerns(about) and self._acts(active, fault):
                return fault
        return None

    def hides_execution(self, number: int) -> bool:
        """Return whether a fault hides the account's execution `number`."""
        return any(
            isinstance(active.fault, OmitExecution) and active.fault.n == number for active in self._active
        )

    def _acts(self, active: ActiveFault, fault: Lasting) -> bool:
        active.seen += 1
        draw = blake2s(f"{self._seed}:{active.number}:{active.seen}".encode(), digest_size=4).digest()
        acts = active.seen > fault.skip and int.from_bytes(draw, "big") % 100 < fault.chance
        active.effects += acts
        if fault.count and active.effects >= fault.count:
            self._end(active)
        else:
            self._changed(active)
        return acts

    def _end(self, active: ActiveFault) -> None:
        self._active.remove(active)
        self._ended(active.number)
