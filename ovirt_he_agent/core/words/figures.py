"""Figures and names as people read them: spans of time, hosts, a sentence of clauses. No rule uses them."""

from collections.abc import Iterable

from ovirt_he_agent.core import whereabouts
from ovirt_he_agent.core.scene import Scene


def span(milliseconds: int) -> str:
    """How long something has been so; what is left is rounded up by ``left``."""
    seconds = max(0, milliseconds) // 1000
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    hours = seconds // 3600
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"


def left(milliseconds: int) -> str:
    """How long until something; never less than it takes."""
    seconds = -(-max(0, milliseconds) // 1000)
    return f"{seconds} s" if seconds < 600 else f"{-(-seconds // 60)} min"


def host(s: Scene, host_id: int | None) -> str:
    """By its number, and its name where that is known."""
    peer = s.peers.get(host_id) if host_id is not None else None
    if peer is not None:
        return whereabouts.named(peer)
    return "another host" if host_id is None else f"host {host_id}"


def sentence(*clauses: str) -> str:
    """One line with a capital and a full stop, whatever foreign text is in it; empty clauses are left out."""
    text = "; ".join(c for c in (" ".join(clause.split()).rstrip(".; ") for clause in clauses) if c)
    return f"{text[:1].upper()}{text[1:]}."


def listed(words: Iterable[str]) -> str:
    """a, b and c"""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
