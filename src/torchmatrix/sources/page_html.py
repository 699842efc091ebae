"""The HTML of an index page: its links, and signs that it is one, is whole, or is something else."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field

_INDEX = re.compile(
    r"(?:.*\b)?(?:links for\b|simple (?:package )?(?:index|repository|list)\b|package index\b|index of\b|"
    r"directory listing\b|file listing\b)",
    re.IGNORECASE | re.DOTALL,
)
"""Titles of index pages and of listings by Apache, nginx, lighttpd and Python's http.server."""

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(slots=True, kw_only=True)
class Html:
    """What a page of HTML holds."""

    anchors: list[dict[str, str | None]] = field(default_factory=list)
    """Attributes of each ``<a>`` with an href, names in lower case, entities resolved."""
    base: str | None = None
    title: str = ""
    heading: str = ""
    api_version: str | None = None
    """``<meta name="pypi:repository-version">`` (PEP 629)."""
    form: bool = False
    password: bool = False
    broken_off: str = ""
    """Why it cannot be the whole page; empty where nothing speaks against it."""

    @property
    def looks_like_index(self) -> bool:
        """Whether it is an index page even when it lists no file."""
        if self.form or self.password:
            return False
        if self.api_version or _INDEX.match(self.title) or _INDEX.match(self.heading):
            return True
        return bool(self.anchors) and all(_leads_to_folder(anchor["href"] or "") for anchor in self.anchors)


def _leads_to_folder(href: str) -> bool:
    path, mark, _ = href.partition("#")[0].strip().partition("?")
    return path.endswith(("/", "..")) or (not path and bool(mark))


def read_html(text: str) -> Html:
    """Read a page of HTML. Nothing is an error here; ``broken_off`` tells a page that ends too early.

    HTML lets ``</html>`` be left out, but no known index opens ``<html>`` or ``<body>`` and closes neither: such a
    page was cut off, as was one that ends inside a tag.
    """
    from html.parser import HTMLParser  # not at the top: most commands read no page

    found = Html()

    class Reader(HTMLParser):
        opened = closed = False
        into: str | None = None

        def updatepos(self, i: int, j: int) -> int:  # noqa: ARG002  # lines and columns, which nobody asks for
            return j

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "a":
                given = dict(reversed(attrs))  # of two attributes with one name the first counts
                if given.get("href"):
                    found.anchors.append(given)
            elif tag not in ("br", "td", "tr", "img"):  # what pages have thousands of
                self.other(tag, dict(reversed(attrs)))

        def other(self, tag: str, given: dict[str, str | None]) -> None:
            if tag in ("html", "body"):
                self.opened = True
            elif tag == "base" and found.base is None:
                found.base = given.get("href")
            elif tag == "meta" and given.get("name") == "pypi:repository-version":
                found.api_version = given.get("content")
            elif tag in ("title", "h1"):
                self.into = tag
            elif tag == "form":
                found.form = True
            elif tag == "input" and (given.get("type") or "").lower() == "password":
                found.password = True

        def handle_endtag(self, tag: str) -> None:
            if tag in ("html", "body"):
                self.closed = True
            elif tag == self.into:
                self.into = None

        def handle_data(self, data: str) -> None:
            if self.into == "title":
                found.title += data
            elif self.into == "h1":
                found.heading += data

    reader = Reader()
    reader.feed(text)
    if reader.rawdata.lstrip().startswith("<"):
        found.broken_off = "inside a tag"
    elif reader.opened and not reader.closed:
        found.broken_off = "without </html>"
    found.title, found.heading = " ".join(found.title.split()), " ".join(found.heading.split())
    return found


def decode(body: bytes, content_type: str) -> str:
    """The text of a page: by its byte order mark, else the header's charset, else the page's own, else as UTF-8."""
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    said = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    inside = re.search(rb"<meta[^>]*charset\s*=\s*[\"']?([\w.:-]+)", body[:2048], re.IGNORECASE)
    for charset in (said[1] if said else "", inside[1].decode("ascii", "replace") if inside else ""):
        try:
            if charset:
                return body.decode(charset, "replace")
        except LookupError:
            continue
    return body.decode("utf-8", "replace")


def describe_xml(start: bytes, kind: str) -> str | None:
    """What a body of XML is; ``None`` for HTML. Object storage answers with XML where a page is missing."""
    first = re.search(rb"<([A-Za-z][\w:.-]*)", start)
    root = first[1].decode("ascii", "replace") if first else ""
    declared = start.startswith(b"<?xml") or ("xml" in kind and "html" not in kind)
    if root.lower() == "html" or not (declared or root in ("Error", "ListBucketResult")):
        return None
    code = re.search(rb"<Code>([^<]*)</Code>", start)
    said = f" that says {quoted(code[1].decode('utf-8', 'replace'))}" if code else ""
    return f"XML (<{root}>){said}"


def quoted(text: str) -> str:
    """The start of a foreign text on one line, in quotes, its control characters escaped."""
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else text[:59] + "…")
