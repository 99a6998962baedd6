"""Whether this host has a network: probes of the kind that hosted-engine.conf names.

Kinds and numbers: he-ha: broker/submonitors/network.py. No external program is
run. The probes follow one another and do not overlap: a network that is gone for
three seconds costs one of them and not all.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype
import dns.resolver
import icmplib

from ovirt_he_agent.adapters.monitors import names
from ovirt_he_agent.blocking import Stuck, Worker
from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import NetworkTestKind
from ovirt_he_agent.errors import Retryable

PROBES = 5
PAUSE_S = 0.5
LIMIT_S = 5.0
RESOLV_CONF = Path("/etc/resolv.conf")
DNS_PORT = 53
_OVERHEAD_S = 1.0  # of the thread's call over the limit that its socket has itself


@dataclass(eq=False)
class PingNotAllowed(Retryable):
    """Says nothing of the network."""

    address: str
    msg: ClassVar[str] = (
        "{self.address} cannot be pinged: this user may open no ICMP socket; allow it with "
        "sysctl net.ipv4.ping_group_range='0 2147483647', or set network_test=dns in hosted-engine.conf"
    )


class _Failed(Exception):
    """How a probe failed: the same text each time it fails like that."""


class Network:
    """Asks in the way of one ``NetworkTest``. Close it."""

    def __init__(
        self,
        test: model.NetworkTest,
        *,
        probes: int = PROBES,
        pause_s: float = PAUSE_S,
        limit_s: float = LIMIT_S,
        resolve: names.Resolve = socket.getaddrinfo,
        resolv_conf: Path = RESOLV_CONF,
        dns_port: int = DNS_PORT,
    ) -> None:
        """``limit_s`` is for each probe, half of it for the name."""
        self._test = test
        self._probes = probes
        self._pause_s = pause_s
        self._limit_s = limit_s
        self._resolv_conf = resolv_conf
        self._dns_port = dns_port
        self._names = names.Names(resolve, limit_s / 2)
        self._pings = Worker("ping")
        self._sequence = 0

    def close(self) -> None:
        self._names.close()
        self._pings.close()

    async def test(self) -> model.NetworkAnswers:
        """All probes of one test; with the defaults 2 s if all is well, 27 s at most.

        Raises ``PingNotAllowed`` when nothing was learnt of the network.
        """
        failures: list[str] = []
        for number in range(self._probes):
            if number and self._test.kind is not NetworkTestKind.NONE:
                await asyncio.sleep(self._pause_s)
            try:
                await self._probe()
            except _Failed as e:
                failures.append(str(e))
        reason = f"{self._subject()}: {_counted(failures, self._probes)}" if failures else ""
        return model.NetworkAnswers(answered=self._probes - len(failures), asked=self._probes, reason=reason)

    async def _probe(self) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                match self._test.kind:
                    case NetworkTestKind.PING:
                        await self._ping()
                    case NetworkTestKind.DNS:
                        await self._dns()
                    case NetworkTestKind.TCP:
                        await self._tcp()
                    case NetworkTestKind.NONE:
                        pass  # the operator wants no test: the network is always well
        except TimeoutError as e:
            raise _Failed(_late(self._limit_s)) from e
        except Stuck as e:
            raise _Failed(f"{e.what} has not returned") from e
        except names.NoAddress as e:
            raise _Failed(f"no address for its name: {e}") from e

    def _subject(self) -> str:
        test = self._test
        match test.kind:
            case NetworkTestKind.TCP:
                return f"connection to {test.address} port {test.port}"
            case NetworkTestKind.PING:
                return f"ping of {test.address}"
            case _:
                return "query of the resolvers"

    async def _addresses(self) -> list[str]:
        assert self._test.address is not None, "checked when the configuration was read"
        rows = await self._names.look_up(self._test.address, self._test.port or 0)
        return list(dict.fromkeys(row[4][0] for row in rows))

    async def _ping(self) -> None:
        address = (await self._addresses())[0]
        # in a thread: icmplib's own asynchronous receive rests on asyncio.wait_for
        self._sequence = (self._sequence + 1) & 0xFFFF
        await self._pings.call(
            _echo,
            address,
            self._sequence,
            self._limit_s,
            timeout_s=self._limit_s + _OVERHEAD_S,
            what=f"a ping of {address}",
        )

    async def _tcp(self) -> None:
        failures = []
        for address in await self._addresses():
            try:
                _, writer = await asyncio.open_connection(address, self._test.port)
            except OSError as e:
                failures.append(f"{address}: {_line(e)}")
                continue
            writer.close()
            return
        raise _Failed(", ".join(failures))

    async def _dns(self) -> None:
        """Any answer of any resolver will do, as for dig: also one that says no."""
        servers = self._servers()
        failures: list[str] = []
        answered = asyncio.Event()

        async def ask(server: str) -> None:
            try:
                # no timeout here: dnspython would use asyncio.wait_for
                await dns.asyncquery.tcp(
                    dns.message.make_query(".", dns.rdatatype.NS), server, port=self._dns_port
                )
            except (OSError, EOFError, dns.exception.DNSException) as e:
                failures.append(f"{server}: {_line(e)}")
                if len(failures) < len(servers):
                    return
            answered.set()

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask(server)) for server in servers]
            await answered.wait()
            for task in asked:
                task.cancel()
        if len(failures) == len(servers):
            raise _Failed(", ".join(failures))

    def _servers(self) -> list[str]:
        """Those of resolv.conf now: a small local file."""
        try:
            found = dns.resolver.Resolver(str(self._resolv_conf)).nameservers
        except dns.exception.DNSException as e:
            raise _Failed(f"{self._resolv_conf} cannot be read, or names no resolver") from e
        return [str(server) for server in found]


def _echo(address: str, sequence: int, limit_s: float) -> None:
    """Send one ping and wait for its answer; blocks. Where only root may, it is tried as root."""
    kind = icmplib.ICMPv6Socket if ":" in address else icmplib.ICMPv4Socket
    try:
        opened = kind(privileged=False)
    except icmplib.SocketPermissionError:
        try:
            opened = kind(privileged=True)
        except icmplib.SocketPermissionError as e:
            raise PingNotAllowed(address) from e
    with opened:
        request = icmplib.ICMPRequest(destination=address, id=os.getpid() & 0xFFFF, sequence=sequence)
        try:
            opened.send(request)
            opened.receive(request, limit_s).raise_for_status()
        except icmplib.TimeoutExceeded as e:
            raise _Failed(_late(limit_s)) from e
        except icmplib.ICMPLibError as e:
            # its own text takes every refusal of the system, a firewall's too, for a matter of broadcasts
            raise _Failed(_line(e.__context__ if isinstance(e.__context__, OSError) else e)) from e


def _late(limit_s: float) -> str:
    return f"no answer within {limit_s:g} s"


def _counted(failures: Iterable[str], asked: int) -> str:
    """Each way to fail once, the most frequent first, with its number."""
    return "; ".join(f"{text} ({number} of {asked})" for text, number in Counter(failures).most_common())


def _line(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the connection was closed"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text is of its call
    return " ".join(str(error).split())[:200] or type(error).__name__
