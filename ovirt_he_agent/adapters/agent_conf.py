"""Upstream's agent.conf: the weights of the score, which must be the same on all hosts of the cluster.

Format: he-ha: agent/hosted_engine.py (_get_score_config), agent/agent.conf. Section
``[score]``, keys as ``score.Weights`` has them but with hyphens.
"""

import configparser
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from ovirt_he_agent.core import score
from ovirt_he_agent.errors import NotConfigured

SECTION = "score"


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


_KINDS: dict[bool, tuple[Callable[[str], float], str]] = {
    True: (_finite, "a number like 0.4"),
    False: (int, "a whole number"),
}

log = logging.getLogger(__name__)


@dataclass(eq=False)
class AgentConfDamaged(NotConfigured):
    path: Path
    reason: str
    msg: ClassVar[str] = (
        "{self.path}: {self.reason}; mend the file, or copy it from another host of the cluster "
        "(without the file the default weights count)"
    )


@dataclass(eq=False)
class BadWeight(NotConfigured):
    path: Path
    key: str
    value: str
    allowed: str
    msg: ClassVar[str] = (
        "{self.path}: {self.key} is {self.value!r}, allowed is {self.allowed}; "
        "all hosts of the cluster need the same values"
    )


def load(path: Path) -> score.Weights:
    """The weights; those that the file does not name, and all without it, are the defaults.

    Raises ``AgentConfDamaged``, ``BadWeight``. A key that is none of ours is a warning in the log.
    """
    given = _section(path)
    values: dict[str, Any] = {}
    for field in fields(score.Weights):
        key = field.name.replace("_", "-")
        if key in given:
            text = given.pop(key)
            convert, allowed = _KINDS[field.type is float]
            try:
                values[field.name] = convert(text)
            except ValueError as e:
                raise BadWeight(path, key, text, allowed) from e
    for key in given:
        log.warning("%s: [%s] %s is not known and has no effect", path, SECTION, key)
    return score.Weights(**values)


def _section(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        return dict(parser[SECTION]) if parser.has_section(SECTION) else {}
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise AgentConfDamaged(path, f"it cannot be read: {e.strerror or e}") from e
    except UnicodeDecodeError as e:
        raise AgentConfDamaged(path, f"byte {e.start} is not UTF-8 text") from e
    except configparser.Error as e:
        raise AgentConfDamaged(path, str(e).replace("<string>", "it")) from e
