"""The text of a vm.conf to the legacy parameters of the VM.

The format has no quoting: white space anywhere is deleted, ``#`` ends a line,
braces and commas are structure. What the text means is said by the parser that
tools use (ovirt-hosted-engine-setup: src/ovirt_hosted_engine_setup/vmconf.py);
this one gives the same parameters, and names line and key where that one ends
in a traceback. Two things differ on purpose: ``xmlBase64`` must be base64, and
``launchPaused`` stays a key of its own instead of being written into the XML
(there, ``launchPaused=false`` paused the VM).
"""

import base64
import contextlib
import re
from collections.abc import Iterator
from typing import Any

from ovirt_he_agent.errors import BadInput
from ovirt_he_agent.ovf import record

MAX_BYTES = 8 << 20
"""Largest vm.conf, in bytes; usual are 1 to 40 KiB."""
MAX_DEPTH = 16
"""Deepest nesting of braces; two are in use."""

GROUPS = ("guestNumaNodes", "drive", "devices")
"""Keys that may come several times: each line is one more."""
_NAME_OF = {"drive": "drives"}
_MAPS = ("cpuPinning", "numaTune")
_PATHS = ("cdrom", "floppy")
CUSTOM = "custom_"
_NOT_PLAIN = ("custom", "drives", "xml", *GROUPS, *_MAPS)
_ITEM_IDS = ("domain", "pool", "image", "volume")
_MORE_IMAGES = ("hdb", "hdc", "hdd")
_VALUE_END = re.compile("[,}]")


class BadVmConf(BadInput):
    """The text is no vm.conf; the message names the line and the key."""

    msg = "{self.where}{self.reason}; mend that, or give another vm.conf"

    def __init__(self, reason: str, *, line: int | None = None, key: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.key = key

    @property
    def where(self) -> str:
        parts = [f"line {self.line}"] if self.line is not None else []
        parts += [f"key {record.shown(self.key)}"] if self.key is not None else []
        return f"{', '.join(parts)}: " if parts else ""


def read(data: bytes) -> dict[str, Any]:
    """The parameters that a vm.conf's bytes stand for. Raises ``BadVmConf``."""
    if len(data) > MAX_BYTES:
        raise BadVmConf(f"it is larger than {MAX_BYTES >> 20} MiB, so it is no vm.conf")
    try:
        return parse(data.decode())
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise BadVmConf(f"byte {e.start} is not UTF-8", line=line) from None


def parse(text: str) -> dict[str, Any]:
    """The parameters: texts by key, except these. Raises ``BadVmConf``.

    ``devices``, ``drives``, ``guestNumaNodes``: lists of maps (a bare word stays one);
    ``custom``, ``cpuPinning``, ``numaTune``: maps; ``xml``: what ``xmlBase64`` holds.
    """
    parsed = _Parsed()
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        bare = "".join(line.split()).partition("#")[0]
        if not bare:
            continue
        key, equals, value = bare.partition("=")
        with _at(number, key):
            parsed.take(number, key, value if equals else None)
    return parsed.params()


@contextlib.contextmanager
def _at(line: int, key: str) -> Iterator[None]:
    try:
        yield
    except BadVmConf as e:
        raise BadVmConf(e.reason, line=line, key=key) from None


class _Parsed:
    """What the lines so far say."""

    def __init__(self) -> None:
        self._plain: dict[str, Any] = {}
        self._groups: dict[str, list[Any]] = {key: [] for key in GROUPS}
        self._maps: dict[str, dict[str, Any]] = {}
        self._line_of: dict[str, int] = {}

    def take(self, line: int, key: str, value: str | None) -> None:
        """One line; ``value`` None: there was no ``=``. The last line of a plain key counts."""
        if value is None and key in _NOT_PLAIN:
            raise BadVmConf("it has no value")
        if key in GROUPS:
            self._groups[key].append(_spec(value or ""))
        elif key in _MAPS:
            self._maps[key] = _nested(value or "")[0]
        elif value is not None and key.startswith(CUSTOM):
            self._plain.setdefault("custom", {})[key.removeprefix(CUSTOM)] = value
        elif key in _NOT_PLAIN:
            raise BadVmConf(f"it cannot be given like this{_INSTEAD.get(key, '')}")
        elif key in _PATHS and value is not None:
            self._plain[key] = _spec(value)
        elif key == "xmlBase64":
            self._plain["xml"] = _decoded(value or "")
        else:
            self._plain[key] = value or ""
            self._line_of[key] = line

    def params(self) -> dict[str, Any]:
        params = self._plain | {key: pairs for key, pairs in self._maps.items() if pairs}
        params |= {_NAME_OF.get(key, key): specs for key, specs in self._groups.items() if specs}
        for key, also in (("vt", "kvmEnable"), ("imageFile", "hda")):
            if key in params:
                params[also] = params[key]
        if "moreImages" in params:
            with _at(self._line_of["moreImages"], "moreImages"):
                params |= _more_images(params["moreImages"])
        return params


_INSTEAD = {
    "custom": ": write custom_NAME=VALUE",
    "drives": ": write one drive= line for each",
    "xml": ", white space in it would be lost: write xmlBase64=",
}


def _more_images(value: str) -> dict[str, str]:
    images = value.split(",")
    if len(images) > len(_MORE_IMAGES):
        raise BadVmConf(f"it holds {len(images)} images, where {len(_MORE_IMAGES)} can be")
    return dict(zip(_MORE_IMAGES, images, strict=False))


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:  # binascii.Error and UnicodeDecodeError are some
        raise BadVmConf("it does not hold the base64 of a text") from None


def _spec(value: str) -> Any:
    """``{name:value,...}``; or ``name:value,name:value`` as drives once were; or one word."""
    if not value:
        raise BadVmConf("it has no value")
    if value.startswith("{"):
        spec, end = _nested(value)
        if end != len(value):
            raise BadVmConf(f"there is text after the closing brace: {record.shown(value[end:])}")
        return spec
    if "," not in value:
        return value
    items: dict[str, str] = {}
    for item in filter(None, value.split(",")):
        name, colon, text = item.partition(":")
        if not colon:
            raise BadVmConf(f"{record.shown(item)} is not NAME:VALUE")
        items[f"{name}ID" if name in _ITEM_IDS else name] = text
    return items


def _nested(text: str) -> tuple[dict[str, Any], int]:
    """The map that ``text`` begins with, and where the text goes on after its closing brace."""
    if not text.startswith("{"):
        raise BadVmConf(f"{record.shown(text)} does not begin with a brace")
    return _map(text, 1, text.rfind("}"), depth=1)


def _map(text: str, at: int, last_brace: int, *, depth: int) -> tuple[dict[str, Any], int]:
    if depth > MAX_DEPTH:
        raise BadVmConf(f"it nests braces more than {MAX_DEPTH} deep")
    pairs: dict[str, Any] = {}
    while not text.startswith("}", at):
        if last_brace < at:
            raise BadVmConf("a closing brace is missing")
        colon = text.find(":", at)
        if colon < 0:
            raise BadVmConf(f"{record.shown(text[at:])} is not NAME:VALUE")
        name, at = text[at:colon], colon + 1
        if text.startswith("{", at):
            pairs[name], at = _map(text, at + 1, last_brace, depth=depth + 1)
        else:
            end = _VALUE_END.search(text, at)
            if end is None:
                raise BadVmConf("a closing brace is missing")
            pairs[name], at = text[at : end.start()], end.start()
        if text.startswith(",", at):
            at += 1
    return pairs, at + 1
