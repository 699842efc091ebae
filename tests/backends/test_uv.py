"""What uv is told, and what its errors mean."""

from __future__ import annotations

import os
import tomllib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from tests.cli.project import closed_port
from tests.support.fixtures import clean_environment
from torchmatrix.backends.pip_install import constraints_text, install_file
from torchmatrix.backends.pip_resolve import end_of_day
from torchmatrix.backends.uv import config_file, default_index, explain, find_uv, folder_of, project_file
from torchmatrix.command import Command, Outcome
from torchmatrix.errors import CellError, HostError, IntegrityError, SourceUnreachableError, TorchmatrixError
from torchmatrix.lock.model import Artifact, Lockfile
from torchmatrix.sources.config import PYPI
from torchmatrix.sources.index import place_address
from torchmatrix.sources.routes import PYTORCH, Place, Route, Via

if TYPE_CHECKING:
    from pathlib import Path

BASE = "https://index.example"


def route(source: str, *addresses: str, via: Via = Via.SOURCE, flat: bool = False) -> Route:
    places = tuple(Place(address=address, flat=flat) for address in addresses)
    return Route(source=source, via=via, places=places, origin="test")


def outcome(stderr: str, returncode: int = 1) -> Outcome:
    return Outcome(command=Command(argv=("uv",), env={}), returncode=returncode, stdout="", stderr=stderr)


# The project file


def test_project_file_names_the_source_of_every_package() -> None:
    text = project_file(
        ["torch==2.13.0", 'six; python_version < "4"'],
        {PYPI: (route(PYPI, f"{BASE}/simple"), None), PYTORCH: (route(PYTORCH, f"{BASE}/whl"), "cu118")},
        {"torch": PYTORCH, "triton": PYTORCH},
        "3.12",
    )
    data = tomllib.loads(text)
    assert data == {
        "project": {
            "name": "torchmatrix-cell",
            "version": "0",
            "requires-python": ">=3.12",
            "dependencies": ["torch==2.13.0", 'six; python_version < "4"'],
        },
        "tool": {
            "uv": {
                "index": [
                    {
                        "name": "pytorch",
                        "url": f"{BASE}/whl/cu118",
                        "explicit": True,
                        "exclude-newer": False,
                        "cache-control": {"api": "max-age=120"},
                    }
                ],
                "sources": {"torch": {"index": "pytorch"}, "triton": {"index": "pytorch"}},
            }
        },
    }


def test_every_index_but_the_default_one_is_explicit() -> None:
    routes = {
        PYPI: (route(PYPI, f"{BASE}/simple"), None),
        PYTORCH: (route(PYTORCH, f"{BASE}/whl"), "cpu"),
        "corp": (route("corp", f"{BASE}/corp"), None),
    }
    indexes = {one["name"]: one for one in tomllib.loads(config_file(routes))["index"]}
    assert set(indexes) == {"corp", "pypi", "pytorch"}
    assert [name for name, one in indexes.items() if one.get("default")] == ["pypi"]
    assert sorted(name for name, one in indexes.items() if one.get("explicit")) == ["corp", "pytorch"]
    assert "exclude-newer" not in indexes["pypi"]
    assert config_file({}) == ""


def test_several_stand_ins_of_the_default_index_keep_their_order() -> None:
    stand_in = route(PYPI, f"{BASE}/one", f"{BASE}/two", via=Via.STAND_IN)
    indexes = tomllib.loads(config_file({PYPI: (stand_in, None)}))["index"]
    assert [(one["name"], one["url"], one.get("default", False)) for one in indexes] == [
        ("pypi-0", f"{BASE}/one", False),
        ("pypi", f"{BASE}/two", True),
    ]


def test_a_flat_folder_is_said_to_be_one(tmp_path: Path) -> None:
    text = project_file([], {PYTORCH: (route(PYTORCH, str(tmp_path), flat=True), "cpu")}, {}, "3.11")
    index = tomllib.loads(text)["tool"]["uv"]["index"][0]
    assert (index["url"], index["format"]) == (str(tmp_path), "flat")
    assert "cache-control" not in index


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (route(PYTORCH, f"{BASE}/whl"), f"{BASE}/whl/cpu"),
        (route(PYTORCH, f"{BASE}/whl", via=Via.MIRROR), f"{BASE}/whl/cpu"),
        (route(PYTORCH, f"{BASE}/extra", via=Via.STAND_IN), f"{BASE}/extra"),
        (route(PYTORCH, "/srv/wheels", via=Via.MIRROR, flat=True), "/srv/wheels"),
    ],
)
def test_where_an_index_has_its_accelerators(place: Route, expected: str) -> None:
    assert place_address(place.place, "cpu", stand_in=place.via is Via.STAND_IN) == expected


