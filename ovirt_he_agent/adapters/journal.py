"""Where log records go: the journal with their fields when it listens, else stderr with ``key=value``.

A record's facts stand in ``extra`` under names that begin with HE_: they become
journal fields of that name (man systemd.journal-fields(7)).
"""

import json
import logging
import os
import sys

PREFIX = "HE_"
IDENTIFIER = "ovirt-he-agent"


class FieldsFormatter(logging.Formatter):
    """One line: time, level, logger, text, then the record's fields. A traceback follows it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record).replace("\n", "\\n")
        facts = [(key, value) for key, value in record.__dict__.items() if key.startswith(PREFIX)]
        return " ".join([line, *(f"{key}={_shown(value)}" for key, value in sorted(facts))])


def _shown(value: object) -> str:
    """Quoted where a reader could not tell where it ends."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(" \"'=") else json.dumps(text)


def _to_journal() -> bool:
    """Whether stderr is the journal's own stream (JOURNAL_STREAM is device:inode of it)."""
    try:
        seen = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{seen.st_dev}:{seen.st_ino}"


def handler() -> logging.Handler:
    """The handler that fits the place where stderr goes."""
    if _to_journal():
        try:
            import systemd.journal as binding
        except ImportError:
            pass  # stderr reaches the journal as well, only without fields
        else:
            journal_handler: logging.Handler = binding.JournalHandler(SYSLOG_IDENTIFIER=IDENTIFIER)
            journal_handler.setFormatter(logging.Formatter("%(message)s"))  # the rest are fields
            return journal_handler
    stderr = logging.StreamHandler()
    stderr.setFormatter(FieldsFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return stderr


def set_up(level: str) -> None:
    """Send everything of this process to ``handler()``; ``level`` as in logging's names, lower case."""
    logging.basicConfig(level=level.upper(), handlers=[handler()], force=True)
