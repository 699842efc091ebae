"""Which hash of uv's answer counts where uv got pages of our own."""

from __future__ import annotations

import pytest
from packaging.version import Version

from torchmatrix.backends.answer import Found
from torchmatrix.backends.pip_pages import Pages
from torchmatrix.sources.pages import Listed

HEX, STAND_IN = "cd" * 32, "ab" * 32
FILE = "torch-2.16.0%2Bcpu-cp312-cp312-linux_x86_64.whl"


def page(*urls: str) -> Pages:
    files = [Listed(file=url.rpartition("/")[2], url=url, sha256=HEX, size=7) for url in urls]
    return Pages(source="pytorch", files={"torch": files})


def found(address: str, name: str = "torch") -> Found:
    return Found(name=name, version=Version("2.16.0+cpu"), address=address, sha256=STAND_IN)


@pytest.mark.parametrize(
    "address",
    [
        f"https://files.example/cpu/{FILE}",
        f"https://files.example/cpu/{FILE.replace('%2B', '+')}",
        f"https://files.example/cpu/{FILE}#sha256={STAND_IN}",
        f"https://me:secret@files.example/cpu/{FILE}",
    ],
)
def test_the_same_file_however_it_is_written(address: str) -> None:
    cleared = page(f"https://files.example/cpu/{FILE}").cleared(found(address))
    assert (cleared.sha256, cleared.size) == (HEX, 7)


@pytest.mark.parametrize("address", [f"https://files.example/cu130/{FILE}", "https://files.example/cpu/torch-1.whl"])
def test_a_file_that_the_page_does_not_list_has_no_hash(address: str) -> None:
    """Its name may be that of another file; the stand-in for a hash must never get into a lockfile."""
    cleared = page(f"https://files.example/cpu/{FILE}").cleared(found(address))
    assert (cleared.sha256, cleared.size) == (None, None)


def test_two_files_of_one_name_are_told_apart() -> None:
    one, other = (f"https://files.example/{folder}/{FILE}" for folder in ("a", "b"))
    files = [Listed(file="x.whl", url=one, sha256=HEX), Listed(file="x.whl", url=other, sha256="ef" * 32)]
    pages = Pages(source="pytorch", files={"torch": files})
    assert pages.cleared(found(other)).sha256 == "ef" * 32
    assert pages.cleared(found(one)).sha256 == HEX


def test_what_is_of_another_source_stays() -> None:
    numpy = found("https://x.example/numpy.whl", name="numpy")
    assert page().cleared(numpy) == numpy
