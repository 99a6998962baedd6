"""The service manager adapter against a real notify socket."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovirt_he_agent.adapters import systemd
from ovirt_he_agent.agent import ports


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None

    def listen(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(self.path))

    def go(self) -> None:
        assert self._socket is not None
        self._socket.close()
        self._socket = None
        self.path.unlink()

    def heard(self) -> list[str]:
        assert self._socket is not None
        messages = []
        try:
            while True:
                messages.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return messages


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    it = Manager(tmp_path / "notify")
    it.listen()
    monkeypatch.setenv("NOTIFY_SOCKET", str(it.path))
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    yield it
    if it.path.exists():
        it.go()


@pytest.mark.real("systemd")
def test_each_message_arrives_as_a_datagram_in_order(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    service = systemd.ServiceManager()
    port: ports.ServiceManager = service
    assert service.silent_because is None
    port.ready()
    port.status("waiting for VDSM")
    port.watchdog()
    service.stopping()
    assert manager.heard() == ["READY=1", "STATUS=waiting for VDSM", "WATCHDOG=1", "STOPPING=1"]


@pytest.mark.real("systemd")
def test_a_status_is_one_line_and_sent_when_it_changes(manager: Manager) -> None:
    service = systemd.ServiceManager()
    for text in ("one", "one", "two\nREADY=1 ", "two READY=1"):
        service.status(text)
    assert manager.heard() == ["STATUS=one", "STATUS=two READY=1"]


@pytest.mark.real("systemd")
def test_a_manager_that_was_away_for_a_moment_hears_the_next_message(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    service = systemd.ServiceManager()
    service.status("before")
    manager.go()
    with caplog.at_level(logging.WARNING):
        service.status("meanwhile")
        service.ready()
    manager.listen()
    service.status("meanwhile")
    assert manager.heard() == ["STATUS=meanwhile"]
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == [
        "the service manager did not take 'STATUS=meanwhile'"
    ]


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", None, 30.0),
        ("2500000", "own", 2.5),
        ("30000000", "1", None),
        ("0", None, None),
        ("", None, None),
        ("-1", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_ours_if_it_names_us_or_nobody(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, expected: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert systemd.ServiceManager().watchdog_s == expected


@pytest.mark.real("systemd")
def test_a_watchdog_that_nobody_waits_for_is_not_fed(manager: Manager) -> None:
    systemd.ServiceManager().watchdog()
    assert manager.heard() == []


def test_outside_systemd_nothing_is_said_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service = systemd.ServiceManager()
    assert service.silent_because == "not started by systemd (NOTIFY_SOCKET is not set)"
    service.ready()
    service.status("x")
    service.watchdog()
    service.stopping()


def test_without_the_binding_a_warning_says_what_to_install(manager: Manager) -> None:
    program = """
import sys
sys.modules["systemd"] = None  # as if it were not installed
from ovirt_he_agent.adapters import systemd
service = systemd.ServiceManager()
service.ready()
print(service.silent_because)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert "install python3-systemd" in done.stdout
    assert done.stderr == done.stdout
    assert manager.heard() == []
