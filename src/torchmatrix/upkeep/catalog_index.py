"""What a package index tells about torch: wheel names, upload times and the METADATA of single wheels."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError
from urllib3.util import Retry, Timeout, make_headers

from torchmatrix.command import redact
from torchmatrix.errors import SourceUnreachableError
from torchmatrix.target import Accelerator, Platform, PythonVersion
from torchmatrix.upkeep.remote_wheel import read_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from urllib3 import BaseHTTPResponse

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
"""JSON where the index has it (PEP 691), else the HTML page (PEP 503)."""
TIMEOUT = 30.0
"""Seconds to wait for an index."""
OK, PARTIAL = 200, 206
"""HTTP status codes: the whole file, a range of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """A wheel on an index page."""

    name: str
    url: str
    version: Version
    uploaded: dt.date | None
    metadata: bool
    """Whether its METADATA is served beside it (PEP 658)."""
    yanked: bool


@dataclass(slots=True)
class WheelFacts:
    """What the names of the wheels for one platform tell."""

    pythons: set[PythonVersion] = field(default_factory=set)
    macos: dict[PythonVersion, Version] = field(default_factory=dict)

    def floors(self) -> dict[str, str]:
        """The macOS version of most wheels as ``*``, those that differ by their Python."""
        if not self.macos:
            return {}
        usual = max(Counter(self.macos.values()).items(), key=lambda each: (each[1], -each[0].major, -each[0].minor))[0]
        others = {str(python): str(floor) for python, floor in sorted(self.macos.items()) if floor != usual}
        return {"*": str(usual), **others}


