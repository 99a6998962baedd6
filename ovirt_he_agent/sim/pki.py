"""A throw-away PKI, as a host of a data centre has it: one CA, a server's and a client's certificate.

Made by the openssl program: key and certificate making is nothing to write oneself.
"""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.errors import HeAgentError

DAYS = "3650"


@dataclass(eq=False)
class PkiFailed(HeAgentError):
    directory: Path
    reason: str
    msg: ClassVar[str] = "no certificates could be made in {self.directory}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Pki:
    """PEM files in one directory."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def certificate(self, name: str) -> Path:
        return self.directory / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    def server_context(self) -> ssl.SSLContext:
        """VDSM's side: own certificate, and one of the client that chains to the CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate("server"), self.key("server"))
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def _openssl(directory: Path, *arguments: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        raise PkiFailed(directory, "the program openssl is not installed")
    done = subprocess.run(
        [program, *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode != 0:
        raise PkiFailed(directory, done.stderr.strip().replace("\n", "; "))


def ensure(directory: Path, *, host_name: str = "localhost") -> Pki:
    """The PKI in ``directory``; whatever of it is there stays. Raises ``PkiFailed``."""
    pki = Pki(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if not pki.ca.exists():
        _openssl(
            directory,
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS),
            *("-keyout", "ca.key", "-out", "ca.pem", "-subj", "/O=emulated/CN=emulated-ca"),
            *(
                "-addext",
                "basicConstraints=critical,CA:TRUE",
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
            ),
        )
    for name in ("server", "client"):
        if not pki.certificate(name).exists() or not pki.key(name).exists():
            _issue(pki, name, host_name)
    return pki


def _issue(pki: Pki, name: str, host_name: str) -> None:
    _openssl(
        pki.directory,
        *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr"),
        *("-subj", f"/O=emulated/CN={host_name}"),
    )
    extensions = pki.directory / f"{name}.ext"
    extensions.write_text(f"basicConstraints=CA:FALSE\nsubjectAltName=DNS:{host_name}\n")
    _openssl(
        pki.directory,
        *("x509", "-req", "-days", DAYS, "-in", f"{name}.csr", "-out", f"{name}.pem"),
        *("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", extensions.name),
    )
    extensions.unlink()
    (pki.directory / f"{name}.csr").unlink()
