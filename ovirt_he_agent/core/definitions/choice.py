"""Which definition the next start uses: pure functions over the store's offer, the head and what is kept.

The rule. This host goes by the newest definition that the store offered (the
*head*). An older generation than the head's is never taken by itself: a store
that is torn in its newer copy shows one too. Only an operator can say that the
engine was restored from a backup and that its lower generations count from now
on (``ovf restore``); from then on the offered generation is the measure. What an
operator asks for holds until the store offers a newer generation than it had then.

The store torn, unreadable or without the VM changes nothing: the head is the
last good definition. A head that failed to start ``FAILURES`` times and never
started gives way to the one that was started last on this host; on a host that
never started the VM, to the one that came before it, unless that fails as well.
The next definition that the store offers is tried again.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ovirt_he_agent.core.definitions.record import Head, Record

FAILURES = 2
KEPT = 20


class Why(enum.StrEnum):
    """What the choice rests on."""

    STORE = "store"
    LAST_GOOD = "last good"
    RESTORED = "restored"
    FELL_BACK = "fell back"


class Verdict(enum.StrEnum):
    """What becomes of the store's offer."""

    TAKEN = "taken"
    OLDER = "older"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Offer:
    """The definition that the store holds, if it is good."""

    sha256: str
    generation: int | None


@dataclass(frozen=True, slots=True)
class Choice:
    record: Record
    why: Why
    reason: str | None
    """One sentence; None while the store's own definition is used."""


def take(head: Head | None, offer: Offer) -> tuple[Head, Verdict]:
    """The head after the store's offer, and what became of the offer."""
    accepted = Head(sha256=offer.sha256, floor=offer.generation)
    if head is None:
        return accepted, Verdict.TAKEN
    if offer.sha256 == head.sha256:
        # what an operator declined stays so: this may be the older copy of a store whose newer one is torn
        return (replace(head, floor=offer.generation) if head.asked else accepted), Verdict.TAKEN
    known = offer.generation is not None and head.floor is not None
    if head.asked and (
        offer.sha256 == head.declined or (known and (offer.generation or 0) <= (head.floor or 0))
    ):
        return head, Verdict.DECLINED
    if known and (offer.generation or 0) < (head.floor or 0):
        return head, Verdict.OLDER
    return accepted, Verdict.TAKEN


def newest(records: Sequence[Record]) -> Head | None:
    """The head if it was lost: the highest generation that is kept; None without any."""
    best = max(records, key=lambda r: (r.facts.generation or 0, r.number), default=None)
    return None if best is None else Head(sha256=best.sha256, floor=best.facts.generation)


def ask(head: Head | None, sha256: str, offer: Offer | None) -> Head:
    """The head after an operator asked for a kept definition while the store offered ``offer``."""
    declined: str | None = None
    floor: int | None = None
    before = None
    if head is not None:
        declined, floor = head.declined or head.sha256, head.floor
        before = head.before if head.asked else (head.sha256, head.floor)
    if offer is not None:
        declined, floor = offer.sha256, offer.generation
    return Head(
        sha256=sha256,
        floor=floor,
        asked=True,
        declined=declined if declined != sha256 else None,
        before=before,
    )


def take_back(head: Head | None) -> Head | None:
    """The head after an operator took the last such request back; nothing was asked: unchanged."""
    if head is None or not head.asked or head.before is None:
        return head
    return Head(sha256=head.before[0], floor=head.before[1])


def is_failing(record: Record) -> bool:
    """Its definition is to blame: it failed ``FAILURES`` times and never started."""
    return record.failures >= FAILURES and record.started == 0


def _before(record: Record, records: Sequence[Record]) -> Record | None:
    """What the engine ran elsewhere, as far as this host can tell."""
    earlier = max((r for r in records if r.number < record.number), key=lambda r: r.number, default=None)
    return None if earlier is None or is_failing(earlier) else earlier


def choose(
    records: Sequence[Record], head: Head | None, offer: Offer | None, trouble: str | None
) -> Choice | None:
    """What the next start uses; None only without any record.

    ``trouble`` says why the store's word does not count; ``offer`` is None then.
    """
    if not records:
        return None
    started = max((r for r in records if r.started), key=lambda r: r.started, default=None)
    record = next((r for r in records if head is not None and r.sha256 == head.sha256), None)
    if head is None or record is None:  # its file was lost
        record = started or max(records, key=lambda r: r.number)
        return Choice(record, Why.LAST_GOOD, trouble or "the one chosen before is not kept any more")
    if is_failing(record) and (instead := started or _before(record, records)) is not None:
        ground = "was started last" if instead.started else "came before it; no start of either is known here"
        return Choice(
            instead,
            Why.FELL_BACK,
            f"definition {record.number} ({generation(record)}) failed to start {record.failures} times and "
            f"this one {ground}; the store's next one is tried again; last failure: {record.failure}",
        )
    verdict = take(head, offer)[1] if offer is not None else None
    if verdict is Verdict.TAKEN:
        return Choice(record, Why.STORE, None)
    if head.asked:
        why = "an operator asked for it, it holds until the store has a newer generation"
        return Choice(record, Why.RESTORED, why)
    if verdict is not None and offer is not None:
        return Choice(record, Why.LAST_GOOD, _why_not(offer, record, records))
    return Choice(record, Why.LAST_GOOD, trouble or "the store has not been read yet")


def _why_not(offer: Offer, record: Record, records: Sequence[Record]) -> str:
    """What an operator has to know of an older generation."""
    theirs = next((str(r.number) for r in records if r.sha256 == offer.sha256), offer.sha256[:12])
    return (
        f"the store holds generation {offer.generation}, older than {record.facts.generation}; if the engine "
        f"was restored from a backup, accept it with `ovirt-he-agent ovf restore {theirs}`"
    )


def generation(record: Record) -> str:
    """For people."""
    known = record.facts.generation
    return "generation unknown" if known is None else f"generation {known}"


def superfluous(records: Sequence[Record], needed: set[str], most: int = KEPT) -> tuple[Record, ...]:
    """Which records to drop so that ``most`` are left: the oldest ones, but none that is worth keeping.

    Worth keeping: those with a hash in ``needed`` (what runs, the head, the store's offer), the one
    that started last, and the newest.
    """
    by_age = sorted(records, key=lambda r: r.number)
    if not by_age:
        return ()
    last = max(by_age, key=lambda r: r.started)
    keep = needed | {by_age[-1].sha256} | ({last.sha256} if last.started else set())
    idle = [r for r in by_age if r.sha256 not in keep]
    return tuple(idle[: max(0, len(by_age) - most)])
