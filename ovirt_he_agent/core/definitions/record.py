"""What is kept of definitions: each one that was good, which one this host goes by, which one runs.

Times are seconds since 1970, UTC, by the host's clock: for people, and never compared by a rule.
"""

from dataclasses import dataclass, field

from ovirt_he_agent.core import snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A definition that could be started when it came, with all that a start of it needs."""

    number: int
    """Its own for ever; grows with every definition that comes."""
    facts: snapshot.Definition
    document: bytes = field(repr=False)
    """The OVF. May hold passwords, as ``domain_xml`` may."""
    domain_xml: str = field(repr=False)
    made: str
    """How ``domain_xml`` was made of the document: as is, repaired, generated."""
    warnings: tuple[str, ...]
    kept_s: int
    made_because: str | None = None
    """Why it was not left as it is; None: it was."""
    started: int = 0
    """Starts of this host are counted: the number of its last one that went well; 0: none did."""
    started_s: int | None = None
    failures: int = 0
    """Starts that failed for a reason in the definition since the last one that went well."""
    failed_s: int | None = None
    failure: str | None = None
    """What was said of the last failed start."""

    @property
    def sha256(self) -> str:
        return self.facts.sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The definition that this host goes by, unless it fails to start."""

    sha256: str
    floor: int | None
    """The generation that the store's definition must not be below; None: unknown."""
    asked: bool = False
    """An operator asked for it (``ovf restore``)."""
    declined: str | None = None
    """With ``asked``: hash of what the store had then, which is not wanted."""
    before: tuple[str, int | None] | None = None
    """With ``asked``: hash and floor to go back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The start that was given last, until the VM's end is seen."""

    sha256: str
    since_s: int
    up: bool = False
    """VDSM has said that the VM is Up."""
    command: int | None = None
    """Number of the start command, if this process gave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All but the records: what must be known again after a restart of the daemon."""

    head: Head | None = None
    life: Life | None = None
    request_id: str | None = None
    """The operator's request that was taken into account last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``ovf restore``: go by this definition; None: take the last such request back."""

    id: str
    sha256: str | None
    at_s: int
