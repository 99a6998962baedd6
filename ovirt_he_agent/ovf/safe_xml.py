"""Bytes to an XML tree, in bounded time and memory and without a look at anything else.

No document type declaration is accepted at all, so there are no entities to
expand and nothing to fetch; the engine's own reader forbids one too
(CVE-2014-3573). The limits hold before libxml2 builds a tree: 8 MiB of text may
otherwise become a quarter of a GiB of nodes.
"""

import functools
import re

from lxml import etree

from ovirt_he_agent.ovf import problems

MAX_BYTES = 8 << 20
"""Largest document, in bytes; usual are 8 to 30 KiB, with many snapshots a few MiB."""
MAX_MARKUP = 300_000
"""Most tags and attributes together; a document of 8 MiB is snapshots in base64, not markup."""
MAX_EMBEDDED_MARKUP = 50_000
"""The same of a document inside another; a domain has about a thousand."""
MAX_ATTRIBUTES = 64
"""Most attributes of one element, where the engine needs 22: time grows with the square of their number."""
MAX_DEPTH = 64
"""Deepest nesting of elements; the engine needs about eight."""

_SHORTEST_ATTRIBUTE = len(' a=""')
_SHOWN = 200
"""Most characters of the parser's own words, which may hold any part of the document."""

_CODECS = {"utf-8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "latin-1", "utf-16": "utf-16"}
_is_too_deep = etree.XPath("boolean(" + "/*" * (MAX_DEPTH + 1) + ")")


def _parser(encoding: str | None = None) -> etree.XMLParser:
    """``encoding`` overrides what the document declares."""
    return etree.XMLParser(
        encoding=encoding,
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )


_bytes_parser = _parser()
_text_parser = _parser("utf-8")


def parse(data: bytes) -> etree._Element:
    """The root element of the document ``data``; comments and processing instructions are gone.

    Raises ``problems.BadDocument``: empty, too large, not in its encoding, not
    well formed, with a document type declaration.
    """
    is_utf_16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if not is_utf_16:
        data = data.rstrip(b"\0")  # what pads a block, not text
    if not data.strip():
        raise problems.Damaged("the document is empty")
    if len(data) > MAX_BYTES:
        raise problems.Hostile(f"the document is larger than {MAX_BYTES >> 20} MiB")
    if is_utf_16:
        text = _decode(data, "UTF-16", "utf-16").encode()
        declared = _declaration().match(text)
        if declared and not declared[1].lower().startswith(b"utf-16"):
            raise problems.Damaged(f"it declares the encoding {declared[1].decode('ascii')} but is in UTF-16")
        return _tree(text, _text_parser, MAX_MARKUP)
    _check_encoding(data)
    return _tree(data, _bytes_parser, MAX_MARKUP)


def parse_text(text: str) -> etree._Element:
    """The root element of a document out of another; what encoding it declares does not matter."""
    return _tree(text.encode(), _text_parser, MAX_EMBEDDED_MARKUP)


@functools.cache
def _declaration() -> re.Pattern[bytes]:
    return re.compile(
        rb"""(?:\xef\xbb\xbf)?<\?xml\s[^>]{0,200}?\bencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']"""
    )


@functools.cache
def _many_attributes() -> re.Pattern[bytes]:
    """At the name of an element that has too many."""
    attribute = rb"""\s++[^\s=<>"']++\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+')"""
    return re.compile(rb"[^\s<>]++(?:%b){%d}" % (attribute, MAX_ATTRIBUTES + 1))


def _check_encoding(data: bytes) -> None:
    found = _declaration().match(data)
    declared = found[1].decode("ascii") if found else "UTF-8"
    codec = _CODECS.get(declared.lower(), "")
    if not codec:
        raise problems.Damaged(f"the encoding {declared!r} that it declares is none that engines write")
    if codec == "utf-16":
        raise problems.Damaged("it declares the encoding UTF-16 but is not in it")
    _decode(data, declared, codec)


def _decode(data: bytes, declared: str, codec: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as e:
        raise problems.Damaged(
            f"the bytes are not the {declared} that the document declares (byte {e.start}: {e.reason})"
        ) from None


def _refuse_doctype(data: bytes) -> None:
    """Before the parser sees it: a declaration can only stand before the root element."""
    at = 0
    while (at := data.find(b"<", at)) >= 0:
        if data.startswith(b"<!--", at):
            at = data.find(b"-->", at + 4)
        elif data.startswith(b"<?", at):
            at = data.find(b"?>", at + 2)
        elif data.startswith(b"<!DOCTYPE", at):
            raise problems.Hostile("the document has a document type declaration (DOCTYPE)")
        else:
            return
        if at < 0:
            return  # not closed: the parser says so


def _refuse_much_markup(data: bytes, at_most: int) -> None:
    tags = data.split(b"<", at_most + 1)
    if len(tags) + (len(data) - len(data.translate(None, b"\"'"))) // 2 > at_most:
        raise problems.Hostile(f"the document has more than {at_most} tags and attributes")
    for tag in [tag for tag in tags if len(tag) > MAX_ATTRIBUTES * _SHORTEST_ATTRIBUTE]:
        if b"=" in tag[: tag.find(b">")] and _many_attributes().match(tag):
            raise problems.Hostile(f"an element has more than {MAX_ATTRIBUTES} attributes")


def _tree(data: bytes, parser: etree.XMLParser, max_markup: int) -> etree._Element:
    _refuse_much_markup(data, max_markup)
    _refuse_doctype(data)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as e:
        raise problems.Damaged(f"the document is not well formed: {e.msg[:_SHOWN]}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise problems.Hostile("the document has a document type declaration (DOCTYPE)")
    if _is_too_deep(root):
        raise problems.Hostile(f"the document nests elements more than {MAX_DEPTH} deep")
    return root
