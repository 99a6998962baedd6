"""Where VDSM listens, with which certificates, and what a failed attempt to get there means."""

import asyncio
import errno
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from ovirt_he_agent import config
from ovirt_he_agent.adapters.vdsm.failures import VdsmAway

PORT = 54321
_READ_LIMIT_BYTES = 1024 * 1024
_TLS_SHUTDOWN_S = 1.0
_CHECK_SERVICE = "check that vdsmd.service runs"
_CHECK_TLS = (
    "check that vdsmd.service is not starting, and that both sides use TLS or none (ssl in vdsm.conf)"
)
_RENEW = "our certificate must be in date and signed by the CA that VDSM trusts"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files; a local client shows the host's own certificate, as VDSM's own tools do."""

    key: Path = Path("/etc/pki/vdsm/keys/vdsmkey.pem")
    certificate: Path = Path("/etc/pki/vdsm/certs/vdsmcert.pem")
    ca: Path = Path("/etc/pki/vdsm/certs/cacert.pem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """``tls`` None: plain TCP, as with ``ssl = false`` in vdsm.conf."""

    host: str = "localhost"
    port: int = PORT
    tls: TlsFiles | None = TlsFiles()

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A transport; with TLS 1.3 the server may still refuse our certificate on the first read.

        The caller limits the time. Raises ``VdsmAway``.
        """
        context = self._context()
        try:
            return await asyncio.open_connection(
                self.host,
                self.port,
                limit=_READ_LIMIT_BYTES,
                ssl=context,
                ssl_shutdown_timeout=None if context is None else _TLS_SHUTDOWN_S,
            )
        except OSError as e:
            raise self.away(e) from e

    def _context(self) -> ssl.SSLContext | None:
        """Made anew for each attempt: host-deploy renews the files under a running agent.

        The chain is verified; the name is not: the certificate names the host, we connect to localhost.
        """
        if self.tls is None:
            return None
        for name, path in (("key", self.tls.key), ("certificate", self.tls.certificate), ("CA", self.tls.ca)):
            try:
                path.open("rb").close()
            except OSError as e:
                raise VdsmAway(
                    str(self),
                    f"the {name} file {path} cannot be read: {e.strerror}",
                    "host-deploy writes it, user vdsm or root may read it",
                ) from e
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        try:
            # an empty password: a protected key is an error, not a question at the terminal
            context.load_cert_chain(self.tls.certificate, self.tls.key, password="")
        except ssl.SSLError as e:
            reason = f"key {self.tls.key} and certificate {self.tls.certificate} cannot be used: {_word(e)}"
            raise VdsmAway(
                str(self), reason, "they must be PEM, without password, and belong together"
            ) from e
        try:
            context.load_verify_locations(self.tls.ca)
        except ssl.SSLError as e:
            reason = f"no CA certificate in {self.tls.ca}: {_word(e)}"
            raise VdsmAway(str(self), reason, "it must be PEM") from e
        return context

    def away(self, error: OSError) -> VdsmAway:
        """What an error before CONNECTED means."""
        where = str(self)
        match error:
            case ssl.SSLCertVerificationError():
                ca = self.tls.ca if self.tls else None
                reason = f"VDSM's certificate does not chain to {ca}: {error.verify_message}"
                return VdsmAway(where, reason, "check that this is the CA that signed the host's certificate")
            case ssl.SSLError() if "ALERT" in (error.reason or ""):
                certificate = self.tls.certificate if self.tls else None
                return VdsmAway(where, f"VDSM refuses our certificate {certificate}: {_word(error)}", _RENEW)
            case ssl.SSLError():
                return VdsmAway(where, f"TLS failed: {_word(error)}", _CHECK_TLS)
            case socket.gaierror():
                return VdsmAway(where, f"no address: {error.strerror}", "check the name")
            case ConnectionResetError() | BrokenPipeError():
                remedy = _CHECK_TLS if self.tls is None else f"{_CHECK_TLS}; {_RENEW}"
                return VdsmAway(where, "the connection was reset", remedy)
            case _ if f"[Errno {errno.ECONNREFUSED}]" in str(error):  # of several addresses too
                return VdsmAway(where, "connection refused", _CHECK_SERVICE)
            case _:
                return VdsmAway(where, str(error), _CHECK_SERVICE)

    def dropped(self, error: OSError | None) -> VdsmAway:
        """The server ended an open connection before CONNECTED.

        The alert of a TLS 1.3 server that refuses our certificate comes only now, and may be
        overtaken by the reset that follows it.
        """
        if self.tls is None or isinstance(error, ssl.SSLError):
            return self.away(error or ConnectionResetError())
        reason = (
            f"VDSM dropped the connection after TLS, as for a refused certificate ({self.tls.certificate})"
        )
        return VdsmAway(str(self), reason, _RENEW)

    def foreign(self, what: str) -> VdsmAway:
        """What answers there does not speak as VDSM does."""
        return VdsmAway(str(self), what, f"{_CHECK_SERVICE} on that port, in a supported version")

    def silent(self, limit_s: float) -> VdsmAway:
        return VdsmAway(str(self), f"no session within {limit_s:g} s", _CHECK_SERVICE)


def _word(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def of(options: config.Vdsm) -> Endpoint:
    """The endpoint that our configuration names."""
    files = TlsFiles(key=options.key_file, certificate=options.cert_file, ca=options.ca_file)
    return Endpoint(host=options.host, port=options.port, tls=files if options.tls else None)
