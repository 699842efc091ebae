"""Which conda channel serves which package of a cell: each name has one owner, and the solver sees no other's.

The solver's own strict priority looks at candidates that fit a spec, not at names, and pins of a channel bind only what
is asked for directly. So both are decided here, before it: a name that a private source claims is that source's, the
family is the cell's source's, every other name the first conda channel's that lists it at all.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torchmatrix.backends.conda_repodata import Opened, records_of
from torchmatrix.backends.conda_specs import FAMILY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rattler import PackageName, RepoDataRecord, SparseRepoData, Subdir

    from torchmatrix.errors import TorchmatrixError
    from torchmatrix.matrix.model import Cell, PrivateSource
    from torchmatrix.sources.channels import ChannelName, Channels
    from torchmatrix.sources.repodata import Listings


class Owned:
    """The packages of a cell's conda channels, each from its owner; what py-rattler calls a custom source."""

    def __init__(
        self,
        cell: Cell,
        listings: Sequence[Listings],
        private: Mapping[str, PrivateSource],
        channels: Channels,
        opened: Opened,
    ) -> None:
        self._cell = cell
        self._private = {name: source for name, source in private.items() if source.conda_channel}
        self._data: dict[ChannelName, dict[str, SparseRepoData]] = {
            one.channel: {
                subdir: opened.get(channels.address(one.channel), subdir, path) for subdir, path in one.files.items()
            }
            for one in listings
        }
        self.failure: TorchmatrixError | None = None
        """What went wrong while the solver asked: it would only say that something did."""
        self.owners: dict[str, ChannelName] = {}
        for channel, subdirs in self._data.items():
            for data in subdirs.values():
                for name in data.package_names():
                    if name not in self.owners and self._may_own(channel, name):
                        self.owners[name] = channel

    def _may_own(self, channel: ChannelName, name: str) -> bool:
        source = self.source_of(name)
        return channel.source == source if source else channel.source not in self._private

    def source_of(self, name: str) -> str | None:
        """The source that alone may serve a package; ``None`` where the order of the conda channels decides."""
        for source in self._private.values():
            if any(fnmatchcase(name, pattern) for pattern in source.packages):
                return source.name
        return self._cell.source if name in FAMILY else None

    def records(self, subdir: str, name: str) -> list[RepoDataRecord]:
        """What the owner of a package lists below ``subdir``; empty where nobody has it."""
        owner = self.owners.get(name)
        data = self._data[owner].get(subdir) if owner is not None else None
        return records_of(data, name) if data is not None else []

    async def fetch_package_records(self, platform: Subdir, name: PackageName) -> list[RepoDataRecord]:
        """As py-rattler asks for `records`."""
        from torchmatrix.errors import TorchmatrixError

        try:
            return self.records(str(platform), name.normalized)
        except TorchmatrixError as error:
            self.failure = error
            raise

    def package_names(self, platform: Subdir) -> list[str]:
        """Every package that somebody has below ``platform``."""
        subdir = str(platform)
        return [name for name, owner in self.owners.items() if subdir in self._data[owner]]
