"""What is done to three hosts while real sanlock daemons are recorded: who, what, and when."""

from dataclasses import dataclass

HOSTS = ("a", "b", "c")
LOCKSPACE = "lockspace"
RESOURCES = ("vm", "vm2")
IO_TIMEOUT_S = 1


@dataclass(frozen=True, slots=True)
class Action:
    """``do``, of ``host``, ``at_s`` after the start.

    join, leave: ``what`` is the host id; acquire: the resource, by a process that
    holds it until it is ended; end: kill the processes whose name begins with
    ``what`` ("agent": who asked to join; "holder"); kill, start: the daemon;
    disk: ``what`` is "fails" or "works".
    """

    at_s: float
    host: str
    do: str
    what: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    about: str
    end_s: float
    actions: tuple[Action, ...]
    faulty: bool = False
    """Each host has its own way to the storage, which can fail."""

    def watched(self, host: str) -> list[int]:
        """Host ids that this host ever asks for."""
        return sorted({int(a.what) for a in self.actions if a.host == host and a.do == "join"})


def _joins(at_s: float = 0.5) -> tuple[Action, ...]:
    return tuple(Action(at_s + n * 0.3, host, "join", str(n + 1)) for n, host in enumerate(HOSTS))


SCENARIOS = {
    "join": Scenario(
        "hosts join one after the other; a lease is taken, refused, freed by its holder's death, taken again",
        26,
        (
            Action(0.5, "a", "join", "1"),
            Action(7, "b", "join", "2"),
            Action(7.3, "c", "join", "3"),
            Action(13, "a", "acquire", "vm"),
            Action(15, "b", "acquire", "vm"),
            Action(17, "a", "end", "holder"),
            Action(18, "b", "acquire", "vm"),
            Action(20, "c", "acquire", "vm"),
        ),
    ),
    "leave": Scenario(
        "a host leaves and comes back; another leaves while a process of it holds a lease",
        36,
        (
            *_joins(),
            Action(9, "a", "leave", "1"),
            Action(17, "a", "join", "1"),
            Action(22, "b", "acquire", "vm"),
            Action(25, "b", "leave", "2"),
            Action(31, "c", "acquire", "vm"),
        ),
    ),
    "host_death": Scenario(
        "daemon and lease holder die together; an early attempt is refused, a later one waits and succeeds",
        100,
        (
            *_joins(),
            Action(9, "a", "acquire", "vm"),
            Action(12, "a", "kill"),
            Action(12, "a", "end", "holder"),
            Action(12.5, "b", "acquire", "vm"),
            Action(20, "c", "acquire", "vm"),
            Action(92, "b", "acquire", "vm"),
        ),
    ),
    "orphan": Scenario(
        "a daemon dies and comes back under the same host name; its lease is free although the holder lives",
        36,
        (
            *_joins(),
            Action(9, "a", "acquire", "vm"),
            Action(12, "a", "kill"),
            Action(16, "a", "start"),
            Action(17, "a", "join", "1"),
            Action(22, "a", "acquire", "vm2"),
            Action(27, "b", "acquire", "vm"),
            Action(31, "c", "acquire", "vm2"),
        ),
    ),
    "generation_rise": Scenario(
        "an attempt waits for the lease of a dead host and gets it when that host joins again",
        40,
        (
            *_joins(),
            Action(9, "a", "acquire", "vm"),
            Action(12, "a", "kill"),
            Action(12, "a", "end", "holder"),
            Action(20, "b", "acquire", "vm"),
            Action(26, "a", "start"),
            Action(27, "a", "join", "1"),
        ),
    ),
    "agent_death": Scenario(
        "who asked to join dies; the lockspace lives on, and asking again changes nothing",
        30,
        (
            *_joins(),
            Action(9, "a", "end", "agent"),
            Action(20, "a", "join", "1"),
        ),
    ),
    "held_id": Scenario(
        "a host asks for the id of a live host, is refused after 8T + W, and then gets a free one",
        95,
        (
            Action(0.5, "a", "join", "1"),
            Action(0.8, "c", "join", "3"),
            Action(8, "b", "join", "1"),
            Action(86, "b", "join", "2"),
        ),
    ),
    "dead_id": Scenario(
        "a host takes the id of a dead host under another host name; the dead one's lease is free then",
        108,
        (
            Action(0.5, "a", "join", "1"),
            Action(0.8, "c", "join", "3"),
            Action(7, "a", "acquire", "vm"),
            Action(10, "a", "kill"),
            Action(10, "a", "end", "holder"),
            Action(20, "b", "join", "1"),
            Action(100, "c", "acquire", "vm"),
        ),
    ),
    "late_view": Scenario(
        "a host joins when another has just died: unknown, failing, dead; its attempt waits as long",
        102,
        (
            Action(0.5, "a", "join", "1"),
            Action(0.8, "b", "join", "2"),
            Action(7, "a", "acquire", "vm"),
            Action(10, "a", "kill"),
            Action(10, "a", "end", "holder"),
            Action(13, "c", "join", "3"),
            Action(24, "c", "acquire", "vm"),
        ),
    ),
    "disk_lost": Scenario(
        "a host loses its storage: its holder is killed; when the storage is back the host joins again",
        100,
        (
            *_joins(),
            Action(9, "a", "acquire", "vm"),
            Action(12, "a", "disk", "fails"),
            Action(13, "b", "acquire", "vm2"),
            Action(88, "a", "disk", "works"),
            Action(90, "a", "join", "1"),
        ),
        faulty=True,
    ),
}
