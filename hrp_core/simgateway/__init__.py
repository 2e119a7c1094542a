"""The simulated IB Gateway: wire codec, sessions, clock, faults.

What belongs here: the broker, as its clients meet it on a socket. It knows the matching engine and the
calendar, and nothing of the system that trades through it.
"""

from hrp_core.simgateway.control import GatewayClient, GatewayState, gateway_is_running
from hrp_core.simgateway.files import GatewayInfo, reset
from hrp_core.simgateway.server import GatewayServer

__all__ = ["GatewayClient", "GatewayInfo", "GatewayServer", "GatewayState", "gateway_is_running", "reset"]
