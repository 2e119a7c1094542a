"""`hrp doctor`: what of an installation works, what does not, and what to do about it.

What belongs here: probes of the machine, of the stored state and of the broker, each returning one judgement.
What does not: Dagster's own state (`hrp_dagster.instance_checks`) and printing. Nothing here places an order.
"""

from hrp_core.doctor.gateway import examine_broker
from hrp_core.doctor.machine import examine_machine
from hrp_core.doctor.report import Check, Outcome, failed
from hrp_core.doctor.state import examine_state

__all__ = ["Check", "Outcome", "examine_broker", "examine_machine", "examine_state", "failed"]
