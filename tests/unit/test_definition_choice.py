"""Which definition the next start uses: the rule, row by row, and for any history."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core.definitions import choice
from ovirt_he_agent.core.definitions.choice import Offer, Verdict, Why
from ovirt_he_agent.core.definitions.record import Head, Record
from tests import snapshots


def record(number: int, generation: int | None, *, started: int = 0, failures: int = 0) -> Record:
    return Record(
        number=number,
        facts=snapshots.definition(sha256=f"{number:064x}", generation=generation),
        document=b"<ovf/>",
        domain_xml="<domain/>",
        made="a test",
        warnings=(),
        kept_s=1_700_000_000 + number,
        started=started,
        failures=failures,
        failure="made up" if failures else None,
    )


def offer(of: Record) -> Offer:
    return Offer(of.sha256, of.facts.generation)


def head(of: Record) -> Head:
    return Head(sha256=of.sha256, floor=of.facts.generation)


RAN = record(1, 12, started=1)
EDITED = record(2, 13)
FROM_BACKUP = record(3, 5)
UNREADABLE = "the store is torn"


def test_the_stores_definition_is_used_when_it_is_good() -> None:
    assert choice.choose([RAN, EDITED], head(EDITED), offer(EDITED), None) == choice.Choice(
        EDITED, Why.STORE, None
    )


def test_without_anything_kept_there_is_no_choice() -> None:
    assert choice.choose([], head(RAN), offer(RAN), None) is None


def test_the_newest_one_that_was_taken_is_the_last_good_one_while_the_store_is_in_trouble() -> None:
    chosen = choice.choose([RAN, EDITED], head(EDITED), None, UNREADABLE)
    assert chosen == choice.Choice(EDITED, Why.LAST_GOOD, UNREADABLE)


@pytest.mark.parametrize(
    ("held", "offered", "verdict"),
    [
        (None, 12, Verdict.TAKEN),
        (12, 13, Verdict.TAKEN),
        (12, 12, Verdict.TAKEN),
        (12, 11, Verdict.OLDER),
        (None, None, Verdict.TAKEN),
        (12, None, Verdict.TAKEN),
    ],
)
def test_an_older_generation_is_not_taken_and_all_else_is(
    held: int | None, offered: int | None, verdict: Verdict
) -> None:
    before = head(record(1, held))
    after, said = choice.take(before, offer(record(2, offered)))
    assert said is verdict
    assert (after == before) is (verdict is not Verdict.TAKEN)


def test_an_older_generation_comes_with_what_an_operator_can_do() -> None:
    chosen = choice.choose([RAN, FROM_BACKUP], head(RAN), offer(FROM_BACKUP), None)
    assert chosen is not None
    assert (chosen.record, chosen.why) == (RAN, Why.LAST_GOOD)
    assert "older than 12" in (chosen.reason or "")
    assert "ovirt-he-agent ovf restore 3" in (chosen.reason or "")


def test_a_lost_head_is_the_highest_generation_that_is_kept() -> None:
    assert choice.newest([RAN, EDITED, FROM_BACKUP]) == head(EDITED)
    assert choice.newest([]) is None


# An edit that does not start


def test_an_edit_that_failed_once_is_tried_again() -> None:
    edited = replace(EDITED, failures=1, failure="x")
    chosen = choice.choose([RAN, edited], head(edited), offer(edited), None)
    assert chosen is not None
    assert chosen.record is edited


def test_an_edit_that_failed_twice_gives_way_to_the_one_that_was_started_last() -> None:
    before, edited = record(4, 11, started=2), replace(EDITED, failures=2, failure="no such machine")
    chosen = choice.choose([RAN, before, edited], head(edited), offer(edited), None)
    assert chosen is not None
    assert (chosen.record, chosen.why) == (before, Why.FELL_BACK)
    assert "failed to start 2 times" in (chosen.reason or "")
    assert "no such machine" in (chosen.reason or "")


def test_the_next_edit_is_tried_although_the_one_before_failed() -> None:
    failed, newer = replace(EDITED, failures=2, failure="x"), record(3, 14)
    chosen = choice.choose([RAN, failed, newer], *taken(head(failed), newer))
    assert chosen == choice.Choice(newer, Why.STORE, None)


def taken(before: Head, of: Record) -> tuple[Head, Offer, None]:
    return choice.take(before, offer(of))[0], offer(of), None


def test_where_none_was_ever_started_the_one_before_it_is_tried() -> None:
    first, edited = record(1, 12), replace(EDITED, failures=2, failure="x")
    chosen = choice.choose([first, edited], *taken(head(edited), edited))
    assert chosen is not None
    assert (chosen.record, chosen.why) == (first, Why.FELL_BACK)
    assert "no start of either is known here" in (chosen.reason or "")


def test_a_failing_definition_is_kept_to_when_there_is_no_better_one() -> None:
    edited = replace(EDITED, failures=7, failure="x")
    for others in ([], [record(1, 12, failures=2)]):
        chosen = choice.choose([*others, edited], *taken(head(edited), edited))
        assert chosen is not None
        assert (chosen.record, chosen.why) == (edited, Why.STORE)


def test_a_definition_that_started_before_is_not_to_blame_when_it_fails_later() -> None:
    assert not choice.is_failing(record(1, 12, started=1, failures=5))


# What an operator asks for


def test_what_an_operator_asked_for_holds_until_the_store_has_a_newer_generation() -> None:
    asked = choice.ask(head(EDITED), RAN.sha256, offer(EDITED))
    assert choice.take(asked, offer(EDITED)) == (asked, Verdict.DECLINED)
    exported_again = Offer("e" * 64, 13)
    assert choice.take(asked, exported_again) == (asked, Verdict.DECLINED)
    chosen = choice.choose([RAN, EDITED], asked, offer(EDITED), None)
    assert chosen is not None
    assert (chosen.record, chosen.why) == (RAN, Why.RESTORED)
    newer, verdict = choice.take(asked, Offer("f" * 64, 14))
    assert (newer.sha256, newer.asked, verdict) == ("f" * 64, False, Verdict.TAKEN)


@pytest.mark.parametrize("readable", [True, False], ids=["store readable", "agent down"])
def test_an_accepted_backup_is_the_measure_from_then_on(readable: bool) -> None:
    held = choice.ask(head(RAN), FROM_BACKUP.sha256, offer(FROM_BACKUP) if readable else None)
    held, verdict = choice.take(held, offer(FROM_BACKUP))
    assert verdict is Verdict.TAKEN
    assert choice.choose([RAN, FROM_BACKUP], held, offer(FROM_BACKUP), None) == choice.Choice(
        FROM_BACKUP, Why.STORE, None
    )
    after, verdict = choice.take(held, Offer("6" * 64, 6))
    assert (after.sha256, verdict) == ("6" * 64, Verdict.TAKEN)
    assert choice.take(after, offer(FROM_BACKUP))[1] is Verdict.OLDER


def test_the_older_copy_of_a_torn_store_does_not_end_an_operators_choice() -> None:
    asked = choice.ask(head(EDITED), RAN.sha256, offer(EDITED))
    asked, _ = choice.take(asked, offer(RAN))  # the newer copy is torn
    assert choice.take(asked, offer(EDITED)) == (asked, Verdict.DECLINED)


def test_undo_goes_back_to_what_was_before_and_only_that() -> None:
    asked = choice.ask(choice.ask(head(EDITED), RAN.sha256, None), FROM_BACKUP.sha256, None)
    assert choice.take_back(asked) == head(EDITED)
    assert choice.take_back(head(EDITED)) == head(EDITED)
    assert choice.take_back(None) is None


# Any history

GENERATIONS = st.one_of(st.none(), st.integers(0, 5))
RECORDS = st.lists(st.tuples(GENERATIONS, st.booleans(), st.integers(0, 3)), min_size=0, max_size=30).map(
    lambda rows: [
        record(n, g, started=n if s else 0, failures=f) for n, (g, s, f) in enumerate(rows, start=1)
    ]
)


@given(RECORDS, st.data())
def test_any_history_gives_one_of_what_is_kept_and_never_a_failing_one_beside_one_that_started(
    records: list[Record], data: st.DataObject
) -> None:
    held: Head | None = None
    offered: Offer | None = None
    for _ in range(data.draw(st.integers(0, 6))):
        if not records:
            break
        one = data.draw(st.sampled_from(records))
        match data.draw(st.sampled_from(["store", "ask", "undo"])):
            case "store":
                offered = offer(one)
                held, verdict = choice.take(held, offered)
                assert choice.take(held, offered) == (held, verdict)  # once said, it stays so
            case "ask":
                held = choice.ask(held, one.sha256, offered)
            case _:
                held = choice.take_back(held)
    trouble = data.draw(st.sampled_from([None, UNREADABLE]))
    chosen = choice.choose(records, held, None if trouble else offered, trouble)
    assert chosen == choice.choose(list(reversed(records)), held, None if trouble else offered, trouble)
    if chosen is None:
        assert not records
        return
    assert chosen.record in records
    assert (chosen.reason is None) is (chosen.why is Why.STORE)
    if any(r.started for r in records):
        assert not choice.is_failing(chosen.record)


@given(RECORDS, st.sets(st.integers(1, 30), max_size=3))
def test_pruning_leaves_twenty_and_what_is_needed(records: list[Record], needed: set[int]) -> None:
    wanted = {f"{number:064x}" for number in needed}
    dropped = choice.superfluous(records, wanted)
    left = [r for r in records if r not in dropped]
    assert len(left) == min(len(records), choice.KEPT)
    assert not {r.sha256 for r in dropped} & wanted
    if records:
        assert records[-1] in left
    started = [r for r in records if r.started]
    if started:
        assert started[-1] in left
