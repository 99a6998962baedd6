"""One element's values by name, decoded once; every complaint names the element and the value.

A value that decides how data is read (a size, a count, a disk's bus) must be
right or the document is refused; anything else becomes None with a warning.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from lxml import etree

from ovirt_he_agent.ovf import problems

RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
_SHOWN = 60
_BOOLEANS = {"true": True, "false": False}
MOST_DEVICES = 5000
"""Of items and of ``Disk`` elements; an item of the engine's takes so much text that 8 MiB hold fewer."""

Word = TypeVar("Word", bound=enum.StrEnum)


def number(text: str) -> int | None:
    """A whole number in decimal digits; None if ``text`` is none."""
    text = text.strip()
    digits = text[1:] if text.startswith(("+", "-")) else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def is_uuid(text: str) -> bool:
    """Five groups of hexadecimal digits, in either letter case."""
    groups = text.split("-")
    return [len(group) for group in groups] == [8, 4, 4, 4, 12] and not (
        "".join(groups).strip("0123456789abcdefABCDEF")
    )


def shown(text: str) -> str:
    """A value for a message: quoted, on one line, cut."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


class Record:
    """Texts by name. ``what`` names the element in messages and may be set when its name is known."""

    def __init__(self, texts: Mapping[str, str], what: str, warnings: problems.Warnings) -> None:
        self._texts = texts
        self.what = what
        self.warnings = warnings

    def warn(self, text: str) -> None:
        self.warnings.add(f"{self.what}: {text}")

    def report_unknown(self, known: frozenset[str]) -> None:
        """Warn of every name that is not ``known``."""
        if not known.issuperset(self._texts):
            report_unknown(self._texts, known, self.what, self.warnings)

    def raw(self, name: str) -> str | None:
        """The text; None only if the element is absent."""
        return self._texts.get(name)

    def text(self, name: str) -> str | None:
        """The text, unchanged; None if it is absent or empty."""
        return self._texts.get(name) or None

    def word(self, name: str) -> str | None:
        """As ``text``, but Java's word for a missing value counts as absent too."""
        text = self.text(name)
        return None if text is None or text.strip() == "null" else text

    def boolean(self, name: str, *, default: bool) -> bool:
        text = self.word(name)
        if text is None:
            return default
        value = _BOOLEANS.get(text)
        if value is None:
            value = _BOOLEANS.get(text.strip().lower())
        if value is None:
            self.warn(
                f"{_local(name)} is {shown(text)}, neither true nor false; taken as {str(default).lower()}"
            )
            return default
        return value

    def count(self, name: str, *, at_least: int = 0) -> int | None:
        """A size or a count; refuses what is no number or smaller than ``at_least``."""
        text = self.text(name)
        if text is None:
            return None
        value = number(text)
        if value is None or value < at_least:
            raise problems.BadDocument(
                f"{self.what}: {_local(name)} is {shown(text)}, not a number of {at_least} or more"
            )
        return value

    def integer(self, name: str, *, lowest: int, highest: int | None = None) -> int | None:
        """A number that is not a size; None with a warning if it is out of its range."""
        text = self.word(name)
        if text is None:
            return None
        value = number(text)
        if value is None or value < lowest or (highest is not None and value > highest):
            self.warn(f"{_local(name)} is {shown(text)}, which is not known")
            return None
        return value

    def parts(self, name: str, separator: str, *, at_most: int) -> list[str]:
        """The non-empty parts of a list in one text."""
        text = self.text(name) or ""
        if text.count(separator) >= at_most:
            raise problems.Hostile(f"{self.what}: {_local(name)} has more than {at_most} parts")
        return [part for part in text.split(separator) if part]

    def properties(self, name: str, *, at_most: int = 100) -> dict[str, str]:
        """``key=value;key=value``; a value may hold anything but a semicolon."""
        if not self._texts.get(name):
            return {}
        properties: dict[str, str] = {}
        for part in self.parts(name, ";", at_most=at_most):
            key, _, value = part.partition("=")
            properties[key] = value
        return properties

    def switch(self, name: str) -> bool | None:
        """A boolean that nothing is assumed for; None with a warning if it is neither true nor false."""
        text = self.word(name)
        if text is None:
            return None
        value = _BOOLEANS.get(text.strip().lower())
        if value is None:
            self.warn(f"{_local(name)} is {shown(text)}, neither true nor false; taken as not given")
        return value

    def instance_id(self) -> str | None:
        """In both spellings that the engine reads."""
        return self.text(RASD + "InstanceId") or self.text(RASD + "InstanceID")

    def boot_order(self) -> int | None:
        """The device's place in the boot order; 0 means none."""
        return self.integer("BootOrder", lowest=0) or None

    def address(self) -> dict[str, str] | None:
        """The text of a Java map, ``{type=pci, slot=0x06}``, read as the engine reads it."""
        if self.word(RASD + "Address") is None:
            return None
        pairs = [
            part.replace("{", "").replace("}", "").partition("=")
            for part in self.parts(RASD + "Address", ",", at_most=20)
        ]
        return {key.strip(): value.strip() for key, _, value in pairs if key.strip()} or None

    def known(self, name: str, words: Mapping[str, Word]) -> Word | None:
        """A word of an enum, in any letter case; None with a warning if it is none."""
        text = self.word(name)
        if text is None:
            return None
        word = words.get(text.strip().lower())
        if word is None:
            self.warn(f"{_local(name)} is {shown(text)}, which is not known")
        return word

    def decisive(self, name: str, words: Mapping[str, Word]) -> Word:
        """A word that must be there and must be known, exactly; refuses anything else."""
        text = self.text(name)
        if text is None:
            raise problems.BadDocument(f"{self.what}: {_local(name)} is not given")
        if text not in words:
            raise problems.BadDocument(f"{self.what}: {_local(name)} is {shown(text)}, which is not known")
        return words[text]


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def report_unknown(
    names: Iterable[str], known: frozenset[str], where: str, warnings: problems.Warnings
) -> None:
    """Warn of every element name that is not ``known``; names may be in Clark's notation."""
    for name in names:
        if name not in known:
            warnings.unknown(where, f"the element {_local(name)}")


def elements(parent: etree._Element | None, tag: str, *, at_most: int) -> Iterator[etree._Element]:
    """The children of this name; more than any engine has to write are refused."""
    if parent is None:
        return
    for count, element in enumerate(parent.iterchildren(tag)):
        if count >= at_most:
            raise problems.Hostile(f"there are more than {at_most} {_local(tag)} elements")
        yield element


def children(element: etree._Element) -> dict[str, str]:
    """The texts of an element's children by tag; the first of several counts."""
    texts: dict[str, str] = {}
    for child in element:
        texts.setdefault(child.tag, child.text or "")
    return texts


def attributes(element: etree._Element, namespace: str) -> dict[str, str]:
    """An element's attributes of one namespace, by local name."""
    prefix = f"{{{namespace}}}"
    return {
        name.removeprefix(prefix): value
        for name, value in element.attrib.items()
        if isinstance(name, str) and isinstance(value, str) and name.startswith(prefix)
    }
