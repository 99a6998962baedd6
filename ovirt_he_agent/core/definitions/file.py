"""The files of what is kept, bytes to values and back: a line with the kind and a checksum, then JSON.

Whatever is not exactly what was written is refused: cut, altered, or somebody else's.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ovirt_he_agent.core import snapshot
from ovirt_he_agent.core.definitions.record import Head, Life, Record, Request, Standing
from ovirt_he_agent.errors import BadInput

FORMAT = 1
MAX_BYTES = 64 << 20
"""No file is larger: a document is at most 8 MiB, and its text at most twice that here, beside the XML."""
_RECORD, _STANDING, _REQUEST = "definition", "standing", "request"


@dataclass(eq=False)
class BadFile(BadInput):
    """Not a file of ours, or not whole."""

    reason: str
    msg: ClassVar[str] = "{self.reason}"


def of_record(record: Record) -> bytes:
    facts = record.facts
    return _file(
        _RECORD,
        {
            "number": record.number,
            "vm_id": facts.vm_id,
            "name": facts.name,
            "sha256": facts.sha256,
            "generation": facts.generation,
            "memory_mib": facts.memory_mib,
            "leases": [[ref.domain_id, ref.image_id, ref.volume_id] for ref in facts.leases],
            "source": facts.source,
            "made": record.made,
            "made_because": record.made_because,
            "warnings": list(record.warnings),
            "kept_s": record.kept_s,
            "started": record.started,
            "started_s": record.started_s,
            "failures": record.failures,
            "failed_s": record.failed_s,
            "failure": record.failure,
            # as text, so that people can read it; the bytes come back exactly
            "document": record.document.decode("utf-8", "surrogateescape"),
            "domain_xml": record.domain_xml,
        },
    )


def record(data: bytes) -> Record:
    """Raises ``BadFile``."""
    given = _Fields(_content(_RECORD, data))
    document = given.text("document").encode("utf-8", "surrogateescape")
    sha256 = given.text("sha256")
    if hashlib.sha256(document).hexdigest() != sha256:
        raise BadFile("the document in it is another one than its sha256 says")
    return Record(
        number=given.number("number"),
        facts=snapshot.Definition(
            vm_id=given.text("vm_id"),
            name=given.text("name"),
            sha256=sha256,
            generation=given.maybe_number("generation"),
            memory_mib=given.number("memory_mib"),
            leases=given.leases("leases"),
            source=given.text("source"),
        ),
        document=document,
        domain_xml=given.text("domain_xml"),
        made=given.text("made"),
        made_because=given.maybe_text("made_because"),
        warnings=given.texts("warnings"),
        kept_s=given.number("kept_s"),
        started=given.number("started"),
        started_s=given.maybe_number("started_s"),
        failures=given.number("failures"),
        failed_s=given.maybe_number("failed_s"),
        failure=given.maybe_text("failure"),
    )


def of_standing(standing: Standing) -> bytes:
    head, life = standing.head, standing.life
    return _file(
        _STANDING,
        {
            "head": None
            if head is None
            else {
                "sha256": head.sha256,
                "floor": head.floor,
                "asked": head.asked,
                "declined": head.declined,
                "before_sha256": head.before[0] if head.before else None,
                "before_floor": head.before[1] if head.before else None,
            },
            "life": None if life is None else {"sha256": life.sha256, "since_s": life.since_s, "up": life.up},
            "request_id": standing.request_id,
        },
    )


def standing(data: bytes) -> Standing:
    """Raises ``BadFile``. The command of a life is not in it: it was another process's."""
    given = _Fields(_content(_STANDING, data))
    head, life = given.maybe_fields("head"), given.maybe_fields("life")
    return Standing(
        head=None if head is None else _head(head),
        life=None
        if life is None
        else Life(sha256=life.text("sha256"), since_s=life.number("since_s"), up=life.flag("up")),
        request_id=given.maybe_text("request_id"),
    )


def _head(given: "_Fields") -> Head:
    before = given.maybe_text("before_sha256")
    return Head(
        sha256=given.text("sha256"),
        floor=given.maybe_number("floor"),
        asked=given.flag("asked"),
        declined=given.maybe_text("declined"),
        before=None if before is None else (before, given.maybe_number("before_floor")),
    )


def of_request(request: Request) -> bytes:
    return _file(_REQUEST, {"id": request.id, "sha256": request.sha256, "at_s": request.at_s})


def request(data: bytes) -> Request:
    """Raises ``BadFile``."""
    given = _Fields(_content(_REQUEST, data))
    return Request(id=given.text("id"), sha256=given.maybe_text("sha256"), at_s=given.number("at_s"))


def as_read_again(standing: Standing) -> Standing:
    """What ``standing`` is after it was written and read."""
    life = standing.life
    return standing if life is None else replace(standing, life=replace(life, command=None))


def _file(kind: str, content: dict[str, Any]) -> bytes:
    body = json.dumps(content, indent=1).encode("ascii") + b"\n"
    return b"%s %s\n%s" % (_mark(kind), hashlib.sha256(body).hexdigest().encode(), body)


def _mark(kind: str) -> bytes:
    return f"ovirt-he-agent {kind} {FORMAT}".encode()


def _content(kind: str, data: bytes) -> dict[str, Any]:
    first, _, body = data.partition(b"\n")
    mark, _, checksum = first.rpartition(b" ")
    if mark != _mark(kind):
        raise BadFile(f"it is no {kind} file of this agent (format {FORMAT})")
    if checksum != hashlib.sha256(body).hexdigest().encode():
        raise BadFile("it is cut or was altered: its checksum is wrong")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise BadFile(f"it is no JSON: {e}") from e
    if not isinstance(content, dict):
        raise BadFile("it holds no fields")
    return content


class _Fields:
    """Values by name; each method raises ``BadFile`` naming the field."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given

    def _typed(self, name: str, kind: type, what: str) -> Any:
        value = self._given.get(name)
        if type(value) is not kind:
            raise BadFile(f"its field {name} is no {what}")
        return value

    def text(self, name: str) -> str:
        value: str = self._typed(name, str, "text")
        return value

    def number(self, name: str) -> int:
        value: int = self._typed(name, int, "number")
        return value

    def flag(self, name: str) -> bool:
        value: bool = self._typed(name, bool, "flag")
        return value

    def maybe_text(self, name: str) -> str | None:
        return None if self._given.get(name) is None else self.text(name)

    def maybe_number(self, name: str) -> int | None:
        return None if self._given.get(name) is None else self.number(name)

    def maybe_fields(self, name: str) -> "_Fields | None":
        return None if self._given.get(name) is None else _Fields(self._typed(name, dict, "object"))

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._typed(name, list, "list")
        if not all(type(value) is str for value in values):
            raise BadFile(f"its field {name} is no list of texts")
        return tuple(values)

    def leases(self, name: str) -> tuple[snapshot.LeaseRef, ...]:
        values = self._typed(name, list, "list")
        for value in values:
            if type(value) is not list or len(value) != 3 or not all(type(word) is str for word in value):
                raise BadFile(f"its field {name} is no list of leases")
        return tuple(snapshot.LeaseRef(domain_id=d, image_id=i, volume_id=v) for d, i, v in values)
