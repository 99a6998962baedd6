"""The legacy parameters of a VM to the text of a vm.conf: only what the reader gives back unchanged.

A value is written if the line with it, read alone, is that value and nothing
else. So nothing can add a line, cut one or slip into the structure, whatever
characters it holds. What cannot stand there is left out and named; ``xmlBase64``
carries the whole VM all the same.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ovirt_he_agent.ovf import record
from ovirt_he_agent.ovf.value import Value
from ovirt_he_agent.ovf.vmconf import reader

_LISTS = (("guestNumaNodes", "guestNumaNodes"), ("drives", "drive"), ("devices", "devices"))
"""Parameter, and the key of each of its lines."""
_MAPS = ("cpuPinning", "numaTune")
_GROUPS = {"custom", "xml", *_MAPS, *(name for name, _ in _LISTS)}


class VmConf(Value):
    text: str
    """Reading it gives the parameters less what was left out; writing those gives the same text again."""
    left_out: tuple[str, ...]
    """One entry per value, with the place where it belongs."""

    def with_comments(self, *comments: str) -> str:
        """The text under ``comments`` and the list of what was left out, each on a line of its own."""
        lines = [*comments]
        if self.left_out:
            lines.append("Left out, because this format cannot hold it (the XML below has it):")
            lines += [f"  {entry}" for entry in self.left_out]
        return "".join(f"# {_one_line(line)}\n" for line in lines) + self.text


def write(params: Mapping[str, Any]) -> VmConf:
    """The vm.conf of ``params``, shaped as ``reader.parse`` gives them: plain keys, groups, the XML last."""
    left_out: list[str] = []
    text = "".join(f"{line}\n" for line in _lines(params, left_out))
    return VmConf(text=text, left_out=tuple(left_out))


def _lines(params: Mapping[str, Any], left_out: list[str]) -> Iterator[str]:
    for key, value in params.items():
        if key not in _GROUPS and value is not None:
            yield from _checked(f"{key}={_specified(value)}", {key: value}, key, value, left_out)
    for key, value in params.get("custom", {}).items():
        if value is not None:
            line = f"{reader.CUSTOM}{key}={value}"
            yield from _checked(line, {"custom": {key: value}}, f"custom.{key}", value, left_out)
    for key in _MAPS:
        yield from _structured(key, key, params.get(key) or {}, key, left_out)
    for name, key in _LISTS:
        for number, spec in enumerate(params.get(name, ())):
            yield from _structured(key, name, spec, f"{name}[{number}]", left_out)
    if "xml" in params and params["xml"] is not None:
        yield f"xmlBase64={base64.b64encode(params['xml'].encode()).decode()}"


def _structured(key: str, name: str, spec: Any, place: str, left_out: list[str]) -> Iterator[str]:
    """A line whose value is a map (or, of a device, one word)."""
    if isinstance(spec, Mapping):
        spec = _expressible(spec, place, left_out)
    if spec or name not in _MAPS:
        yield from _checked(
            f"{key}={_specified(spec)}", {name: spec if name in _MAPS else [spec]}, place, spec, left_out
        )


def _expressible(spec: Mapping[str, Any], place: str, left_out: list[str]) -> dict[str, Any]:
    """``spec`` without the pairs that cannot be written."""
    kept: dict[str, Any] = {}
    for name, value in spec.items():
        inner = f"{place}.{name}"
        if value is None:
            continue
        if isinstance(value, Mapping):
            value = _expressible(value, inner, left_out)
        line = f"devices={{{name}:{_specified(value)}}}"
        if _checked(line, {"devices": [{name: value}]}, inner, value, left_out):
            kept[name] = value
    return kept


def _specified(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_specified(inner)}" for name, inner in value.items()) + "}"
    return str(value)


def _checked(
    line: str, meaning: Mapping[str, Any], place: str, value: Any, left_out: list[str]
) -> Sequence[str]:
    """The line, if it means just that and can be shown on a terminal; else nothing, and a word about it."""
    try:
        if line.isprintable() and reader.parse(line) == meaning:
            return (line,)
    except reader.BadVmConf:
        pass
    left_out.append(f"{place}: {record.shown(_specified(value))}")
    return ()


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
