"""Hashes in the metadata of files, the pages that uv gets of nightlies, and what is said about upload times."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from torchmatrix.backends.answer import Found
from torchmatrix.backends.pip_artifacts import sha256_said
from torchmatrix.backends.pip_as_of import as_of_problems
from torchmatrix.backends.pip_pages import Described, Pages
from torchmatrix.sources.index import Listing
from torchmatrix.sources.pages import Listed, read_page
from torchmatrix.sources.routes import Place, Route, Via

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RAW = bytes(range(32))
HEX, PACKED = RAW.hex(), base64.b64encode(RAW).decode()
HOST = "https://files.example/whl/nightly/cpu"
DAY = dt.date(2025, 1, 30)
WHERE = "https://x.example/simple/numpy/"


# -- hashes in headers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-meta-checksum-sha256": HEX},
        {"x-amz-meta-checksum-sha256": f" {HEX.upper()} "},
        {"x-checksum-sha256": HEX},
        {"x-amz-checksum-sha256": PACKED},
        {"repr-digest": f"sha-256=:{PACKED}:"},
        {"repr-digest": f"sha-512=:{base64.b64encode(bytes(64)).decode()}:, sha-256=:{PACKED}:"},
        {"digest": f"SHA-256={PACKED}"},
        {"digest": f"md5=abc,sha-256={PACKED}"},
        {"x-amz-meta-checksum-sha256": "nonsense", "x-checksum-sha256": HEX},
        {"x-amz-checksum-sha256": f"{PACKED}-7", "repr-digest": f"sha-256=:{PACKED}:"},
    ],
)
def test_a_sha256_that_a_server_says(headers: Mapping[str, str]) -> None:
    assert sha256_said(headers) == HEX


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-amz-meta-checksum-sha256": HEX[:-1]},
        {"x-amz-meta-checksum-sha256": HEX + "0"},
        {"x-amz-meta-checksum-sha256": PACKED},
        {"x-amz-checksum-sha256": f"{PACKED}-7"},  # of the list of an upload's parts, not of the file
        {"x-amz-checksum-sha256": base64.b64encode(bytes(20)).decode()},
        {"x-amz-checksum-sha256": "###"},
        {"x-amz-checksum-crc32": "yRWKhg=="},
        {"etag": f'"{HEX}"'},  # an ETag may be anything
        {"content-digest": f"sha-256=:{PACKED}:"},  # of what is sent, which may be a part of the file
        {"digest": f"sha-512={PACKED}"},
        {"repr-digest": f"sha-256={PACKED}"},
    ],
)
def test_what_is_no_sha256_of_the_file(headers: Mapping[str, str]) -> None:
    assert sha256_said(headers) is None


# -- pages for uv ---------------------------------------------------------------------------------------------------


def listed(name: str, version: str, *, sha256: str | None = None, metadata: bool = True) -> Listed:
    file = f"{name}-{version}-cp312-cp312-manylinux_2_28_x86_64.whl"
    return Listed(
        file=file,
        url=f"{HOST}/{file.replace('+', '%2B')}",
        sha256=sha256,
        metadata=metadata,
        requires_python=">=3.10",
        version=Version(version),
        name=name,
    )


TORCH = listed("torch", "2.16.0.dev20261120+cpu")
HASHED = listed("torchvision", "0.31.0.dev20261120+cpu", sha256=HEX, metadata=False)
PAGES = Pages(
    source="pytorch",
    files={"torch": [TORCH], "torchvision": [HASHED]},
    described={
        "torch": Described(
            version=Version("2.16.0.dev20261120+cpu"),
            requires=('filelock; sys_platform != "win32"', "opt-einsum>=3.3; extra == 'opt-einsum'"),
            extras=("opt-einsum",),
            requires_python=">=3.10",
        )
    },
)


def test_written_pages_lead_to_the_files_themselves(tmp_path: Path) -> None:
    place = Place(address="https://mirror.example/whl", flat=False)
    route = Route(source="pytorch", via=Via.MIRROR, places=(place,), origin="test")
    local = PAGES.write(tmp_path / "pages", route)
    assert local.places == (Place(address=(tmp_path / "pages").as_uri(), flat=False),)
    page = tmp_path / "pages" / "torch" / "index.html"
    (found,) = read_page(page.read_bytes(), "text/html", page.as_uri())
    assert (found.file, found.url, found.metadata, found.requires_python) == (TORCH.file, TORCH.url, True, ">=3.10")
    page = tmp_path / "pages" / "torchvision" / "index.html"
    (found,) = read_page(page.read_bytes(), "text/html", page.as_uri())
    assert (found.sha256, found.metadata) == (HEX, False)


def test_stand_ins_for_hashes_differ(tmp_path: Path) -> None:
    """uv takes two files with one hash for one file."""
    names = {name: [listed(name, "1.0")] for name in ("one", "two")}
    route = Route(source="pytorch", via=Via.SOURCE, places=(), origin="test")
    Pages(source="pytorch", files=names).write(tmp_path, route)
    hashes = set()
    for name in names:
        page = tmp_path / name / "index.html"
        hashes.add(read_page(page.read_bytes(), "text/html", page.as_uri())[0].sha256)
    assert len(hashes) == 2
    assert None not in hashes


def test_only_the_hash_of_the_real_page_counts() -> None:
    torch = Found(name="torch", version=Version("2.16.0.dev20261120+cpu"), address=TORCH.url, sha256="ab" * 32)
    assert PAGES.cleared(torch).sha256 is None
    vision = Found(name="torchvision", version=Version("0.31.0.dev20261120+cpu"), address=HASHED.url, sha256="ab" * 32)
    assert PAGES.cleared(vision).sha256 == HEX
    numpy = Found(name="numpy", version=Version("2.3.4"), address="https://x.example/numpy.whl", sha256="ab" * 32)
    assert PAGES.cleared(numpy) == numpy


def test_metadata_for_uv_is_toml() -> None:
    import tomllib

    assert tomllib.loads(PAGES.tables()) == {
        "dependency-metadata": [
            {
                "name": "torch",
                "version": "2.16.0.dev20261120+cpu",
                "requires-dist": ['filelock; sys_platform != "win32"', "opt-einsum>=3.3; extra == 'opt-einsum'"],
                "provides-extra": ["opt-einsum"],
                "requires-python": ">=3.10",
            }
        ]
    }
    assert Pages(source="pytorch").tables() == ""


# -- as of ----------------------------------------------------------------------------------------------------------


def numpy(*uploads: tuple[str, str | None]) -> Listing:
    files = [
        Listed(
            file=f"numpy-{version}-py3-none-any.whl",
            url="https://x.example/numpy",
            version=Version(version),
            name="numpy",
            uploaded=dt.datetime.fromisoformat(time) if time else None,
        )
        for version, time in uploads
    ]
    return Listing(files=tuple(files), where=WHERE)


SAYS = "Because there is no version of numpy==2.0 and …\n hint: `numpy` was filtered by `exclude-newer` to only …"


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        (
            numpy(("1.0", None), ("2.0", None)),
            (f"{WHERE} gives no upload times, so that nobody can tell which numpy there was on",),
        ),
        (
            numpy(("1.0", "2024-01-01T00:00:00Z"), ("2.0", "2025-03-02T00:00:00Z"), ("2.0", "2025-02-01T00:00:00Z")),
            ("numpy 2.0 was uploaded on 2025-02-01, after the as-of date",),
        ),
        (
            numpy(("2.1", "2025-03-01T00:00:00Z"), ("1.9", "2025-02-01T00:00:00Z")),
            ("numpy did not exist on the as-of date 2025-01-30: its first version, 1.9, was uploaded on 2025-02-01",),
        ),
        (numpy(("2.0", "2025-01-30T23:59:59Z")), ()),
        (numpy(), ()),
    ],
)
def test_why_nothing_resolves_as_of_a_date(listing: Listing, words: tuple[str, ...]) -> None:
    assert (
        tuple(found.removesuffix(" 2025-01-30") for found in as_of_problems(SAYS, DAY, lambda _: listing)[0]) == words
    )


def test_no_page_is_read_where_upload_times_play_no_part() -> None:
    def listing(name: str) -> Listing:
        raise AssertionError(name)

    assert as_of_problems("Because there is no version of numpy==2.0 …", DAY, listing) == ((), "")
