"""Index pages: what files a source lists, from HTML (PEP 503), JSON (PEP 691, PEP 700) or a folder of wheels.

A body that is no index page is an error that says what it looks like instead: a captive portal must not read as
"there is no such package", nor half a page as a whole one.
"""

from __future__ import annotations

import codecs
import datetime as dt
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from torchmatrix.sources.page_html import decode, describe_xml, quoted, read_html

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from packaging.version import Version

    from torchmatrix.sources.page_html import Html

_API_MAJOR = 1
"""Major version of the simple API that is understood (PEP 629)."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ABSOLUTE = re.compile(r"https?://[^/@\\\[\]]+/")
_LEAD = re.compile(r"/(?!/)|(?:\.\./)+")
_SPACE = re.compile(r"\s")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_DISTRIBUTION = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".egg")
"""What no other page than an index links to in passing."""
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")
_MAGIC = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive, such as a wheel",
    b"\x1f\x8b": "gzip data that nobody decompressed",
    b"\x28\xb5\x2f\xfd": "zstd data that nobody decompressed",
    b"\x89PNG": "an image",
}


class PageError(ValueError):
    """A body is no index page, or not a whole one; ``looks_like`` says what it is instead, as ``a login page``."""

    def __init__(self, address: str, looks_like: str) -> None:
        super().__init__(f"{address} is no index page: it looks like {looks_like}")
        self.looks_like = looks_like


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One file of an index page."""

    file: str
    """The file name, decoded: ``torch-2.7.1+cu118-….whl``; never with a slash in it."""
    url: str
    """Absolute, still percent-encoded, without fragment and user information."""
    sha256: str | None = None
    """64 lower-case hex digits; ``None`` where the page says nothing that is a sha256."""
    size: int | None = None
    """Bytes; only JSON pages and folders tell it."""
    metadata: bool = False
    """Whether ``url + ".metadata"`` is offered (PEP 658, PEP 714)."""
    metadata_sha256: str | None = None
    uploaded: dt.datetime | None = None
    """In UTC. On the PyTorch index the time at which the storage last touched the file: no date of a release."""
    requires_python: str | None = None
    yanked: str | None = None
    """``None``: not yanked; else the reason, ``""`` where none is given (PEP 592)."""
    version: Version | None = None
    """From the name of a wheel or sdist; ``None`` for what is neither."""
    name: str | None = None
    """Canonical, from the name of a wheel or sdist; ``None`` for what is neither."""


def read_page(body: bytes, content_type: str, address: str) -> tuple[Listed, ...]:
    """The files that a page lists, in its order; links to folders and to sort orders are left out.

    ``content_type`` is the header as it came, ``""`` where there is none: the body decides where they disagree.
    ``address`` is the URL that the body came from after redirects. `PageError` for what is no index page.
    """
    base = _without_userinfo(address)
    if base is None or not urlsplit(base).scheme:
        raise ValueError("the address of a page must be a URL with a scheme")
    shown = base.partition("?")[0]
    kind = content_type.partition(";")[0].strip().lower()
    if (version := re.search(r"\.v(\d+)\+", kind)) and int(version[1]) > _API_MAJOR:
        raise PageError(shown, _too_new(version[1]))
    for magic, what in _MAGIC.items():
        if body.startswith(magic):
            raise PageError(shown, what)
    utf16 = body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    start = body.removeprefix(codecs.BOM_UTF8).lstrip()[:2048]
    if not start:
        raise PageError(shown, "an empty answer")
    if b"\0" in start and not utf16:
        raise PageError(shown, "binary data")
    if start[:1] in (b"{", b"["):
        return _read_json(body, base, shown)
    if not utf16 and (b"<" not in body or (b"html" not in kind.encode() and start[:1] != b"<")):
        raise PageError(shown, f"plain text that begins {quoted(start.decode('utf-8', 'replace'))}")
    if xml := describe_xml(start, kind):
        raise PageError(shown, xml)
    return _read_html(decode(body, content_type), base, shown)