@pytest.mark.parametrize(
    ("source", "accelerator", "nightly", "expected"),
    [
        (PYTORCH, "cpu", False, "cpu"),
        (PYTORCH, "cu118", False, "cu118"),
        (PYTORCH, "mps", False, "cpu"),
        (PYTORCH, "cu130", True, "nightly/cu130"),
        (PYTORCH, "mps", True, "nightly/cpu"),
        (PYPI, "cu130", False, None),
        ("corp", "cpu", False, None),
    ],
)
def test_folder_below_the_pytorch_index(source: str, accelerator: str, nightly: bool, expected: str | None) -> None:
    assert folder_of(source, accelerator, nightly=nightly) == expected


def lockfile() -> Lockfile:
    artifact: dict[str, Any] = {"sha256": "0" * 64}
    return Lockfile(
        cell="py312-stable-cpuonly",
        python="3.12",
        channel="stable",
        target="cpuonly",
        platform="linux-64",
        accelerator="cpu",
        backend="pip",
        floor="glibc 2.28",
        torch=Version("2.13.0+cpu"),
        input_digest="sha256:0",
        inputs=MappingProxyType({}),
        artifacts=(
            Artifact(name="numpy", version=Version("2.3.4"), file="n.whl", source=PYPI, **artifact),
            Artifact(name="torch", version=Version("2.13.0+cpu"), file="t.whl", source=PYTORCH, **artifact),
        ),
    )


def test_what_is_installed_is_the_record_with_its_hashes() -> None:
    routes = {PYPI: route(PYPI, f"{BASE}/simple"), PYTORCH: route(PYTORCH, f"{BASE}/whl")}
    data = tomllib.loads(install_file(lockfile(), routes, lockfile().artifacts, {}))
    assert data["project"]["dependencies"] == ["numpy==2.3.4", "torch==2.13.0+cpu"]
    assert data["tool"]["uv"]["sources"] == {"torch": {"index": "pytorch"}}
    assert data["tool"]["uv"]["index"][0]["url"] == f"{BASE}/whl/cpu"
    assert constraints_text(lockfile()).splitlines() == [
        f"numpy==2.3.4 --hash=sha256:{'0' * 64}",
        f"torch==2.13.0+cpu --hash=sha256:{'0' * 64}",
    ]


def test_the_end_of_a_day_is_a_full_timestamp() -> None:
    import datetime as dt

    assert end_of_day(dt.date(2025, 1, 30)) == "2025-01-31T00:00:00Z"
    assert end_of_day(dt.date(2025, 12, 31)) == "2026-01-01T00:00:00Z"


def test_uv_tells_its_default_index_without_the_network(tmp_path: Path) -> None:
    env = {**clean_environment(tmp_path), "UV_DEFAULT_INDEX": f"http://127.0.0.1:{closed_port()}/simple"}
    assert default_index(find_uv(), env) == env["UV_DEFAULT_INDEX"]
    env.pop("UV_DEFAULT_INDEX")
    learned = default_index(find_uv(), env)
    assert learned is not None
    assert learned.startswith("https://")


# Errors, as uv 0.13 prints them

