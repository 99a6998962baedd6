"""The VDSM client's TLS with a throw-away PKI: good, missing, foreign and renewed certificates."""

import dataclasses
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from ovirt_he_agent.adapters.vdsm import failures, verbs
from ovirt_he_agent.adapters.vdsm.endpoint import Endpoint, TlsFiles
from ovirt_he_agent.adapters.vdsm.session import Timing
from tests.contract.vdsm_peer import Line, Peer

pytestmark = pytest.mark.real("openssl")

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Pki:
    """PEM files in one directory: two authorities, and a server's and a client's certificate of each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for ca in ("ca", "other-ca"):
            self._openssl(
                "req", "-x509", *NEW_KEY, "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-subj", f"/CN={ca}"
            )
        for name, ca in (("server", "ca"), ("client", "ca"), ("foreign", "other-ca")):
            self._openssl(
                *("req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr"),
                *("-subj", "/O=test/CN=host1.example.test"),
            )
            self._openssl(
                *("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem"),
                *("-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial"),
            )

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments], cwd=self.directory, check=True, capture_output=True, timeout=30
        )

    def files(self, name: str = "client", ca: str = "ca") -> TlsFiles:
        return TlsFiles(
            key=self.directory / f"{name}.key",
            certificate=self.directory / f"{name}.pem",
            ca=self.directory / f"{ca}.pem",
        )

    def server(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """As VDSM's: a client without a certificate of the same CA is refused."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "server.pem", self.directory / "server.key")
        context.load_verify_locations(self.directory / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = version
        return context


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
ONCE = Timing(retry_first_s=50, retry_max_s=50)


def client_of(peer: Peer, tls: TlsFiles | None, timing: Timing = ONCE) -> verbs.Vdsm:
    return verbs.Vdsm(Endpoint(host="127.0.0.1", port=peer.port, tls=tls), timing=timing)


async def served(line: Line) -> None:
    await (await line.open()).serve(b"true")


async def unseen(line: Line) -> None:
    await line.gone()


async def why_away(peer: Peer, tls: TlsFiles | None) -> str:
    async with client_of(peer, tls) as client:
        with pytest.raises(failures.VdsmAway) as caught:
            await client.ping(timeout_s=20)
    return str(caught.value)


@pytest.mark.parametrize("version", VERSIONS)
async def test_hosts_own_certificate_opens_the_session_although_it_names_another_host(
    pki: Pki, version: ssl.TLSVersion
) -> None:
    async with Peer(served, tls=pki.server(version)) as peer, client_of(peer, pki.files()) as client:
        await client.ping()


@pytest.mark.parametrize("version", VERSIONS)
async def test_foreign_certificate_of_ours_is_named_though_the_handshake_succeeds_in_tls_1_3(
    pki: Pki, version: ssl.TLSVersion
) -> None:
    async def refusing(line: Line) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        handshake = pki.server(version).wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                handshake.do_handshake()
            except ssl.SSLWantReadError:
                line.send(outgoing.read())
                incoming.write(await line.reader.read(65536))
            except ssl.SSLError:
                break
        line.send(outgoing.read())  # the alert, after which VDSM closes
        await line.gone()

    async with Peer(refusing) as peer:
        why = await why_away(peer, pki.files("foreign"))
    assert f"VDSM refuses our certificate {pki.directory / 'foreign.pem'}: " in why
    assert "alert unknown ca; our certificate must be in date and signed by the CA that VDSM trusts" in why


async def test_certificate_that_is_refused_without_an_alert_is_named_as_the_likely_cause(pki: Pki) -> None:
    async with Peer(unseen, tls=pki.server()) as peer:
        why = await why_away(peer, pki.files("foreign"))
    assert (
        f"dropped the connection after TLS, as for a refused certificate ({pki.directory / 'foreign.pem'}"
        in why
    )


async def test_foreign_certificate_of_the_server_is_a_chain_problem(pki: Pki) -> None:
    async with Peer(unseen, tls=pki.server()) as peer:
        why = await why_away(peer, pki.files(ca="other-ca"))
    assert f"VDSM's certificate does not chain to {pki.directory / 'other-ca.pem'}" in why


@pytest.mark.parametrize(("field", "name"), [("key", "key"), ("certificate", "certificate"), ("ca", "CA")])
async def test_missing_file_is_named(pki: Pki, field: str, name: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    async with Peer(unseen, tls=pki.server()) as peer:
        why = await why_away(peer, dataclasses.replace(pki.files(), **{field: missing}))
        assert peer.connections == 0
    assert (
        f"the {name} file {missing} cannot be read: No such file or directory; host-deploy writes it" in why
    )


async def test_key_and_certificate_that_do_not_belong_together(pki: Pki) -> None:
    files = dataclasses.replace(pki.files(), key=pki.directory / "foreign.key")
    async with Peer(unseen, tls=pki.server()) as peer:
        assert "foreign.key and certificate" in await why_away(peer, files)


@pytest.mark.parametrize("field", ["key", "certificate", "ca"])
async def test_file_without_pem_content(pki: Pki, field: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    async with Peer(unseen, tls=pki.server()) as peer:
        assert str(empty) in await why_away(peer, dataclasses.replace(pki.files(), **{field: empty}))


async def test_key_with_a_password_is_an_error_and_no_question(pki: Pki, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    pki._openssl("ec", "-in", "client.key", "-aes128", "-passout", "pass:secret", "-out", str(locked))
    async with Peer(unseen, tls=pki.server()) as peer:
        assert str(locked) in await why_away(peer, dataclasses.replace(pki.files(), key=locked))


async def test_tls_on_one_side_only(pki: Pki) -> None:
    async def plain(line: Line) -> None:
        await line.reader.read(1)
        line.send(b"ERROR\n\nwhat is this?\0")

    async with Peer(plain) as peer:
        assert "both sides use TLS or none" in await why_away(peer, pki.files())
    async with Peer(unseen, tls=pki.server()) as peer:
        assert "both sides use TLS or none" in await why_away(peer, None)


async def test_certificate_that_is_deployed_later_is_used_by_the_next_attempt(
    pki: Pki, tmp_path: Path
) -> None:
    files = TlsFiles(key=tmp_path / "client.key", certificate=tmp_path / "client.pem", ca=tmp_path / "ca.pem")
    quick = Timing(retry_first_s=0.05, retry_max_s=0.1)
    async with Peer(served, tls=pki.server()) as peer, client_of(peer, files, quick) as client:
        with pytest.raises(failures.VdsmAway, match=r"client\.key cannot be read"):
            await client.ping()
        for name in ("client.key", "client.pem", "ca.pem"):
            shutil.copy(pki.directory / name, tmp_path)
        assert await client.next_news() is None
        await client.ping()
