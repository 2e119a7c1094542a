"""One request under way, and the error that answers one.

What belongs here: what receiver, connection and session share about a request. Nothing is sent here.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hrp_core.errors import BrokerError, HrpError
from hrp_core.execution.ib_codes import Code


class RequestError(BrokerError):
    """The broker answered a request with an error."""

    def __init__(self, request: str, code: Code, text: str) -> None:
        super().__init__(
            f"the broker refused {request}: error {code.code}, {text} ({code.text}); {code.action}"
        )
        self.code = code


@dataclass
class Request:
    """One request under way: the rows received for it, and the future its end marker resolves.

    Attributes:
        on_market_data: takes the codes that say a price is missing or delayed; they do not fail the request.
    """

    name: str
    future: asyncio.Future[None]
    rows: list[Any] = field(default_factory=list)
    on_market_data: Callable[[RequestError], None] | None = None

    def fail(self, error: HrpError) -> None:
        """Let whoever waits for the answer have `error` instead."""
        if not self.future.done():
            self.future.set_exception(error)
