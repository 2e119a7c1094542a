"""How a benchmark says what it measured, and whether the claim holds; it measures nothing itself."""

import json
import sys
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Measurement:
    """One claim: `value` must not exceed `reference`.

    Attributes:
        name: what was measured.
        value: what came out, in `unit`.
        unit: seconds, bytes and so on.
        reference: the most it may be: a limit, or what a reference implementation took in the same run.
        reference_name: what the reference is.
        judged: whether the exit code depends on it; said False where the machine alone makes it impossible.
    """

    name: str
    value: float
    unit: str
    reference: float
    reference_name: str
    judged: bool = True

    @property
    def holds(self) -> bool:
        """Whether the claim holds."""
        return self.value <= self.reference


def report(measurements: list[Measurement]) -> int:
    """Print one JSON line a measurement; return 1 when a judged claim fails, else 0."""
    for each in measurements:
        line = asdict(each) | {"ratio_to": each.reference_name, "holds": each.holds}
        line["ratio"] = round(each.value / each.reference, 4)
        del line["reference_name"]
        sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    return int(not all(each.holds for each in measurements if each.judged))