NO_VERSION = """\
error: No solution found when resolving dependencies
  cause: Because there is no version of torch==2.99.0 and torchmatrix-cell depends on torch==2.99.0, we can conclude \
that your requirements are unsatisfiable.
"""
STATUS = """\
error: Failed to fetch: {url}
  cause: HTTP status {kind} error ({status}) for url ({url})
"""
RESET = """\
error: Failed to fetch: http://index.example/simple/numpy/
  cause: error sending request for url (http://index.example/simple/numpy/)
  cause: client error (SendRequest)
  cause: connection error
  cause: Connection reset by peer (os error 104)
"""
CUT = """\
Resolved 1 package in 12ms
error: Failed to download `numpy==2.3.4`
  cause: Failed to write to the distribution cache
  cause: error decoding response body
  cause: end of file before message length reached
"""
DNS = """\
error: Request failed after 3 retries
  cause: Failed to fetch: `https://index.example/simple/numpy/`
  cause: error sending request for url (https://index.example/simple/numpy/)
  cause: client error (Connect)
  cause: dns error
  cause: failed to lookup address information: Name or service not known
"""
TLS = """\
error: Failed to fetch: `https://index.example/simple/numpy/`
  cause: error sending request for url (https://index.example/simple/numpy/)
  cause: client error (Connect)
  cause: invalid peer certificate: UnknownIssuer
"""
OFFLINE = """\
error: No solution found when resolving dependencies
  cause: Because torch was not found in the cache and torchmatrix-cell depends on torch==2.13.0, we can conclude that \
your requirements are unsatisfiable.

hint: Packages were unavailable because the network was disabled. When the network is disabled, registry packages may \
only be read from the cache.
"""
HASH = """\
error: Failed to download `torch==2.13.0`
  cause: Hash mismatch for `torch==2.13.0`

Expected:
  sha256:0000

Computed:
  sha256:1111
"""
FULL = """\
error: Failed to install: torch-2.13.0-cp311-cp311-linux_x86_64.whl (torch==2.13.0)
  cause: failed to copy file
  cause: No space left on device (os error 28)
"""


@pytest.mark.parametrize(
    ("stderr", "kind", "message", "hint"),
    [
        pytest.param(NO_VERSION, CellError, "no version of torch==2.99.0 and the cell depends", None, id="no-version"),
        pytest.param(
            STATUS.format(url=f"{BASE}/simple/numpy/", kind="server", status="503 Service Unavailable"),
            SourceUnreachableError,
            "doing: index.example answered 503",
            "try again later",
            id="503",
        ),
        pytest.param(
            STATUS.format(url=f"{BASE}/simple/numpy/", kind="client", status="429 Too Many Requests"),
            SourceUnreachableError,
            "answered 429",
            "try again later",
            id="429",
        ),
        pytest.param(
            STATUS.format(url=f"{BASE}/files/numpy.whl", kind="client", status="404 Not Found"),
            SourceUnreachableError,
            "answered 404",
            "check the address",
            id="404",
        ),
        pytest.param(
            STATUS.format(url=f"{BASE}/files/numpy.whl", kind="client", status="403 Forbidden"),
            SourceUnreachableError,
            "answered 403",
            "credentials",
            id="403",
        ),
        pytest.param(RESET, SourceUnreachableError, "index.example cannot be read", "TORCHMATRIX_MIRRORS", id="reset"),
        pytest.param(CUT, SourceUnreachableError, "a source cannot be read", "TORCHMATRIX_MIRRORS", id="cut"),
        pytest.param(DNS, SourceUnreachableError, "index.example cannot be read", "HTTPS_PROXY", id="dns"),
        pytest.param(TLS, SourceUnreachableError, "index.example cannot be read", "SSL_CERT_FILE", id="tls"),
        pytest.param(
            OFFLINE, SourceUnreachableError, "--offline, and not everything", "without --offline", id="offline"
        ),
        pytest.param(HASH, IntegrityError, "the bytes are not those of the lockfile", "lock --upgrade", id="hash"),
        pytest.param(FULL, HostError, "the disk is full", "cache gc", id="disk"),
        pytest.param("", CellError, "(uv said nothing)", None, id="silence"),
    ],
)
def test_what_an_error_of_uv_means(stderr: str, kind: type[TorchmatrixError], message: str, hint: str | None) -> None:
    error = explain(outcome(stderr), "doing")
    assert type(error) is kind
    assert message in error.message
    assert (error.hint is None) if hint is None else (hint in (error.hint or ""))
    assert "torchmatrix-cell" not in error.message


def test_uvs_words_are_kept_without_credentials_and_progress() -> None:
    text = "Resolved 3 packages in 1ms\n" + STATUS.format(
        url="https://me:geheim@index.example/simple/", kind="server", status="500 Internal Server Error"
    )
    error = explain(outcome(text), "resolving x")
    assert "geheim" not in f"{error}"
    assert error.message.splitlines() == [
        "resolving x: index.example answered 500",
        "  Failed to fetch: https://***@index.example/simple/",
        "  HTTP status server error (500 Internal Server Error) for url (https://***@index.example/simple/)",
    ]


def test_uv_is_the_one_of_our_installation() -> None:
    assert find_uv().is_file()
    assert os.access(find_uv(), os.X_OK)
