"""``ovf put``: one VM's document into the OVF_STOREs of a domain, for when the engine cannot do it."""

import asyncio
import contextlib
import functools
import json
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from ovirt_he_agent import config
from ovirt_he_agent.adapters.ovfstore.put import copy, failures, plan, store, write
from ovirt_he_agent.adapters.vdsm import endpoint, verbs
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.cli import app, options, ovf_file, store_description
from ovirt_he_agent.errors import HeAgentError
from ovirt_he_agent.ovf import document

T = TypeVar("T")

DISK_LIMIT_S = 300.0
"""Of reading or writing one store; the engine allows its uploads as much."""
COPIES = "ovf-put"
"""Below the state directory: stores as they were, while they are changed where they lie."""


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
    if len({_identity(path) for path in stores}) < len(stores):
        raise click.UsageError("the same store is given twice")
    work = _Work(
        copies=given.paths.state_dir / COPIES,
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
        if one["made_from"]:
            app.complain(
                f"warning: {one['path']} was no good store: it was made anew from {one['made_from']}"
            )
        what = f"{one['written_bytes']} bytes written and read back" if one["written_bytes"] else "unchanged"
        if one["added"]:
            what += f"; VM {spec.vm_id} was added, the store had none of it"
        click.echo(f"{one['path']}: {what}; {one['description']}")


def _identity(path: Path) -> object:
    """The same for all names of one file or device."""
    try:
        status = path.stat()
    except OSError:  # told when it is read
        return path.resolve()
    return status.st_rdev if stat.S_ISBLK(status.st_mode) else (status.st_dev, status.st_ino)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    copies: Path
    name: str
    data: bytes
    generation: int | None
    older: bool
    size_bytes: int | None
    paths: tuple[Path, ...]


async def _put(given: options.Options, work: _Work) -> list[dict[str, Any]]:
    with contextlib.closing(Worker("OVF_STORE")) as disk:
        put = _Put(work, disk)
        for found in await put.look():
            put.refuse_older(found)
        async with _vdsm(given, work.paths) as vdsm:
            put.descriptions = {
                path: await store_description.Description.of(vdsm, path) for path in work.paths
            }
            stores = await put.look()
            put.refuse_strangers(stores)
            await put.rehearse(stores)
            return [await put.into(one.path) for one in store.in_turn(stores)]


class _Put:
    """One document on its way into all stores, one after the other."""

    def __init__(self, work: _Work, disk: Worker) -> None:
        self._work = work
        self._disk = disk
        self.descriptions: dict[Path, store_description.Description] = {}

    async def _call(self, function: Callable[[], T], what: str) -> T:
        return await self._disk.call(function, timeout_s=DISK_LIMIT_S, what=what)

    async def look(self) -> list[store.Store]:
        """At all stores as they are now; one that its description calls torn is not good."""
        work, found = self._work, []
        for path in work.paths:
            look = functools.partial(store.look, path, work.name, work.copies)
            one = await self._call(look, f"read of {path}")
            beside = self.descriptions.get(path)
            found.append(
                one.not_updated(work.data) if beside is not None and beside.updated is False else one
            )
        return found

    def refuse_older(self, found: store.Store) -> None:
        ours, theirs = self._work.generation, found.generation
        if theirs is not None and (ours is None or theirs > ours) and not self._work.older:
            raise failures.NotSafe(
                found.path,
                f"it holds generation {theirs} of the VM, "
                + ("and the document says none" if ours is None else f"newer than the document's ({ours})")
                + "; --older replaces it all the same",
            )

    def refuse_strangers(self, stores: Sequence[store.Store]) -> None:
        for one in stores:
            if not self.descriptions[one.path].is_known:
                store.refuse_stranger(one)

    async def rehearse(self, stores: Sequence[store.Store]) -> None:
        """Nothing is written unless all can be: each one is good once its turn has come."""
        so_far = list(stores)
        for one in store.in_turn(stores):
            await self._plan(one, so_far)
            so_far = [replace(s, damage=None) if s is one else s for s in so_far]

    async def _plan(self, target: store.Store, stores: Sequence[store.Store]) -> plan.Plan:
        work, beside = self._work, self.descriptions[target.path]
        others = [other for other in stores if other.path != target.path]
        good = store.in_turn([other for other in others if other.is_good])
        measure = target if target.is_good or not good else good[-1]
        described = beside.size_bytes or work.size_bytes
        room = None if beside.can_be_set else measure.room_bytes(described)
        mtime_s = int(store_description.now().timestamp())
        return await self._call(
            lambda: plan.prepare(
                target,
                others,
                work.name,
                work.data,
                mtime_s=mtime_s,
                room_bytes=room,
                described_bytes=described,
            ),
            f"read of {target.path}",
        )

    async def into(self, path: Path) -> dict[str, Any]:
        """Into one store; what it reports."""
        work, beside = self._work, self.descriptions[path]
        stores = await self.look()  # those written before this one are good now
        target = next(one for one in stores if one.path == path)
        self.refuse_older(target)
        planned = await self._plan(target, stores)
        if not planned.change.is_none:
            kept = await self._call(lambda: write.keep_copy(planned, work.copies), f"copy of {path}")
            await beside.begin()
            await self._call(lambda: write.write(planned, work.name, work.copies, kept), f"write of {path}")
            await beside.end(planned.change.length)
            if kept is not None:
                copy.drop(work.copies, kept)
        elif not beside.is_right(planned.change.end):  # an earlier put was cut off after its last write
            await beside.end(planned.change.length)
        return {
            "path": str(path),
            "written_bytes": planned.written_bytes,
            "length": planned.change.length,
            "added": planned.change.old_document is None,
            "made_from": str(planned.source) if planned.is_made_anew else None,
            "description": beside.word,
        }


@contextlib.asynccontextmanager
async def _vdsm(given: options.Options, paths: tuple[Path, ...]) -> AsyncIterator[verbs.Vdsm | None]:
    """VDSM, if a path is one of its volumes and it answers."""
    if not any(store_description.volume_of(path) for path in paths):
        yield None
        return
    async with contextlib.AsyncExitStack() as stack:
        vdsm: verbs.Vdsm | None = None
        try:
            loaded = config.load(given.paths, given.config_file)
            vdsm = await stack.enter_async_context(verbs.Vdsm(endpoint.of(loaded.vdsm)))
            await vdsm.ping(timeout_s=store_description.VDSM_LIMIT_S)
        except HeAgentError as e:
            app.complain(f"warning: without VDSM, the stores' descriptions stay as they are: {e}")
            vdsm = None
        yield vdsm
