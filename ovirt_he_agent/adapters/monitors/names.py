"""The system's resolver, in a thread of its own.

The event loop's resolver threads are joined when the loop ends, and a look-up
that hangs would keep the process.
"""

import socket
from collections.abc import Callable
from typing import Any

from ovirt_he_agent.blocking import Worker

Resolve = Callable[..., list[tuple[Any, ...]]]
"""As ``socket.getaddrinfo``; may block."""


class NoAddress(OSError):
    """The name has no address, or its look-up failed."""


class Names:
    """One look-up at a time. Close it."""

    def __init__(self, resolve: Resolve, timeout_s: float) -> None:
        self._resolve = resolve
        self._timeout_s = timeout_s
        self._worker = Worker("name look-up")

    async def look_up(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[Any, ...]]:
        """Rows as of ``socket.getaddrinfo``. Raises ``NoAddress``, ``blocking.Stuck``."""
        try:
            return await self._worker.call(
                lambda: self._resolve(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG),
                timeout_s=self._timeout_s,
                what=f"the look-up of {host}",
            )
        except (OSError, UnicodeError) as e:  # UnicodeError: no host name at all
            raise NoAddress(getattr(e, "strerror", None) or str(e)) from e

    def close(self) -> None:
        self._worker.close()
