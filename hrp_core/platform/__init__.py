"""The facade: what notebooks, the command line and the dashboard read and do, in one place.

What belongs here: `PlatformAPI`, the status of an installation, what a job's run amounts to, and what a run
would do. Thin: everything is done by the packages below.
"""

from hrp_core.platform.api import PlatformAPI

__all__ = ["PlatformAPI"]
