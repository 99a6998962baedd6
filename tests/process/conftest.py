"""Emulated hosts for all tests of the daemon: each joins once, and each test leaves it as it was."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.agent_process import START_LIMIT_S, AgentProcess
from tests.deployed_host import AnotherSanlock, ContestedHost, DeployedHost

HOSTS = 4


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[DeployedHost]]:
    """Several, for tests that go on beside each other; all of them good and nothing started."""
    several = [DeployedHost(tmp_path_factory.mktemp("he")) for _ in range(HOSTS)]
    with ExitStack() as stack:
        with ThreadPoolExecutor() as threads:
            list(threads.map(stack.enter_context, several))
        yield several


@pytest.fixture
async def host(hosts: Sequence[DeployedHost]) -> AsyncIterator[DeployedHost]:
    yield hosts[0]
    await hosts[0].restore()


@pytest.fixture(scope="session")
def contested_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContestedHost]:
    base = tmp_path_factory.mktemp("ct")
    with DeployedHost(base) as host, AnotherSanlock(base / "o", host.deployment) as other:
        other.join(host.deployment.ha_lockspace(), 1)
        agent = host.agent()
        agent.start()
        try:
            yield ContestedHost(host, other, agent, _first_told(agent))
        finally:
            agent.stop()


def _first_told(agent: AgentProcess) -> str:
    """What it waits for as soon as it has asked sanlock."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if agent.is_ready:
            for text in agent.status()["waits_for"]:
                if "sanlock is acquiring" in text:
                    return str(text)
        time.sleep(0.1)
    raise AssertionError(f"the join does not begin:\n{agent.log_tail()}")


@pytest.fixture(scope="session", autouse=True)
def contest_begins_first(request: pytest.FixtureRequest) -> None:
    """sanlock takes minutes over it: let it, beside the other tests.

    Not among several workers: each would begin one, and the others have work meanwhile.
    """
    if not hasattr(request.config, "workerinput") and any(
        _is_contested(item) for item in request.session.items
    ):
        request.getfixturevalue("contested_host")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_is_contested)  # last of all


def _is_contested(item: pytest.Item) -> bool:
    return "contested_host" in getattr(item, "fixturenames", ())
