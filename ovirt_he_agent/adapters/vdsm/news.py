"""What VDSM tells unasked: VM status events, and that some of them may be lost."""

import asyncio
import logging
from collections import deque

from ovirt_he_agent.adapters.vdsm import replies
from ovirt_he_agent.adapters.vdsm.failures import BadReply
from ovirt_he_agent.core import model
from ovirt_he_agent.wire import jsonrpc

log = logging.getLogger(__name__)

LIMIT = 256


class News:
    """A bounded stream for one reader. ``None`` in it: read the state again.

    When the reader is slow and the limit is reached, what waits is dropped for one ``None``.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._items: deque[model.VmReport | None] = deque()
        self._some = asyncio.Event()

    async def next(self) -> model.VmReport | None:
        """Waits without a limit for the next report; None: some may be lost, read the state again."""
        while not self._items:
            self._some.clear()
            await self._some.wait()
        return self._items.popleft()

    def gap(self) -> None:
        if not self._items or self._items[-1] is not None:
            self._put(None)

    def event(self, event: jsonrpc.Event) -> None:
        """Keeps status events of VMs; one that cannot be read is a gap."""
        if (event.domain, event.subject) != ("virt", "VM_status"):
            return
        try:
            report = replies.vm_report_of_event(event)
        except BadReply as e:
            log.warning("event dropped: %s", e)
            self.gap()
        else:
            self._put(report)

    def _put(self, item: model.VmReport | None) -> None:
        if len(self._items) >= self._limit:
            log.warning("%d events were not read in time and are dropped", len(self._items))
            self._items.clear()
            self._items.append(None)
        self._items.append(item)
        self._some.set()
