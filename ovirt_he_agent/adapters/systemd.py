"""The service manager: sd_notify, through the distribution's binding; nobody listening is no error.

Facts: man sd_notify(3), sd_watchdog_enabled(3).
"""

import logging
import os

log = logging.getLogger(__name__)

try:
    import systemd.daemon as binding
except ImportError:  # not on every machine; without it nobody hears that we are ready
    binding = None


class ServiceManager:
    """Speaks to the socket that NOTIFY_SOCKET names, if there is one."""

    def __init__(self) -> None:
        self.silent_because = _why_silent()
        """For people: why nothing is said; None: somebody listens."""
        self.watchdog_s = _watchdog_s()
        """After so many seconds without ``watchdog`` we are killed; None: never."""
        self._said = ""
        self._failing = False
        if binding is None and "NOTIFY_SOCKET" in os.environ:
            log.warning("%s", self.silent_because)

    def ready(self) -> None:
        self._notify("READY=1")

    def stopping(self) -> None:
        self._notify("STOPPING=1")

    def status(self, text: str) -> None:
        """The line that ``systemctl status`` shows; sent when it changes."""
        line = " ".join(text.split())  # a line break would begin another message
        if line != self._said:
            self._said = line
            self._notify(f"STATUS={line}")

    def watchdog(self) -> None:
        """Work was finished: the daemon lives."""
        if self.watchdog_s is not None:
            self._notify("WATCHDOG=1")

    def _notify(self, text: str) -> None:
        if self.silent_because is not None:
            return
        try:
            binding.notify(text)
        except OSError as e:  # it may be restarting itself: the next one may arrive
            if not self._failing:
                log.warning("the service manager did not take %r: %s", text, e)
            self._failing = True
            self._said = ""
        else:
            self._failing = False


def _why_silent() -> str | None:
    if "NOTIFY_SOCKET" not in os.environ:
        return "not started by systemd (NOTIFY_SOCKET is not set)"
    if binding is None:
        return "NOTIFY_SOCKET is set, but the systemd binding is missing: install python3-systemd"
    return None


def _watchdog_s() -> float | None:
    """The environment's watchdog, if it is meant for this process."""
    text = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 1e6 if text.isdecimal() and int(text) > 0 else None
