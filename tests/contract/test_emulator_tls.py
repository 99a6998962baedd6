"""The emulator's TLS: server certificate, required client certificate, one throw-away CA."""

import asyncio
import ssl
from collections.abc import Iterator

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


async def test_the_files_are_made_once(secure: EmulatedHost) -> None:
    assert secure.tls is not None
    before = (secure.tls / "ca.pem").read_bytes()
    secure.stop_emulator()
    secure.start_emulator()
    assert (secure.tls / "ca.pem").read_bytes() == before
