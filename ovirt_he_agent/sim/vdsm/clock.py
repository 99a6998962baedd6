"""VDSM's event clock: what notify_time and statusTime count in."""

import time

BASE = 2**31 - 1
"""Old engines could not parse smaller numbers (vdsm: lib/vdsm/common/time.py)."""


def event_time() -> int:
    """Milliseconds of the monotonic clock above ``BASE``: only ever compared with its like."""
    return BASE + int(time.monotonic() * 1000)
