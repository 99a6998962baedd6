"""The methods that change something: over a real socket, asked by curl, by this user and by others."""

import asyncio
import contextlib
import grp
import json
import logging
import os
import pwd
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.control import changes, client, codes, permission, server
from ovirt_he_agent.errors import (
    ExitCode,
    HeAgentError,
    NotConfigured,
    OutcomeUnknown,
    Refused,
    Retryable,
)
from tests.asked_agent import WHY_NOBODY, RecordedRequests, serving

pytestmark = pytest.mark.real("curl")

NOBODY = 65534
STRANGER = 54321
"""No user has this id."""
two_users = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")


@dataclass(eq=False)
class Busy(Retryable):
    msg: ClassVar[str] = "the disk is busy; try again"


class Unsafe(Refused):
    msg = "it runs elsewhere"


class Unclear(OutcomeUnknown):
    msg = "perhaps"


class Undeployed(NotConfigured):
    msg = "not deployed"


@pytest.fixture
def path() -> Iterator[Path]:
    """In a directory that every user may enter, as /run."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name) / "agent.socket"


async def ask(
    path: Path, method: str, user: int | None = None, group: int | None = None, **params: Any
) -> Any:
    """The whole answer to curl, run as ``user``."""
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--max-time", "10", "--unix-socket", path, "http://agent/"),
        *("--data-binary", request),
        stdout=asyncio.subprocess.PIPE,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    )
    out, _ = await process.communicate()
    return json.loads(out)


@pytest.mark.parametrize(
    ("given", "asked"),
    [("GLOBAL", "global"), ("global", "global"), ("Local", "LOCAL"), ("local_manual", "LOCAL_MANUAL")],
)
async def test_maintenance_is_set_and_told(path: Path, given: str, asked: str) -> None:
    requests = RecordedRequests()
    async with serving(path, requests):
        answer = await ask(path, "setMaintenance", mode=given, enabled=True)
        await ask(path, "setMaintenance", mode=given, enabled=False)
    assert answer == {"jsonrpc": "2.0", "id": 1, "result": {"mode": given.upper(), "enabled": True}}
    assert requests.asked == [(asked, True), (asked, False)]


@pytest.mark.parametrize(
    ("method", "asked", "detail"),
    [
        ("startVm", "start", "the VM is being started"),
        ("shutdownVm", "shutdown", "the VM is shutting down"),
        ("powerOffVm", "poweroff", "the VM was switched off"),
    ],
)
async def test_the_vm_is_commanded(path: Path, method: str, asked: str, detail: str) -> None:
    requests = RecordedRequests()
    async with serving(path, requests):
        assert (await ask(path, method))["result"] == {"detail": detail}
        await ask(path, method, force=True)
    assert requests.asked == [(asked, False), (asked, True)]


@pytest.mark.parametrize(
    ("method", "params", "why"),
    [
        ("setMaintenance", {}, "mode is None, not one of GLOBAL, LOCAL, LOCAL_MANUAL"),
        ("setMaintenance", {"mode": "none", "enabled": True}, "mode is 'none'"),
        ("setMaintenance", {"mode": ["LOCAL"], "enabled": True}, "mode is ['LOCAL']"),
        ("setMaintenance", {"mode": "LOCAL"}, "enabled is None, not true or false"),
        ("setMaintenance", {"mode": "LOCAL", "enabled": "False"}, "enabled is 'False'"),
        ("setMaintenance", {"mode": "LOCAL", "enabled": 1}, "enabled is 1"),
        ("setMaintenance", {"mode": "LOCAL", "enabled": True, "host": 2}, "takes mode and enabled, got host"),
        ("startVm", {"force": 1}, "force is 1"),
        ("startVm", {"force": None}, "force is None"),
        ("powerOffVm", {"now": True}, "takes force, got now"),
    ],
)
async def test_wrong_params_change_nothing(path: Path, method: str, params: dict[str, Any], why: str) -> None:
    requests = RecordedRequests()
    async with serving(path, requests):
        error = (await ask(path, method, **params))["error"]
    assert error["code"] == server.INVALID_PARAMS
    assert error["message"].startswith(why)
    assert requests.asked == []


ERRORS: list[tuple[HeAgentError, int, ExitCode]] = [
    (Busy(), codes.FAILED, ExitCode.FAILED),
    (Unsafe(), codes.REFUSED, ExitCode.REFUSED),
    (Unclear(), codes.OUTCOME_UNKNOWN, ExitCode.FAILED),
    (Undeployed(), codes.NOT_CONFIGURED, ExitCode.NOT_CONFIGURED),
]


@pytest.mark.parametrize(("failure", "code", "exit_code"), ERRORS, ids=lambda given: type(given).__name__)
async def test_an_error_has_its_code_and_our_client_its_reaction(
    path: Path, failure: HeAgentError, code: int, exit_code: ExitCode
) -> None:
    worker = Worker("client")
    async with serving(path, RecordedRequests(failing={"start": failure})):
        assert (await ask(path, "startVm"))["error"] == {"code": code, "message": str(failure)}
        with pytest.raises(client.Declined) as declined:
            await worker.call(client.call, path, "startVm", timeout_s=10)
    worker.close()
    assert (str(declined.value), declined.value.exit_code) == (str(failure), exit_code)


async def test_without_an_agent_the_host_is_not_configured(path: Path) -> None:
    async with serving(path, None):
        error = (await ask(path, "startVm"))["error"]
    assert error["code"] == codes.NOT_CONFIGURED
    assert WHY_NOBODY in error["message"]


async def test_what_takes_too_long_has_an_unknown_outcome(path: Path) -> None:
    ended = []

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with serving(path, RecordedRequests(takes=for_ever), limit_s=0.1):
        error = (await ask(path, "setMaintenance", mode="GLOBAL", enabled=True))["error"]
    assert error["code"] == codes.OUTCOME_UNKNOWN
    assert error["message"].startswith("not done within 0.1 s, and it is not known whether it took effect")
    assert ended == [True]


async def test_an_agent_that_ends_meanwhile_is_told(path: Path) -> None:
    asked = asyncio.Event()

    async def for_ever() -> None:
        asked.set()
        await asyncio.Event().wait()

    changing = changes.Changes(permission.Permission(None), lambda: WHY_NOBODY)
    async with (
        server.ControlServer(path, changing.methods, mode=0o666, healthy=lambda: True),
        asyncio.TaskGroup() as tasks,
    ):
        with changing.serving(RecordedRequests(takes=for_ever)):
            change = tasks.create_task(ask(path, "startVm"))
            await asked.wait()
        error = (await change)["error"]
    assert error["code"] == codes.OUTCOME_UNKNOWN
    assert error["message"].startswith("the agent ended before it was done, and it is not known whether")


async def test_reading_goes_on_while_a_change_takes_its_time(path: Path) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def until_told() -> None:
        asked.set()
        await answer.wait()

    async with serving(path, RecordedRequests(takes=until_told)), asyncio.TaskGroup() as tasks:
        change = tasks.create_task(ask(path, "startVm"))
        await asked.wait()
        assert (await ask(path, "status"))["result"]["configured"] is True
        answer.set()
        assert "result" in await change


async def test_each_change_is_logged_with_who_asked(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ovirt_he_agent.control.changes")
    async with serving(path, RecordedRequests(failing={"poweroff": Unsafe()})):
        await ask(path, "setMaintenance", mode="global", enabled=True)
        await ask(path, "powerOffVm", force=True)
    who = f"asked for by user id {os.getuid()}, process "
    said = [
        (r.levelname, r.message.split(who)[0], r.message.split(who)[1].split(": ")[1:])
        for r in caplog.records
    ]
    assert said == [
        ("INFO", "setMaintenance GLOBAL on, ", []),
        ("INFO", "setMaintenance GLOBAL on, ", ["done"]),
        ("INFO", "powerOffVm with force, ", []),
        ("WARNING", "powerOffVm with force, ", ["it runs elsewhere"]),
    ]


# who may


async def allowed(path: Path, uid: int, gid: int, **settings: Any) -> str | None:
    """None: this user is allowed; else the reason why not."""
    requests = RecordedRequests()
    async with serving(path, requests, **settings):
        assert "result" in await ask(path, "status", uid, gid)  # reading is for all
        answer = await ask(path, "startVm", uid, gid)
    if "error" not in answer:
        assert requests.asked == [("start", False)]
        return None
    assert answer["error"]["code"] == codes.NOT_ALLOWED
    assert requests.asked == []
    message: str = answer["error"]["message"]
    return message


def a_user() -> tuple[int, str, str]:
    """Id and name of a user, and the name of its group."""
    user = pwd.getpwuid(NOBODY)
    return user.pw_uid, user.pw_name, grp.getgrgid(user.pw_gid).gr_name


@two_users
@pytest.mark.parametrize("uid", [NOBODY, STRANGER])
async def test_any_user_is_told_who_may(path: Path, uid: int, caplog: pytest.LogCaptureFixture) -> None:
    refusal = await allowed(path, uid, uid)
    assert refusal == (
        f"user id {uid} may not change anything here; root may, the agent's own user, user vdsm, "
        "and nobody else (control.group of the configuration may name a group)"
    )
    assert refusal in caplog.text


@two_users
async def test_vdsms_user_may(path: Path) -> None:
    uid, name, _ = a_user()
    assert await allowed(path, uid, uid, vdsm_user=name) is None


@two_users
async def test_a_member_of_the_group_may_by_the_user_database(path: Path) -> None:
    uid, _, group = a_user()
    assert await allowed(path, uid, STRANGER, group=group) is None


@two_users
async def test_who_runs_with_the_group_may(path: Path) -> None:
    _, _, group = a_user()
    assert await allowed(path, STRANGER, grp.getgrnam(group).gr_gid, group=group) is None


@two_users
async def test_others_may_not_and_a_group_that_is_not_there_is_named(path: Path) -> None:
    _, _, group = a_user()
    refusal = await allowed(path, STRANGER, STRANGER, group=group)
    assert str(refusal).endswith(f"user vdsm, and members of group {group} (control.group)")
    refusal = await allowed(path, NOBODY, STRANGER, group="no-such-group")
    assert str(refusal).endswith("members of group no-such-group (control.group), but there is no such group")


@two_users
async def test_the_agents_own_user_and_root_may() -> None:
    checked = permission.Permission(None)
    os.seteuid(NOBODY)
    try:
        await checked.check(server.Peer(pid=1, uid=NOBODY, gid=NOBODY))
        await checked.check(server.Peer(pid=1, uid=0, gid=0))
    finally:
        os.seteuid(0)


async def test_a_user_database_that_hangs_keeps_out_whom_it_would_name_and_not_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = threading.Event()

    def hangs(name: str) -> pwd.struct_passwd:
        answer.wait()
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", hangs)
    monkeypatch.setattr(permission, "LOOK_UP_LIMIT_S", 0.1)
    with contextlib.closing(permission.Permission("wheel")) as checked:
        with pytest.raises(permission.NotAllowed, match=r"which does not answer: .*looking up user id 54321"):
            await checked.check(server.Peer(pid=1, uid=STRANGER, gid=STRANGER))
        await checked.check(server.Peer(pid=1, uid=0, gid=0))
        answer.set()
