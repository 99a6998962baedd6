"""The description that VDSM keeps beside an OVF_STORE, followed through a put: read, begun, ended."""

import datetime
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.adapters.ovfstore.put import failures
from ovirt_he_agent.adapters.vdsm import verbs
from ovirt_he_agent.cli import app
from ovirt_he_agent.errors import HeAgentError, Retryable
from ovirt_he_agent.ovf import archive, description

VDSM_LIMIT_S = 10.0
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VOLUME = re.compile(rf"(?:^|/)({_UUID})/(?:images/)?({_UUID})/({_UUID})$")


@dataclass(eq=False)
class NotSet(Retryable):
    """The store is good, and whoever reads descriptions takes it for torn."""

    path: Path
    error: HeAgentError
    msg: ClassVar[str] = (
        "{self.path}: the document is in it, but its description could not be set to Updated again "
        "({self.error}): run the same command again when VDSM can"
    )


def volume_of(path: Path) -> tuple[str, str, str] | None:
    """Storage domain, image and volume, if ``path`` is one of VDSM's."""
    found = _VOLUME.search(str(path.absolute())) or _VOLUME.search(str(path.resolve()))
    return (found[1], found[2], found[3]) if found else None


def now() -> datetime.datetime:
    """What an archive and its description are dated with."""
    return datetime.datetime.now(datetime.UTC)  # noqa: TID251 a command of a moment has no clock to be given


class Description:
    """Of one store; without VDSM nothing is known and nothing is set."""

    def __init__(self, vdsm: verbs.Vdsm | None, path: Path) -> None:
        self._vdsm = vdsm
        self._path = path
        self._volume = volume_of(path)
        self._pool: str | None = None
        self._text = ""
        self.updated: bool | None = None
        """As it was found; None: unknown."""
        self.size_bytes: int | None = None
        """The archive's length, where the description gives it."""
        self.word = "its description was left as it is"
        """For people: what became of it."""

    @classmethod
    async def of(cls, vdsm: verbs.Vdsm | None, path: Path) -> "Description":
        """Raises ``StoreProblem`` if VDSM says that it is no OVF_STORE of its domain."""
        beside = cls(vdsm, path)
        if vdsm is not None and beside._volume is not None:
            try:
                await beside._read(vdsm, beside._volume)
            except failures.StoreProblem:
                raise
            except HeAgentError as e:
                app.complain(f"warning: {path}: its description cannot be set: {e}")
        return beside

    async def _read(self, vdsm: verbs.Vdsm, volume: tuple[str, str, str]) -> None:
        text = (await vdsm.volume_info(*volume, timeout_s=VDSM_LIMIT_S)).description
        parsed = description.parse(text)
        if parsed is None:
            raise failures.StoreProblem(
                self._path, "VDSM does not know this volume as an OVF_STORE; check the path"
            )
        if volume[0] not in parsed.domain_ids:
            owners = ", ".join(parsed.domain_ids) or "none"
            raise failures.StoreProblem(
                self._path, f"it is the OVF_STORE of another storage domain ({owners}); check the path"
            )
        self._text = text
        self.updated, self.size_bytes = parsed.updated, parsed.size_bytes
        longest = len(description.ended(self._text, archive.MAX_BYTES, now()).encode())
        if longest > description.MOST_BYTES:
            app.complain(
                f"warning: {self._path}: its description cannot be set: it would have {longest} bytes, and "
                f"VDSM cuts what is longer than {description.MOST_BYTES}"
            )
            return
        pools = await vdsm.connected_pools(timeout_s=VDSM_LIMIT_S)
        if len(pools) != 1:
            app.complain(
                f"warning: {self._path}: its description cannot be set: no storage pool is connected"
            )
            return
        # The text as it is: whether this host may set it shows before anything is written.
        await vdsm.set_volume_description(pools[0], *volume, self._text, timeout_s=VDSM_LIMIT_S)
        self._pool = pools[0]

    @property
    def is_known(self) -> bool:
        """VDSM has this volume as an OVF_STORE."""
        return self._text != ""

    @property
    def can_be_set(self) -> bool:
        return self._pool is not None

    def is_right(self, end: int) -> bool:
        """It lets readers take an archive that ends at byte ``end``."""
        return not self.can_be_set or (self.updated is True and (self.size_bytes or 0) >= end)

    async def begin(self) -> None:
        """``Updated`` false, unless the engine has changed it meanwhile (``StoreProblem``)."""
        if self._vdsm is None or self._volume is None or not self.can_be_set:
            return
        info = await self._vdsm.volume_info(*self._volume, timeout_s=VDSM_LIMIT_S)
        if info.description != self._text:
            raise failures.StoreProblem(
                self._path,
                "its description was changed meanwhile, by the engine as it seems; nothing was written to it",
            )
        await self._set(description.begun(self._text))

    async def end(self, length: int) -> None:
        """``Updated`` true, with size and date. Raises ``NotSet``."""
        if not self.can_be_set:
            return
        try:
            await self._set(description.ended(self._text, length, now()))
        except HeAgentError as e:
            raise NotSet(self._path, e) from e
        self.word = f"its description says Updated, {length} bytes"

    async def _set(self, text: str) -> None:
        assert self._vdsm is not None
        assert self._volume is not None
        assert self._pool is not None
        await self._vdsm.set_volume_description(self._pool, *self._volume, text, timeout_s=VDSM_LIMIT_S)
