"""The definition of the next start: the store's document, translated when it changes, or one that was kept.

Which one is said by ``core.definitions.choice``; here its inputs are brought
together: what the store offers, what was kept, what an operator asked for, how
starts went. ``look`` and ``see_to_history`` are the slow sides and may fail;
``current`` answers from memory.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from ovirt_he_agent.agent import ports
from ovirt_he_agent.agent.kept import Kept
from ovirt_he_agent.agent.translation import Translator
from ovirt_he_agent.core import model, snapshot
from ovirt_he_agent.core.definitions import choice, life
from ovirt_he_agent.core.definitions.record import Life, Record, Request
from ovirt_he_agent.errors import BadInput, HeAgentError
from ovirt_he_agent.ovf import domainxml, refusals

log = logging.getLogger(__name__)

PATIENCE_MS = 10_000
"""So long a look at the store is waited for: it may have a newer definition than those that were kept."""
LOOK_LIMIT_MS = 60_000
"""A look that ended longer ago says nothing of the store."""
SAVE_LIMIT_S = 2.0
"""Neither a start nor a look at the store waits longer for the disk that notes it."""


class Reading(Protocol):
    """The VM's document as it stands in the store that counts."""

    @property
    def volume_id(self) -> str: ...
    @property
    def last_updated(self) -> str | None: ...
    @property
    def document(self) -> bytes: ...
    @property
    def damaged(self) -> tuple[str, ...]:
        """One text for each store that should have been better and could not be used."""
        ...


class Store(Protocol):
    async def check(self) -> Reading:
        """One small read while nothing has changed."""
        ...


@dataclass(eq=False)
class Unusable(BadInput):
    """The store gives the document, but nothing can be started from it."""

    volume_id: str
    reason: str
    msg: ClassVar[str] = "the OVF in OVF_STORE volume {self.volume_id} cannot be started: {self.reason}"


@dataclass(frozen=True, slots=True)
class Startable:
    facts: snapshot.Definition
    domain_xml: str
    document: bytes


