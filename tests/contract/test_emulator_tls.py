"""The emulator's TLS: server certificate, required client certificate, one throw-away CA."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated_host import EmulatedHost
from tests.raw_stomp import RawClient, client_tls

pytestmark = pytest.mark.real("openssl")

CONNECT = b"CONNECT\naccept-version:1.2\n\n\0"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedHost]:
    directory = tmp_path_factory.mktemp("t")
    with EmulatedHost(directory / "h", sanlock=False, tls=directory / "pki") as running:
        yield running


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_serve_a_client_with_a_certificate(
    secure: EmulatedHost, version: ssl.TLSVersion
) -> None:
    assert secure.tls is not None
    context = client_tls(secure.tls)
    context.minimum_version = context.maximum_version = version
    async with RawClient(secure.port, tls=context) as client:
        await client.hello()
        assert await client.call("Host.ping2") is True


async def test_a_client_without_certificate_learns_it_on_its_first_read(secure: EmulatedHost) -> None:
    assert secure.tls is not None
    context = client_tls(secure.tls, with_certificate=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with RawClient(secure.port, tls=context) as client:
        client.send(CONNECT)
        with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
            await client.read(1)


def test_the_files_are_made_once(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    with EmulatedHost(tmp_path / "h", sanlock=False, tls=pki) as host:
        before = (pki / "ca.pem").read_bytes()
        host.stop_emulator()
        host.start_emulator()
        assert (pki / "ca.pem").read_bytes() == before
