"""``ovf put``: one VM's document into the OVF_STOREs of a domain, for when the engine cannot do it."""

import asyncio
import contextlib
import datetime
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ovirt_he_agent import config
from ovirt_he_agent.adapters.ovfstore import put
from ovirt_he_agent.adapters.vdsm import endpoint, verbs
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.cli import app, options, ovf_file
from ovirt_he_agent.errors import HeAgentError
from ovirt_he_agent.ovf import description, document, store_change

VDSM_LIMIT_S = 10.0
DISK_LIMIT_S = 300.0
"""Of reading or writing one store; the engine allows its uploads as much."""
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VOLUME = re.compile(rf"(?:^|/)({_UUID})/(?:images/)?({_UUID})/({_UUID})$")
"""Storage domain, image and volume in a path of VDSM's."""


@click.command(name="put")
@click.argument("file", metavar="DOCUMENT", type=click.Path(path_type=Path))
@click.option(
    "--store",
    "stores",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="The volume of an OVF_STORE; give both of the domain's.",
)
@click.option(
    "--size",
    "size_bytes",
    type=click.IntRange(min=1),
    help="Size in the stores' description, in bytes, where VDSM cannot be asked for it.",
)
@click.option("--older", is_flag=True, help="Replace a newer generation of the VM, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.passed
def command(
    given: options.Options,
    file: Path,
    stores: tuple[Path, ...],
    size_bytes: int | None,
    older: bool,
    as_json: bool,
) -> None:
    """Put DOCUMENT, an OVF, into one or both OVF_STOREs of a domain; all other entries stay as they are.

    The stores are written one after the other and read back. A block device is
    only changed while the other store is good. The engine writes its own view
    of the VM over it at its next update: this is for when the engine is down.
    """
    with ovf_file.opened(file) as opened:
        if opened.is_store:
            raise ovf_file.BadFile(file, "this is an OVF_STORE; give the OVF document of one VM")
        data = opened.document()
        spec = document.read(data)
    if len({path.resolve() for path in stores}) < len(stores):
        raise click.UsageError("the same store is given twice")
    work = _Work(
        name=f"{spec.vm_id.lower()}.ovf",
        data=data,
        generation=spec.generation,
        older=older,
        size_bytes=size_bytes,
        paths=stores,
    )
    done = asyncio.run(_put(given, work))
    if as_json:
        click.echo(json.dumps({"vm_id": spec.vm_id, "generation": spec.generation, "stores": done}, indent=1))
        return
    for one in done:
        what = f"{one['written_bytes']} bytes written and read back" if one["written_bytes"] else "unchanged"
        click.echo(f"{one['path']}: {what}; {one['description']}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    name: str
    data: bytes
    generation: int | None
    older: bool
    size_bytes: int | None
    paths: tuple[Path, ...]


async def _put(given: options.Options, work: _Work) -> list[dict[str, Any]]:
    with contextlib.closing(Worker("OVF_STORE")) as disk:
        found = await _look(disk, work, work.paths)
        for store in found:
            _refuse_older(work, store)
        async with _vdsm(given, work.paths) as vdsm:
            descriptions = {store.path: await _Description.of(vdsm, store.path) for store in found}
            await _try(disk, work, found, descriptions)
            return [
                await _put_into(disk, work, store.path, descriptions[store.path])
                for store in put.in_turn(found)
            ]


def _refuse_older(work: _Work, store: put.Store) -> None:
    newer = store.generation is not None and (work.generation is None or store.generation > work.generation)
    if newer and not work.older:
        raise put.NotSafe(
            store.path,
            f"it holds generation {store.generation} of the VM, which is newer than the document's "
            f"({work.generation}); --older replaces it all the same",
        )


async def _look(disk: Worker, work: _Work, paths: Sequence[Path]) -> list[put.Store]:
    return [
        await disk.call(put.look, path, work.name, timeout_s=DISK_LIMIT_S, what=f"read of {path}")
        for path in paths
    ]


async def _try(
    disk: Worker, work: _Work, found: Sequence[put.Store], descriptions: Mapping[Path, "_Description"]
) -> None:
    """Nothing is written unless all can be: each one is good once its turn has come."""
    so_far = list(found)
    for store in put.in_turn(found):
        await _plan(disk, work, store, so_far, descriptions[store.path])
        so_far = [replace(s, damage=None) if s is store else s for s in so_far]


async def _plan(
    disk: Worker, work: _Work, store: put.Store, stores: Sequence[put.Store], beside: "_Description"
) -> store_change.Change:
    good = [other for other in stores if other.path != store.path and other.is_good]
    measure = store if store.is_good or not good else good[-1]
    room = None if beside.can_be_set else measure.room_bytes(beside.size_bytes or work.size_bytes)
    mtime_s = int(_now().timestamp())
    return await disk.call(
        lambda: put.prepare(store, good, work.name, work.data, mtime_s=mtime_s, room_bytes=room),
        timeout_s=DISK_LIMIT_S,
        what=f"read of {store.path}",
    )


async def _put_into(disk: Worker, work: _Work, path: Path, beside: "_Description") -> dict[str, Any]:
    stores = await _look(disk, work, work.paths)  # as they are now, those written before this one too
    store = next(store for store in stores if store.path == path)
    change = await _plan(disk, work, store, stores, beside)
    if not change.is_none:
        await beside.begin()
        timeout_s, what = DISK_LIMIT_S, f"write of {path}"
        await disk.call(put.write, store, change, work.name, timeout_s=timeout_s, what=what)
        await beside.end(change.length)
    written = sum(len(piece) for _, piece in change.writes)
    return {
        "path": str(path),
        "written_bytes": written,
        "length": change.length,
        "description": beside.word,
    }


def _now() -> datetime.datetime:
    """What the archive and its description are dated with."""
    return datetime.datetime.now(datetime.UTC)  # noqa: TID251 a command of a moment has no clock to be given


def _ids(path: Path) -> tuple[str, str, str] | None:
    found = _VOLUME.search(str(path.absolute())) or _VOLUME.search(str(path.resolve()))
    return (found[1], found[2], found[3]) if found else None


class _Description:
    """What VDSM says beside one store, set by it where it can."""

    def __init__(self, vdsm: verbs.Vdsm | None, ids: tuple[str, str, str] | None) -> None:
        self._vdsm = vdsm
        self._ids = ids
        self._pool: str | None = None
        self._text: str | None = None
        self.size_bytes: int | None = None
        self.word = "its description was left as it is"

    @classmethod
    async def of(cls, vdsm: verbs.Vdsm | None, path: Path) -> "_Description":
        ids = _ids(path)
        beside = cls(vdsm, ids)
        if vdsm is None or ids is None:
            return beside
        try:
            text = (await vdsm.volume_info(*ids, timeout_s=VDSM_LIMIT_S)).description
            parsed = description.parse(text)
            if parsed is None:
                raise put.StoreProblem(path, "VDSM does not know this volume as an OVF_STORE; check the path")
            beside.size_bytes = parsed.size_bytes
            pools = await vdsm.connected_pools(timeout_s=VDSM_LIMIT_S)
            if len(pools) == 1:
                # The text as it is: whether this host may set it shows before anything is written.
                await vdsm.set_volume_description(pools[0], *ids, text, timeout_s=VDSM_LIMIT_S)
                beside._pool, beside._text = pools[0], text
            else:
                app.complain(f"warning: {path}: no storage pool is connected, its description cannot be set")
        except put.StoreProblem:
            raise
        except HeAgentError as e:
            app.complain(f"warning: {path}: its description cannot be set: {e}")
        return beside

    @property
    def can_be_set(self) -> bool:
        return self._pool is not None

    async def begin(self) -> None:
        if self._text is not None:
            await self._set(description.begun(self._text))

    async def end(self, length: int) -> None:
        if self._text is not None:
            await self._set(description.ended(self._text, length, _now()))
            self.word = f"its description says Updated, {length} bytes"

    async def _set(self, text: str) -> None:
        assert self._vdsm is not None
        assert self._pool is not None
        assert self._ids is not None
        await self._vdsm.set_volume_description(self._pool, *self._ids, text, timeout_s=VDSM_LIMIT_S)


@contextlib.asynccontextmanager
async def _vdsm(given: options.Options, paths: tuple[Path, ...]) -> AsyncIterator[verbs.Vdsm | None]:
    """VDSM, if a path is one of its volumes and it answers."""
    if not any(_ids(path) for path in paths):
        yield None
        return
    async with contextlib.AsyncExitStack() as stack:
        vdsm: verbs.Vdsm | None = None
        try:
            loaded = config.load(given.paths, given.config_file)
            vdsm = await stack.enter_async_context(verbs.Vdsm(endpoint.of(loaded.vdsm)))
            await vdsm.ping(timeout_s=VDSM_LIMIT_S)
        except HeAgentError as e:
            app.complain(f"warning: without VDSM, the stores' descriptions stay as they are: {e}")
            vdsm = None
        yield vdsm