class Definitions:
    """One VM's. ``utc_s`` is the host's clock in seconds since 1970, for people."""

    def __init__(
        self,
        store: Store,
        translator: Translator,
        history: ports.History,
        *,
        clock: Callable[[], model.MonotonicMs],
        utc_s: Callable[[], int],
    ) -> None:
        self._store = store
        self._translator = translator
        self._kept = Kept(history)
        self._clock = clock
        self._utc_s = utc_s
        self._lacks_something_here = False
        """This host does, so that no definition of the VM could be started on it, whichever is kept."""
        self._offer: choice.Offer | None = None
        self._trouble: str | None = None
        self._damaged: tuple[str, ...] = ()
        self._looking_since: model.MonotonicMs | None = None
        self._looked_at: model.MonotonicMs | None = None
        self._good_at: model.MonotonicMs | None = None
        self._history_tried = False
        self._said: tuple[str, choice.Why, str | None] | None = None
        self._choice: choice.Choice | None = None

    # the store

    async def look(self) -> None:
        """Follow the store. Raises ``Unusable``, and what the store raises."""
        self._looking_since = self._clock()
        try:
            reading = await self._store.check()
            made = await self._translator.definition(reading.document)
            self._lacks_something_here = isinstance(made, refusals.NotStartableHere)
            if isinstance(made, HeAgentError):
                raise Unusable(reading.volume_id, str(made)) from made
        except HeAgentError as e:
            self._offer = None
            self._trouble, self._looked_at = str(e), self._clock()
            raise
        finally:
            self._looking_since = None
        self._tell_damage(reading)
        self._trouble, self._looked_at = None, self._clock()
        self._good_at = self._looked_at
        self._take(made, reading)
        await self._save()

    def _tell_damage(self, reading: Reading) -> None:
        """A store is lost while another one still serves: people should know before that is lost, too."""
        for text in reading.damaged:
            if text not in self._damaged:
                log.warning(
                    "one OVF_STORE cannot be used, volume %s serves instead: %s", reading.volume_id, text
                )
        self._damaged = reading.damaged

    def _take(self, made: domainxml.Definition, reading: Reading) -> None:
        facts = facts_of(made, reading)
        old = self._kept.records.get(facts.sha256)
        if old is None:
            self._kept.put(
                Record(
                    number=self._kept.next_number(),
                    facts=facts,
                    document=reading.document,
                    domain_xml=made.xml,
                    made=made.made.value,
                    made_because=made.reason,
                    warnings=made.warnings,
                    kept_s=self._utc_s(),
                )
            )
        else:  # translated anew: by another version of the agent, or for a host that has changed
            self._kept.put(
                replace(
                    old,
                    facts=facts,
                    domain_xml=made.xml,
                    made=made.made.value,
                    made_because=made.reason,
                    warnings=made.warnings,
                )
            )
        self._offer = choice.Offer(facts.sha256, facts.generation)
        self._go_by_the_store()

    def _go_by_the_store(self) -> None:
        if self._offer is None:
            return
        head, _ = choice.take(self._kept.standing.head, self._offer)
        self._kept.standing = replace(self._kept.standing, head=head)
        self._kept.prune(self._needed())

    def _needed(self) -> set[str]:
        standing = self._kept.standing
        return {part.sha256 for part in (standing.head, standing.life, self._offer) if part is not None}

    # what is kept

    async def see_to_history(self) -> None:
        """Read it once, write what has changed, hear operators. Raises what is wrong with it."""
        try:
            if not self._kept.is_read:
                await self._kept.read()
                self._go_by_the_store()
            else:
                await self._kept.look_for_lost()
        finally:
            self._history_tried = True
        if (request := await self._kept.new_request()) is not None:
            self._obey(request)
        await self._kept.write()
        await self._kept.check()

    def _obey(self, request: Request) -> None:
        kept = self._kept
        head = kept.standing.head
        if request.sha256 is None:
            head = choice.take_back(head)
            log.warning("an operator took `ovf restore` back")
        elif (record := kept.records.get(request.sha256)) is not None:
            head = choice.ask(head, request.sha256, self._offer)
            kept.put(replace(record, failures=0))  # two new tries
            log.warning("an operator asked for definition %d (%s)", record.number, choice.generation(record))
        else:
            log.warning("an operator asked for definition %s, which is not kept", request.sha256[:12])
        kept.standing = replace(kept.standing, head=head, request_id=request.id)
        self._go_by_the_store()

    # the choice

    def current(self) -> Startable | None:
        """What the next start uses, by all that is known now; None: nothing, yet."""
        if not self._is_known() or self._lacks_something_here:
            return None
        trouble = self._troubled()
        records = tuple(self._kept.records.values())
        offer = None if trouble else self._offer
        chosen = choice.choose(records, self._kept.standing.head, offer, trouble)
        self._choice = chosen
        if chosen is None:
            return None
        self._say(chosen)
        record = chosen.record
        return Startable(_with_other_leases(record.facts, records), record.domain_xml, record.document)

    def _is_known(self) -> bool:
        """Store and files have had their say, or enough time for it."""
        now = self._clock()
        if self._looking_since is not None and now - self._looking_since >= PATIENCE_MS:
            return True
        looked = self._looked_at is not None and now - self._looked_at <= LOOK_LIMIT_MS
        return looked and self._history_tried

    def _troubled(self) -> str | None:
        """Why the store's word does not count now."""
        since = self._looking_since
        if since is not None and self._clock() - since >= PATIENCE_MS:
            return f"the OVF_STORE has not answered for {(self._clock() - since) // 1000} s"
        return self._trouble

    def _say(self, chosen: choice.Choice) -> None:
        record = chosen.record
        said = (record.sha256, chosen.why, None if chosen.why is choice.Why.LAST_GOOD else chosen.reason)
        if said == self._said:
            return
        self._said = said
        what = f"definition {record.number} ({choice.generation(record)}, {record.facts.source})"
        if chosen.reason is None:
            log.info("%s is used", what)
        else:
            log.warning("%s: %s is used; %s", chosen.why.value, what, chosen.reason)

    # starts

    async def begin(self, sha256: str, command: int) -> None:
        """Note, before the command, what the VM is started from."""
        self._live(Life(sha256=sha256, since_s=self._utc_s(), command=command))
        await self._save()

    async def _save(self) -> None:
        try:
            async with asyncio.timeout(SAVE_LIMIT_S):
                await self._kept.write()
        except (HeAgentError, TimeoutError):
            pass  # told by the component that tries it again; nothing else depends on it

    def follow(self, look: Callable[[], snapshot.Snapshot], now: model.MonotonicMs) -> None:
        """Learn from what became of the start; mostly there is none to follow, and no ``look``."""
        old = self._kept.standing.life
        if old is None:
            return
        new, lesson = life.follow(old, look(), now)
        if new != old:
            self._live(new)
        record = self._kept.records.get(old.sha256)
        if lesson is None or record is None:
            return
        if lesson.started:
            last = max(r.started for r in self._kept.records.values())
            record = replace(record, started=last + 1, started_s=self._utc_s(), failures=0)
        else:
            record = replace(
                record, failures=record.failures + 1, failed_s=self._utc_s(), failure=lesson.detail
            )
            log.warning(
                "definition %d (%s) failed to start (%d times in a row): %s",
                record.number,
                choice.generation(record),
                record.failures,
                lesson.detail,
            )
        self._kept.put(record)

    def _live(self, new: Life | None) -> None:
        self._kept.standing = replace(self._kept.standing, life=new)

    @property
    def is_saved(self) -> bool:
        """The disk has all that is known; False for ever while it cannot be written."""
        return self._kept.is_written

    # for people

    def _verdict(self) -> choice.Verdict | None:
        head = self._kept.standing.head
        return choice.take(head, self._offer)[1] if self._offer is not None else None

    @property
    def account(self) -> ports.DefinitionAccount:
        now_s, running = self._utc_s(), self._kept.standing.life
        return ports.DefinitionAccount(
            choice=self._choice,
            chosen_age_s=max(0, now_s - self._choice.record.kept_s) if self._choice else None,
            running=running,
            running_record=self._kept.records.get(running.sha256) if running else None,
            running_age_s=max(0, now_s - running.since_s) if running else None,
            offered=self._offer,
            verdict=self._verdict(),
            trouble=self._troubled(),
            damaged=self._damaged,
            read_ago_ms=self._clock() - self._good_at if self._good_at is not None else None,
            kept=len(self._kept.records),
        )


