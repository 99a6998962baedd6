"""Typed fields out of a reply: VDSM's schema is a guide, so numbers may be strings; errors name the field."""

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ovirt_he_agent.adapters.vdsm.failures import BadReply
from ovirt_he_agent.wire import jsonrpc

T = TypeVar("T")


class Fields:
    """One JSON object in the answer to ``verb``, at ``path`` in it."""

    def __init__(self, verb: str, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise BadReply(verb, path or "result", f"is a {type(value).__name__}, not an object")
        self._verb = verb
        self._values: dict[str, Any] = value
        self._path = path

    def need(self, name: str, convert: Callable[[object], T]) -> T:
        """The converted value; ``BadReply`` when it is missing, null or of another kind."""
        value = self.want(name, convert)
        if value is None:
            raise BadReply(self._verb, self._at(name), "is missing")
        return value

    def want(self, name: str, convert: Callable[[object], T]) -> T | None:
        """The converted value; None when it is missing or null."""
        value = self._values.get(name)
        if value is None:
            return None
        try:
            return convert(value)
        except ValueError as e:
            raise BadReply(self._verb, self._at(name), f"is {_short(value)}, not {e}") from None

    def inner(self, name: str) -> "Fields | None":
        value = self._values.get(name)
        return None if value is None else Fields(self._verb, value, self._at(name))

    def items(self) -> Iterator[tuple[str, "Fields"]]:
        """Each member, all of them objects."""
        for name, value in self._values.items():
            yield name, Fields(self._verb, value, self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def rows(verb: str, value: object) -> list[Fields]:
    """A list of objects."""
    if not isinstance(value, list):
        raise BadReply(verb, "result", f"is a {type(value).__name__}, not a list")
    return [Fields(verb, row, f"[{number}]") for number, row in enumerate(value)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# Converters: a value, or ValueError saying what was expected.


def text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("a text")


def whole(value: object) -> int:
    number = jsonrpc.whole_number(value)
    if number is None:
        raise ValueError("a whole number")
    return number


def number(value: object) -> float:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            result = float(value)
        except (ValueError, OverflowError):
            result = math.nan
        if math.isfinite(result):
            return result
    raise ValueError("a number")


def flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("true or false")


def wholes(value: object) -> tuple[int, ...]:
    if isinstance(value, list):
        return tuple(whole(item) for item in value)
    raise ValueError("a list of whole numbers")


def texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(text(item) for item in value)
    raise ValueError("a list of texts")