def flat_files(folder: Path) -> tuple[Listed, ...]:
    """The files in a folder by name, as an index page would list them; hidden ones and what lies deeper do not count.

    Addresses are ``file://`` URLs, sizes are the files' own. ``OSError`` when the folder cannot be read.
    """
    listed = []
    for path in sorted(folder.absolute().iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        name, version = project_and_version(path.name)
        size = path.stat().st_size
        listed.append(Listed(file=path.name, url=path.as_uri(), size=size, name=name, version=version))
    return tuple(listed)


def project_and_version(file: str) -> tuple[str | None, Version | None]:
    """Canonical name and version in the name of a wheel or sdist; twice ``None`` for what is neither."""
    if file.endswith(".whl"):
        parts = file[:-4].split("-")
        if len(parts) not in (5, 6) or (len(parts) == 6 and not parts[2][:1].isdigit()):
            return None, None
        name, version = _canonical(parts[0]), _version(parts[1])
    else:
        stem = next((file.removesuffix(end) for end in (".tar.gz", ".zip") if file.endswith(end)), "")
        before, _, after = stem.rpartition("-")
        name, version = _canonical(before), _version(after)
    return (name, version) if name and version else (None, None)


@lru_cache(maxsize=4096)
def _version(text: str) -> Version | None:
    """A page names one version many times, and a version is slow to parse."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text)
    except InvalidVersion:
        return None


@lru_cache(maxsize=1024)
def _canonical(text: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9](?:[\w.\-]*[A-Za-z0-9])?", text, re.ASCII):
        return None
    return re.sub(r"[-_.]+", "-", text).lower()


@lru_cache(maxsize=4096)
def _time(text: str) -> dt.datetime | None:
    try:
        time = dt.datetime.fromisoformat(text.strip())
        return time.astimezone(dt.UTC) if time.tzinfo else time.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        return None


# addresses


class _Addresses:
    """Makes links absolute. `urljoin` is slow and most links of a page start alike, so it is asked once a folder."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._folders: dict[str, str | None] = {}
        self._schemes = {"http", "https", "file"} if base.lower().startswith("file:") else {"http", "https"}

    def split(self, link: str) -> tuple[str, str, str] | None:
        """Decoded file name, absolute address and fragment of a link; ``None`` when it names no file.

        A page from a server cannot name files of this machine.
        """
        if _SPACE.search(link):
            link = re.sub(r"[\t\r\n]", "", link.strip()).replace(" ", "%20")
        link, _, fragment = link.partition("#")
        path, mark, query = link.partition("?")
        head, slash, tail = path.rpartition("/")
        file = tail.replace("%2B", "+")  # the only escape of nearly every name, and much quicker than unquote
        if "%" in file:
            file = unquote(tail)
        if "." not in file.strip(".") or _UNSAFE.search(file) or "\\" in head:
            return None
        if not slash and _SCHEME.match(tail):  # mailto:somebody@example.org
            return None
        folder = self._folder(head + slash)
        return None if folder is None else (file, f"{folder}{tail}{mark}{query}", fragment)

    def join(self, link: str) -> str | None:
        """The absolute address of a link without fragment; ``None`` when nothing can be fetched from there."""
        try:
            joined = _without_userinfo(urljoin(self._base, link))
            parts = urlsplit(joined or "")
        except ValueError:
            return None
        fits = parts.scheme in self._schemes and (parts.netloc or parts.scheme == "file")
        return joined if fits else None

    def _folder(self, start: str) -> str | None:
        if _ABSOLUTE.match(start):
            return start
        if start in self._folders:
            return self._folders[start]
        lead = _LEAD.match(start)
        if lead and (rest := start[lead.end() :]) and "./" not in rest:
            folder = self._folder(lead[0])
            return folder and folder + rest
        self._folders[start] = folder = self.join(start or ".")
        return folder


def _without_userinfo(address: str) -> str | None:
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


# HTML


def _read_html(text: str, base: str, shown: str) -> tuple[Listed, ...]:
    html = read_html(text)
    if html.api_version and _major(html.api_version) > _API_MAJOR:
        raise PageError(shown, _too_new(html.api_version))
    if html.broken_off:
        raise PageError(shown, f"an HTML page that breaks off after {len(text):,} characters ({html.broken_off})")
    if html.base is not None:
        base = _Addresses(base).join(html.base) or base
    addresses = _Addresses(base)
    found: dict[str, Listed] = {}
    for anchor in html.anchors:
        split = addresses.split(anchor["href"] or "")
        if split is not None:
            _add(found, _from_anchor(*split, anchor), shown)
    if not html.looks_like_index and not any(file.file.endswith(_DISTRIBUTION) for file in found.values()):
        raise PageError(shown, _describe(html))
    return tuple(found.values())


def _add(found: dict[str, Listed], one: Listed, shown: str) -> None:
    """Servers' listings link a file by its icon and by its name; two hashes for one file are no accident."""
    known = found.setdefault(one.url, one)
    if known.sha256 and one.sha256 and known.sha256 != one.sha256:
        raise PageError(shown, f"a page that gives two different hashes for {one.file}")
    if known.sha256 is None and one.sha256 is not None:
        found[one.url] = one


def _from_anchor(file: str, url: str, fragment: str, anchor: Mapping[str, str | None]) -> Listed:
    name, version = project_and_version(file)
    described = anchor.get("data-core-metadata", anchor.get("data-dist-info-metadata"))
    yanked = (anchor["data-yanked"] or "") if "data-yanked" in anchor else None
    time = anchor.get("data-upload-time")
    return Listed(
        file=file,
        url=url,
        sha256=_hash_in(fragment.split("&")) if fragment else None,
        metadata=described is not None and described.lower() not in ("", "false"),
        metadata_sha256=_hash_in([described]) if described else None,
        uploaded=_time(time) if time else None,
        requires_python=anchor.get("data-requires-python") or None,
        yanked=yanked,
        version=version,
        name=name,
    )


def _hash_in(pairs: Iterable[str]) -> str | None:
    for pair in pairs:
        kind, _, digest = pair.partition("=")
        if kind == "sha256" and _SHA256.fullmatch(digest.lower()):
            return digest.lower()
    return None


def _describe(html: Html) -> str:
    title = html.title or html.heading
    if html.password:
        what = "a login page"
    elif html.form:
        what = "an HTML page with a form, such as a login page"
    elif re.search(r"\b[45]\d\d\b|error|not found|forbidden|denied|unavailable|gateway", title, re.IGNORECASE):
        what = "an error page"
    else:
        what = "an HTML page without links to packages"
    return f"{what}, titled {quoted(title)}" if title else what


# JSON


def _read_json(body: bytes, base: str, shown: str) -> tuple[Listed, ...]:
    page = _load(body, shown)
    if not isinstance(page, dict):
        raise PageError(shown, f"JSON of another kind: a {type(page).__name__}")
    meta = page.get("meta")
    version = str(meta.get("api-version", "1.0")) if isinstance(meta, dict) else "1.0"
    if _major(version) > _API_MAJOR:
        raise PageError(shown, _too_new(version))
    files = page.get("files")
    if not isinstance(files, list):
        if isinstance(page.get("projects"), list):
            raise PageError(shown, "the list of an index's projects, not the files of one")
        said = next((page[key] for key in ("message", "error", "detail") if isinstance(page.get(key), str)), None)
        words = f" that says {quoted(said)}" if said else f" with {quoted(', '.join(page)) if page else 'no keys'}"
        raise PageError(shown, f"JSON of another kind{words}")
    addresses = _Addresses(base)
    found: dict[str, Listed] = {}
    for number, entry in enumerate(files):
        _add(found, _from_entry(entry, addresses, f"files[{number}]", shown), shown)
    return tuple(found.values())


def _load(body: bytes, shown: str) -> object:
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
            raise PageError(shown, f"JSON that breaks off after {len(body):,} bytes") from error
        raise PageError(shown, f"broken JSON ({error})") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise PageError(shown, f"broken JSON ({type(error).__name__})") from error


def _from_entry(entry: Any, addresses: _Addresses, where: str, shown: str) -> Listed:
    file, link = (entry.get("filename"), entry.get("url")) if isinstance(entry, dict) else (None, None)
    if not isinstance(file, str) or not file.strip(".") or _UNSAFE.search(file):
        raise PageError(shown, f"JSON whose {where} has no usable file name")
    url = addresses.join(link) if isinstance(link, str) and link else None
    if url is None:
        raise PageError(shown, f"JSON whose {where}, {file}, has no address that can be fetched")
    name, version = project_and_version(file)
    keys = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
    described = next((entry[key] for key in keys if entry.get(key) is not None), False)
    size, time, python, yanked = (entry.get(key) for key in ("size", "upload-time", "requires-python", "yanked"))
    return Listed(
        file=file,
        url=url,
        sha256=_hash_of(entry.get("hashes")),
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        metadata=described is True or isinstance(described, dict),
        metadata_sha256=_hash_of(described),
        uploaded=_time(time) if isinstance(time, str) else None,
        requires_python=python if isinstance(python, str) and python else None,
        yanked=(yanked if isinstance(yanked, str) else "") if yanked else None,
        version=version,
        name=name,
    )


def _hash_of(hashes: object) -> str | None:
    digest = hashes.get("sha256") if isinstance(hashes, dict) else None
    return _hash_in([f"sha256={digest}"]) if isinstance(digest, str) else None


def _major(version: str) -> int:
    """The major part of an API version; one that is none counts as too new."""
    match = re.match(r"(\d+)(?:\.|$)", version)
    return int(match[1]) if match else _API_MAJOR + 1


def _too_new(version: str) -> str:
    return f"a page of version {version[:20]!r} of the index API, of which {_API_MAJOR}.x is understood"
