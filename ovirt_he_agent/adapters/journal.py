"""Where log records go: the journal with their fields when it listens, else stderr with ``key=value``.

A record's facts stand in ``extra`` under names that begin with HE_: they become
journal fields of that name (man systemd.journal-fields(7)).
"""

import logging
import os
import sys
from collections.abc import Mapping

PREFIX = "HE_"


class FieldsFormatter(logging.Formatter):
    """One line: time, level, text, then the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        fields = " ".join(f"{k}={v}" for k, v in sorted(record.__dict__.items()) if k.startswith(PREFIX))
        return f"{text}  [{fields}]" if fields else text


def _to_journal(environ: Mapping[str, str]) -> bool:
    """Whether stderr is the journal's own stream (JOURNAL_STREAM is device:inode of it)."""
    try:
        seen = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{seen.st_dev}:{seen.st_ino}"


def handler(environ: Mapping[str, str] = os.environ) -> logging.Handler:
    """The handler that fits the place where stderr goes."""
    if _to_journal(environ):
        try:
            import systemd.journal as binding
        except ImportError:
            pass  # stderr reaches the journal as well, only without fields
        else:
            journal_handler: logging.Handler = binding.JournalHandler(SYSLOG_IDENTIFIER="ovirt-he-agent")
            return journal_handler
    stderr = logging.StreamHandler()
    stderr.setFormatter(FieldsFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return stderr


def set_up(level: str) -> None:
    """Send everything of this process to ``handler()``; ``level`` as in logging's names, lower case."""
    logging.basicConfig(level=level.upper(), handlers=[handler()], force=True)
