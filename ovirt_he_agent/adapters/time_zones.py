"""The offsets of time zones, out of the host's time zone database."""

import time
import zoneinfo
from datetime import UTC, datetime


def utc_offset_s(zone: str | None) -> int | None:
    """How far the clocks of ``zone`` are ahead of UTC now; none given: UTC.

    None: the host does not know it (Windows has names of its own). Reads small local files.
    """
    if not zone:
        return 0
    now = datetime.fromtimestamp(time.clock_gettime(time.CLOCK_REALTIME), UTC)
    try:
        offset = now.astimezone(zoneinfo.ZoneInfo(zone)).utcoffset()
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return None if offset is None else int(offset.total_seconds())
