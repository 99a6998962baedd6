"""vm.conf on this host: follows the definition of the next start, on a real file system."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ovirt_he_agent import atomic_file
from ovirt_he_agent.adapters.vm_conf import VmConfFile
from ovirt_he_agent.agent import vm_conf
from ovirt_he_agent.agent.definitions import Startable
from ovirt_he_agent.ovf import document
from ovirt_he_agent.ovf.vmconf import reader
from tests import golden_ovf, snapshots


class Definitions:
    """Gives what it is told to give."""

    def __init__(self) -> None:
        self.definition: Startable | None = None

    def current(self) -> Startable | None:
        return self.definition


def startable(data: bytes) -> Startable:
    embedded = document.read(data).engine_xml
    assert embedded is not None
    facts = snapshots.definition(sha256=hashlib.sha256(data).hexdigest())
    return Startable(facts, embedded.text, data)


class Host:
    """The file, and who keeps it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = VmConfFile(path)

    @property
    def content(self) -> str | None:
        return self.path.read_text() if self.path.exists() else None

    @property
    def params(self) -> dict[str, Any]:
        return reader.read(self.path.read_bytes())

    @property
    def stat(self) -> os.stat_result:
        return self.path.stat()

    def change(self, text: str) -> None:
        self.path.write_text(text)

    def make_directory_in_its_place(self) -> None:
        self.path.mkdir(parents=True)

    def make_file_in_place_of_its_directory(self) -> None:
        self.path.rmdir()
        self.path.parent.rmdir()
        self.path.parent.write_text("")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "run" / "vm.conf")
    yield host
    host.file.close()


async def test_the_file_follows_the_definition(host: Host) -> None:
    definitions = Definitions()
    agent = vm_conf.VmConf(host.file, cast("Any", definitions))
    await agent.see_to()
    assert host.content is None, "without a definition there is nothing to say"
    definitions.definition = startable(golden_ovf.data(golden_ovf.S02))
    await agent.see_to()
    assert (host.params["vmId"], host.params["memSize"]) == (golden_ovf.S02_VM, "16384")
    assert host.params["xml"] == definitions.definition.domain_xml
    edited = golden_ovf.altered(golden_ovf.S02, ("VirtualQuantity>16384", "VirtualQuantity>8192"))
    definitions.definition = startable(edited)
    await agent.see_to()
    assert host.params["memSize"] == "8192"
    definitions.definition = None
    await agent.see_to()
    assert host.params["memSize"] == "8192", "the last word stays"


async def test_it_is_written_only_when_it_does_not_hold_the_text(host: Host) -> None:
    await host.file.hold("vmId=1\n")
    first = host.stat
    assert stat.S_IMODE(first.st_mode) == 0o644
    await host.file.hold("vmId=1\n")
    assert host.stat.st_ino == first.st_ino
    host.change("somebody else's")
    await host.file.hold("vmId=1\n")
    assert host.content == "vmId=1\n"


async def test_what_keeps_it_from_being_written_is_said(host: Host) -> None:
    host.make_directory_in_its_place()
    with pytest.raises(atomic_file.CannotWrite, match=f"{host.path}: cannot be written: Is a directory"):
        await host.file.hold("vmId=1\n")
    host.make_file_in_place_of_its_directory()
    with pytest.raises(atomic_file.CannotWrite, match=f"{host.path}: cannot be written: Not a directory"):
        await host.file.hold("vmId=1\n")