class Index:
    """Reads pages of one index."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._pool = PoolManager(retries=Retry(3, backoff_factor=0.3), timeout=Timeout(TIMEOUT))

    def wheels(self, project: str) -> list[WheelFile]:
        """Every wheel of a project, yanked ones included; `SourceUnreachableError` when the page cannot be had."""
        address = f"{self.address}/{project}/"
        content_type, text, final = self._get(address, {"Accept": ACCEPT})
        rows = _json_rows(text) if content_type.endswith("+json") else _html_rows(text)
        found = (_wheel(row, final) for row in rows)
        return [wheel for wheel in found if wheel is not None]

    def requirements(self, wheel: WheelFile) -> list[Requirement] | None:
        """Requires-Dist of a wheel: from the METADATA beside it, else out of the wheel by ranges.

        ``None`` where the server has neither.
        """
        text = self._beside(wheel) if wheel.metadata else self._inside(wheel)
        if text is None:
            return None
        raw, _ = parse_email(text)
        requirements = []
        for line in raw.get("requires_dist", []):
            try:
                requirements.append(Requirement(line))
            except InvalidRequirement:  # very old METADATA has lines of other forms; none of them is of use here
                continue
        return requirements

    def _beside(self, wheel: WheelFile) -> str:
        return self._get(f"{wheel.url}.metadata", {})[1]

    def _inside(self, wheel: WheelFile) -> str | None:
        probe = self._request(wheel.url, {"Range": "bytes=0-0"})
        length = re.fullmatch(r"bytes 0-0/(\d+)", probe.headers.get("Content-Range", ""))
        probe.drain_conn()
        if probe.status != PARTIAL or length is None:
            return None

        def fetch(first: int, last: int) -> bytes:
            response = self._request(wheel.url, {"Range": f"bytes={first}-{last}"})
            if response.status != PARTIAL:
                raise ValueError(f"HTTP status {response.status}")
            return bytes(response.data)

        try:
            return read_metadata(int(length[1]), fetch)
        except ValueError:
            return None

    def _get(self, address: str, headers: Mapping[str, str]) -> tuple[str, str, str]:
        """Content type, text and final address of a page."""
        response = self._request(address, headers)
        if response.status != OK:
            raise SourceUnreachableError(
                f"cannot read {redact(address)}: HTTP status {response.status}",
                hint="name another index with --index URL",
            )
        content_type = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
        return content_type, response.data.decode("utf-8", "replace"), urljoin(address, response.geturl() or "")

    def _request(self, address: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        parts = urlsplit(address)
        shown, all_headers = redact(address), dict(headers)
        if parts.username is not None:
            auth = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            all_headers |= make_headers(basic_auth=auth)
            address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        try:
            return self._pool.request("GET", address, headers=all_headers)
        except HTTPError as error:
            raise SourceUnreachableError(
                f"cannot read {shown}: {redact(str(error))}", hint="name another index with --index URL"
            ) from error


def wheel_facts(names: Iterable[str]) -> dict[Platform, WheelFacts]:
    """Pythons and macOS versions by platform, from wheel names."""
    facts: dict[Platform, WheelFacts] = {}
    for name in names:
        try:
            tags = parse_wheel_filename(name)[3]
        except (InvalidWheelFilename, ValueError):
            continue
        for tag in tags:
            platform, python = _platform(tag.platform), _python(tag.interpreter, tag.abi)
            if platform is None or python is None:
                continue
            known = facts.setdefault(platform, WheelFacts())
            known.pythons.add(python)
            if match := re.fullmatch(r"macosx_(\d+)_(\d+)_\w+", tag.platform):
                floor = Version(f"{match[1]}.{match[2]}")
                known.macos[python] = min(floor, known.macos.get(python, floor))
    return facts


def default_cuda(requirements: Iterable[Requirement]) -> str | None:
    """The CUDA build that a wheel's requirements speak of: cu126 for ``nvidia-cuda-runtime-cu12==12.6.77``."""
    for requirement in requirements:
        if re.fullmatch(r"cuda-toolkit|nvidia-cuda-runtime(-cu\d+)?", requirement.name):
            for specifier in requirement.specifier:
                if specifier.operator == "==":
                    version = Version(specifier.version)
                    return f"cu{version.major}{version.minor}"
    return None


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Accelerators by kind and version: cpu, mps, cu118, cu126, rocm6.2.4, rocm6.3, xpu."""
    order = ["cpu", "mps", "cuda", "rocm", "xpu"]
    parsed = {label: Accelerator.parse(label) for label in labels}
    return sorted(parsed, key=lambda each: (order.index(parsed[each].kind), Version(parsed[each].version or "0")))


def _platform(tag: str) -> Platform | None:
    if tag.startswith(("manylinux", "linux")):
        return {"x86_64": Platform.LINUX_64, "aarch64": Platform.LINUX_AARCH64}.get(_machine(tag))
    if tag.startswith("macosx"):
        return {"x86_64": Platform.OSX_64, "arm64": Platform.OSX_ARM64}.get(_machine(tag))
    return Platform.WIN_64 if tag == "win_amd64" else None


def _machine(tag: str) -> str:
    return next((machine for machine in ("x86_64", "aarch64", "arm64") if tag.endswith(f"_{machine}")), "")


def _python(interpreter: str, abi: str) -> PythonVersion | None:
    match = re.fullmatch(r"cp(\d)(\d+)", interpreter)
    if match is None:
        return None
    return PythonVersion(int(match[1]), int(match[2]), free_threaded=bool(re.fullmatch(r"cp\d+t", abi)))


def _json_rows(text: str) -> list[dict[str, Any]]:
    try:
        return list(json.loads(text)["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise SourceUnreachableError(f"the index answered with JSON that is no simple page ({error})") from error


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        href = given.get("href")
        if tag != "a" or not href:
            return
        self.rows.append(
            {
                "filename": unquote(urlsplit(href).path.rpartition("/")[2]),
                "url": href.partition("#")[0],
                "upload-time": given.get("data-upload-time"),
                "core-metadata": given.get("data-core-metadata", given.get("data-dist-info-metadata")),
                "yanked": "data-yanked" in given,
            }
        )


def _html_rows(text: str) -> list[dict[str, Any]]:
    parser = _Anchors()
    parser.feed(text)
    return parser.rows


def _wheel(row: Mapping[str, Any], page: str) -> WheelFile | None:
    name = str(row["filename"])
    try:
        version = parse_wheel_filename(name)[1]
    except (InvalidWheelFilename, ValueError):
        return None
    time = row.get("upload-time")
    metadata = row.get("core-metadata", row.get("dist-info-metadata"))
    return WheelFile(
        name=name,
        url=urljoin(page, str(row["url"])).partition("#")[0],
        version=version,
        uploaded=dt.datetime.fromisoformat(time).astimezone(dt.UTC).date() if time else None,
        metadata=metadata not in (None, False, "false"),
        yanked=bool(row.get("yanked")),
    )
