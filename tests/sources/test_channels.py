"""Conda channels by name: addresses, labels, mirrors in order, and what a path below them means."""

from __future__ import annotations

import pytest

from tests.lock.samples import conda_package
from torchmatrix.errors import UsageError
from torchmatrix.sources.channels import CONDA_BASES, ChannelName, Channels, channel_of, plain_base
from torchmatrix.sources.config import SourceConfig
from torchmatrix.sources.pip_config import Setting

LABEL = "nvidia/label/cuda-11.8.0"


def channels(private: dict[str, str] | None = None, **mirrors: str) -> Channels:
    """``mirrors``: places with blanks between, by a source's name with ``_`` for ``-``."""
    said = {
        name.replace("_", "-"): tuple(Setting(value=place, origin="a test") for place in places.split())
        for name, places in mirrors.items()
    }
    return Channels(SourceConfig(default_index=None, mirrors=said), private or {})


@pytest.mark.parametrize(
    ("text", "source", "label", "below"),
    [
        ("conda-forge", "conda-forge", None, ""),
        (LABEL, "nvidia", "cuda-11.8.0", "label/cuda-11.8.0"),
        ("corp/label/main", "corp", "main", "label/main"),
    ],
)
def test_a_name_says_source_and_label(text: str, source: str, label: str | None, below: str) -> None:
    name = ChannelName.parse(text)
    assert (name.source, name.label, name.below, str(name)) == (source, label, below, text)


def test_where_the_known_ones_are() -> None:
    found = {str(name): channels().address(name) for name in map(ChannelName.parse, (*CONDA_BASES, LABEL))}
    assert found == {
        "conda-forge": "https://conda.anaconda.org/conda-forge",
        "pytorch-conda": "https://conda.anaconda.org/pytorch",
        "nvidia": "https://conda.anaconda.org/nvidia",
        LABEL: "https://conda.anaconda.org/nvidia/label/cuda-11.8.0",
    }


def test_places_are_the_mirrors_in_their_order_and_the_conda_channel_itself() -> None:
    made = channels(nvidia="http://one.example/nvidia/ /srv/nvidia file:///srv/two")
    assert made.places(ChannelName.parse("nvidia")) == (
        "http://one.example/nvidia",
        "/srv/nvidia",
        "file:///srv/two",
        "https://conda.anaconda.org/nvidia",
    )
    assert made.places(ChannelName.parse(LABEL)) == (
        "http://one.example/nvidia/label/cuda-11.8.0",
        "/srv/nvidia/label/cuda-11.8.0",
        "file:///srv/two/label/cuda-11.8.0",
        "https://conda.anaconda.org/nvidia/label/cuda-11.8.0",
    )
    assert made.places(ChannelName("conda-forge")) == ("https://conda.anaconda.org/conda-forge",)


def test_a_mirror_changes_no_address() -> None:
    made = channels(conda_forge="http://user:secret@one.example/t/tk-12345678/conda-forge")
    assert made.address(ChannelName("conda-forge")) == made.base("conda-forge") == CONDA_BASES["conda-forge"]


def test_a_private_one_has_the_address_of_the_matrix() -> None:
    made = channels({"corp": "https://conda.corp.example/main/"})
    assert made.places(ChannelName("corp", "dev")) == ("https://conda.corp.example/main/label/dev",)
    assert made.address(ChannelName("corp", "dev")) == "https://conda.corp.example/main/label/dev"


@pytest.mark.parametrize("use", [Channels.base, lambda made, name: made.places(ChannelName(name))])
def test_one_that_is_gone_from_the_matrix(use) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError) as caught:
        use(channels(), "corp")
    assert caught.value.message == "source corp is no conda channel of matrix.yaml any more"
    assert caught.value.hint == "give it a conda-channel under `sources:`, or lock again"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://conda.anaconda.org/nvidia/linux-64/x-1-0.conda", "linux-64/x-1-0.conda"),
        ("https://conda.anaconda.org/nvidia/label/a/linux-64/x-1-0.conda", "label/a/linux-64/x-1-0.conda"),
        ("https://conda.anaconda.org/nvidia2/linux-64/x-1-0.conda", None),
        ("https://evil.example/nvidia/linux-64/x-1-0.conda", None),
        ("http://conda.anaconda.org/nvidia/linux-64/x-1-0.conda", None),
    ],
)
def test_the_path_of_a_file_is_below_its_source(url: str, path: str | None) -> None:
    assert channels().path(url, ChannelName("nvidia")) == path


@pytest.mark.parametrize(
    ("source", "path", "name"),
    [
        ("nvidia", "linux-64/x-1-0.conda", "nvidia"),
        ("nvidia", "label/cuda-11.8.0/linux-64/x-1-0.conda", LABEL),
        ("corp", "noarch/label-1-0.conda", "corp"),
        ("corp", None, "corp"),
    ],
)
def test_which_conda_channel_an_artifact_is_of(source: str, path: str | None, name: str) -> None:
    assert str(channel_of(conda_package("x", "1", "0", source=source, path=path))) == name


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("https://conda.corp.example/main/", "https://conda.corp.example/main"),
        ("https://me:pass@conda.corp.example/main", "https://conda.corp.example/main"),
        ("https://conda.corp.example/t/tk-12345678/main", "https://conda.corp.example/main"),
        ("https://conda.corp.example/api/t/x/main/label/y", "https://conda.corp.example/api/main/label/y"),
        ("https://conda.corp.example/t/main", "https://conda.corp.example/t/main"),
    ],
)
def test_an_address_without_credentials(address: str, plain: str) -> None:
    assert plain_base(address) == plain
