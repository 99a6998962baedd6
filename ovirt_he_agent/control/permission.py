"""Who may change something through the socket: by the kernel's word on the peer, and the user database.

Root and the agent's own user need no look-up, so they are never kept out by a
directory service that hangs. The others wait for it in a thread of its own.
"""

import grp
import os
import pwd
from dataclasses import dataclass
from typing import ClassVar

from ovirt_he_agent.blocking import Stuck, Worker
from ovirt_he_agent.control.server import Peer
from ovirt_he_agent.errors import HeAgentError

LOOK_UP_LIMIT_S = 5.0
VDSM_USER = "vdsm"


@dataclass(eq=False)
class NotAllowed(HeAgentError):
    uid: int
    others: str
    msg: ClassVar[str] = (
        "user id {self.uid} may not change anything here; root may, the agent's own user, user "
        + VDSM_USER
        + ", and {self.others}"
    )


class Permission:
    """``close`` it: it owns a thread."""

    def __init__(self, group: str | None, *, vdsm_user: str = VDSM_USER) -> None:
        """``group``: its members are allowed, too."""
        self._group = group
        self._vdsm_user = vdsm_user
        self._worker = Worker("user-database")

    def close(self) -> None:
        self._worker.close()

    async def check(self, peer: Peer) -> None:
        """Raises ``NotAllowed``, also when nobody can say in time."""
        if peer.uid in (0, os.geteuid()):
            return
        try:
            refusal = await self._worker.call(
                self._why_not, peer, timeout_s=LOOK_UP_LIMIT_S, what=f"looking up user id {peer.uid}"
            )
        except (Stuck, OSError) as e:
            raise NotAllowed(peer.uid, f"whoever the user database names, which does not answer: {e}") from e
        if refusal is not None:
            raise NotAllowed(peer.uid, refusal)

    def _why_not(self, peer: Peer) -> str | None:
        """None: allowed; else who is allowed besides the fixed ones."""
        try:
            if peer.uid == pwd.getpwnam(self._vdsm_user).pw_uid:
                return None
        except KeyError:
            pass  # no VDSM on this machine
        if self._group is None:
            return "nobody else (control.group of the configuration may name a group)"
        try:
            gid = grp.getgrnam(self._group).gr_gid
        except KeyError:
            return f"members of group {self._group} (control.group), but there is no such group"
        if gid == peer.gid or gid in _groups(peer.uid):
            return None
        return f"members of group {self._group} (control.group)"


def _groups(uid: int) -> list[int]:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return []
    return os.getgrouplist(user.pw_name, user.pw_gid)