def _source(reading: Reading) -> str:
    return f"OVF_STORE volume {reading.volume_id}, updated {reading.last_updated}"


def facts_of(definition: domainxml.Definition, reading: Reading) -> snapshot.Definition:
    """What the rules for a start ask of it."""
    return snapshot.Definition(
        vm_id=definition.vm_id,
        name=definition.name or definition.vm_id,
        sha256=hashlib.sha256(reading.document).hexdigest(),
        generation=definition.generation,
        memory_mib=definition.memory_mib,
        leases=tuple(
            snapshot.LeaseRef(
                domain_id=volume.domain_id, image_id=volume.image_id, volume_id=volume.volume_id
            )
            for volume in definition.volumes
            if volume.exclusive and volume.domain_id is not None
        ),
        source=_source(reading),
    )


def _with_other_leases(facts: snapshot.Definition, records: tuple[Record, ...]) -> snapshot.Definition:
    """safety: a snapshot moves a disk to another volume, with another lease; a VM that was started before
    it holds the old one, and both could be granted. So the leases of all kept definitions are watched."""
    disks = {ref.image_id for ref in facts.leases}
    others = {ref for r in records for ref in r.facts.leases if ref.image_id in disks} - set(facts.leases)
    return replace(facts, other_leases=tuple(sorted(others, key=lambda ref: ref.volume_id)))
