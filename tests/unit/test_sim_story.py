"""The language of stories: what is read is what is written, and what makes no sense is said with its line."""

import pytest

from ovirt_he_agent.errors import ExitCode
from ovirt_he_agent.sim.cluster import chance, deeds, play, story

WHOLE = """\
hosts 4 upstream 1 seed 3 boot-time 20.5 io-timeout 5 watchdog 30 jitter 300 ids 2=1,4=7
off 3
at 10 power 3 on
at 12.5 must start within 30 on 1
until 100
rest
"""


def test_a_story_is_written_as_it_is_read() -> None:
    told = story.parse(WHOLE)
    assert (told.setup.hosts, told.setup.upstream, told.setup.watchdog_s) == (4, 1, 30)
    assert told.setup.ids == {2: 1, 4: 7}
    assert (told.off, told.rest, told.until_s) == (frozenset({3}), True, 100.0)
    assert str(told) == WHOLE


@pytest.mark.parametrize("seed", range(30))
def test_a_random_story_is_read_back_whole(seed: int) -> None:
    told = chance.story(seed)
    assert story.parse(str(told)) == told


def test_comments_and_the_order_of_lines_do_not_matter() -> None:
    told = story.parse("# nothing\n\nat 20 vm crash  # late\nat 10 vm reboot\n")
    assert [step.at_s for step in told.steps] == [10, 20]
    assert told.until_s == 620


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("hosts 3\nat 5 explode\n", "line 2 of the story, 'at 5 explode'", "unknown deed explode"),
        ("hosts 3\n\nat five vm crash\n", "line 3", "could not convert"),
        ("hosts three\n", "line 1", "invalid literal"),
        ("hosts\n", "line 1", "hosts has no value"),
        ("seed 1 colour red\n", "line 1", "unknown colour"),
        ("at 5 must be good\n", "line 1", "known are: run [on N]"),
        ("whenever\n", "line 1", "a line begins with"),
        ("hosts 2 upstream 3\n", "hosts 2 upstream 3", "no cluster"),
    ],
)
def test_what_makes_no_sense_is_said_with_its_line(text: str, line: str, reason: str) -> None:
    with pytest.raises(story.BadStory) as caught:
        story.parse(text)
    assert line in str(caught.value)
    assert reason in str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    "deed",
    ["power 7 on", "power 1 maybe", "vm explode", "agent 1 freeze soon", "slot 1", "must phase 1 happy"],
)
def test_arguments_that_make_no_sense_are_said_with_the_deed(deed: str) -> None:
    with pytest.raises(deeds.BadDeed, match=deed) as caught:
        play.play(story.parse(f"hosts 2\nat 1 {deed}\nuntil 2\n"))
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_must_that_does_not_hold_is_a_violation() -> None:
    told = story.parse(
        "hosts 1\nat 10 must run\nat 10 must no start 60\nat 80 must good within 30\nuntil 120\n"
    )
    broken = play.play(told).violations
    assert [(v.invariant, v.ms, v.text) for v in broken] == [
        ("must", 10_000, "must run"),
        ("must", 70_000, "must no start 60"),
    ]


def test_the_same_story_gives_the_same_history() -> None:
    told = chance.story(5, hosts=3, minutes=12)
    first, second = play.play(told), play.play(told)
    assert play.log_of(first.lines) == play.log_of(second.lines)
    assert first.rows == second.rows


def test_the_shortest_story_keeps_what_it_takes() -> None:
    told = story.parse("\n".join([*(f"at {n} load 1 0.{n}" for n in range(1, 9)), "at 9 vm crash"]))

    def broken(shorter: story.Story) -> bool:
        return {"load 1 0.3", "load 1 0.7"} <= {" ".join(step.words) for step in shorter.steps}

    assert [step.at_s for step in play.shortest(told, broken).steps] == [3, 7]
