"""The service manager: sd_notify, through the distribution's binding; nobody listening is no error.

Facts: man sd_notify(3), sd_watchdog_enabled(3).
"""

import logging
import os
from collections.abc import Mapping

log = logging.getLogger(__name__)

try:
    import systemd.daemon as binding
except ImportError:  # not on every machine; without it nobody hears that we are ready
    binding = None


class ServiceManager:
    """Speaks to NOTIFY_SOCKET of the environment, if there is one."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._listens = bool(environ.get("NOTIFY_SOCKET"))
        if self._listens and binding is None:
            log.warning("NOTIFY_SOCKET is set, but the systemd binding is missing: install python3-systemd")
        self._said = ""

    def _notify(self, text: str) -> None:
        if self._listens and binding is not None:
            try:
                binding.notify(text)
            except OSError as e:
                log.warning("the service manager did not take %r: %s", text, e)
                self._listens = False

    def ready(self) -> None:
        self._notify("READY=1")

    def stopping(self) -> None:
        self._notify("STOPPING=1")

    def status(self, text: str) -> None:
        """The line that ``systemctl status`` shows; sent when it changes."""
        line = " ".join(text.split())
        if line != self._said:
            self._said = line
            self._notify(f"STATUS={line}")

    def watchdog(self) -> None:
        """Work was finished: the daemon lives."""
        self._notify("WATCHDOG=1")
