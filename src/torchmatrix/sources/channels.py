"""Conda channels by name: their addresses, their labels, and the mirrors that serve the same files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from torchmatrix.catalog.model import CONDA_FORGE, PYTORCH_CONDA
from torchmatrix.errors import UsageError
from torchmatrix.sources.credentials import without_userinfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchmatrix.lock.model import Artifact
    from torchmatrix.sources.config import SourceConfig

NVIDIA = "nvidia"
CONDA_BASES: Mapping[str, str] = MappingProxyType(
    {
        CONDA_FORGE: "https://conda.anaconda.org/conda-forge",
        PYTORCH_CONDA: "https://conda.anaconda.org/pytorch",
        NVIDIA: "https://conda.anaconda.org/nvidia",
    }
)
"""Addresses of the conda channels that are known by name (https://docs.anaconda.com/anacondaorg)."""
_TOKEN = re.compile(r"/t/[^/]+(?=/)")
"""Where addresses of conda channels carry a token: ``https://conda.anaconda.org/t/TOKEN/channel``."""


@dataclass(frozen=True, slots=True, order=True)
class ChannelName:
    """One conda channel as the matrix names it: a source, and maybe one of its labels."""

    source: str
    label: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``conda-forge`` or ``nvidia/label/cuda-11.8.0``."""
        source, _, label = text.partition("/label/")
        return cls(source, label or None)

    @property
    def below(self) -> str:
        """Where it is below its source's address: empty, or ``label/cuda-11.8.0``."""
        return f"label/{self.label}" if self.label else ""

    def __str__(self) -> str:
        return f"{self.source}/{self.below}" if self.label else self.source


class Channels:
    """The addresses of conda channels; ``private`` are those of the matrix by source name."""

    def __init__(self, config: SourceConfig, private: Mapping[str, str]) -> None:
        self._config = config
        self._addresses = {**CONDA_BASES, **{name: address.rstrip("/") for name, address in private.items()}}

    def base(self, source: str) -> str:
        """The address that lockfiles name: no mirror's, and without credentials. `UsageError` for an unknown source."""
        return plain_base(self._address(source))

    def _address(self, source: str) -> str:
        if source not in self._addresses:
            raise UsageError(
                f"source {source} is no conda channel of matrix.yaml any more",
                hint="give it a conda-channel under `sources:`, or lock again",
            )
        return self._addresses[source]

    def places(self, channel: ChannelName) -> tuple[str, ...]:
        """Where its files may be: its mirrors in their order, then the channel itself. Addresses, or folders."""
        own = self._address(channel.source)
        mirrors = [setting.value.rstrip("/") for setting in self._config.mirrors.get(channel.source, ())]
        return tuple(f"{place}/{channel.below}" if channel.below else place for place in (*mirrors, own))

    def address(self, channel: ChannelName) -> str:
        """What the solver knows it by."""
        base = self.base(channel.source)
        return f"{base}/{channel.below}" if channel.below else base

    def path(self, url: str, channel: ChannelName) -> str | None:
        """The path of a file below its source's address; ``None`` for an address that is not below it."""
        base = self.base(channel.source) + "/"
        return url[len(base) :] if url.startswith(base) else None


def channel_of(artifact: Artifact) -> ChannelName:
    """The conda channel that a package is from, as its path tells: ``label/cuda-11.8.0/linux-64/x.conda``."""
    folders = (artifact.path or "").split("/")
    label = folders[1] if folders[0] == "label" and len(folders) == 4 else None
    return ChannelName(artifact.source, label)


def package_stem(file: str) -> str:
    """The name of a package's file without its ending, which is that of its folder where it is unpacked."""
    return file.removesuffix(".conda").removesuffix(".tar.bz2")


def plain_base(address: str) -> str:
    """An address as lockfiles may have it: without user, password or token."""
    parts = urlsplit(without_userinfo(address))
    return parts._replace(path=_TOKEN.sub("", parts.path)).geturl().rstrip("/")
