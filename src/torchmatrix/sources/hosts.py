"""Which hosts may serve the files of a source: the known ones are data, every other one is refused by name.

The PyTorch index's hosts are in the catalog. The default index's file host is in no configuration of pip or uv: it is
the one host beside the index itself that its pages name, learned at the first resolution and remembered. A host of
one's own is allowed by ``TORCHMATRIX_FILE_HOSTS="NAME=HOST …"`` or ``[file-hosts]`` in the configuration file.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from torchmatrix.errors import IntegrityError
from torchmatrix.sources.config import PYPI, SourceConfig, local_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class FileHosts:
    """The hosts of every source. Host names only: a port says nothing about whose machine it is."""

    def __init__(
        self,
        config: SourceConfig,
        *,
        known: Mapping[str, Iterable[str]] | None = None,
        learned: Mapping[str, str] | None = None,
    ) -> None:
        """``known``: hosts of a source as data; ``learned``: what `learned` of an earlier run gave."""
        self._lock = threading.Lock()
        self._hosts: dict[str, set[str]] = {name: set(hosts) for name, hosts in (known or {}).items()}
        self._declared = frozenset(config.file_hosts)
        for name, hosts in config.file_hosts.items():
            self._hosts.setdefault(name, set()).update(hosts)
        for name, settings in config.mirrors.items():
            for setting in settings:
                self.allow(name, setting.value)
        self._learned = dict(learned or {})

    def allow(self, source: str, address: str) -> None:
        """The host of an address that was configured for ``source``."""
        host = urlsplit(address).hostname if local_path(address) is None else None
        if host:
            with self._lock:
                self._hosts.setdefault(source, set()).add(host)

    def allows(self, url: str, *, source: str) -> bool:
        """Whether a file of ``source`` may be at ``url``; local files may."""
        host = urlsplit(url).hostname
        if host is None:
            return True
        with self._lock:
            # Pages of the PyTorch index point to the default index's files for what they only pass on.
            return host in self._hosts.get(source, ()) or host == self._learned.get(PYPI)

    def require(self, url: str, *, source: str, named_by: str) -> None:
        """`IntegrityError` with the host's name when ``url`` is on a host that is none of the source's."""
        if self.allows(url, source=source):
            return
        host = urlsplit(url).hostname
        with self._lock:
            known = ", ".join(sorted(self._hosts.get(source, ()))) or "none"
        raise IntegrityError(
            f"source {source}: {named_by} leads to {host}, which is none of its file hosts ({known})",
            hint=f'if {host} is to serve its files, say so: TORCHMATRIX_FILE_HOSTS="{source}={host}"',
        )

    def learn(self, urls: Iterable[str], *, source: str = PYPI) -> None:
        """Learn the file host of a source whose hosts nobody declared: the one that most of its files are on."""
        hosts = Counter(host for url in urls if (host := urlsplit(url).hostname))
        with self._lock:
            if source in self._declared or source in self._learned:
                return
            foreign = [(host, count) for host, count in hosts.most_common() if host not in self._hosts.get(source, ())]
            if foreign and foreign[0][1] * 2 > sum(count for _, count in foreign):
                self._learned[source] = foreign[0][0]

    @property
    def learned(self) -> Mapping[str, str]:
        """File hosts that were learned, by source."""
        with self._lock:
            return dict(self._learned)
