"""Which hosts may serve the files of a source: the known ones are data, every other one is refused by name.

The PyTorch index's hosts are in the catalog. The default index's file host is in no configuration of pip or uv: it is
the host that most of the files of the first resolution are on, learned then and remembered for that index. A host of
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


_LEARNING = (PYPI, "pytorch")
"""Sources whose files may be on the learned host. A private source's packages are on its own hosts."""


class FileHosts:
    """The hosts of every source. Host names only: a port says nothing about whose machine it is."""

    def __init__(
        self,
        config: SourceConfig,
        *,
        known: Mapping[str, Iterable[str]] | None = None,
        learned: Mapping[str, str] | None = None,
    ) -> None:
        """``known``: hosts of a source as data; ``learned``: what `learned` gave in an earlier run."""
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
            if host in self._hosts.get(source, ()):
                return True
            # Pages of the PyTorch index point to the default index's files for what they only pass on.
            return source in _LEARNING and host == self._learned.get(self._key(PYPI))

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
            key = self._key(source)
            if source in self._declared or key in self._learned or not hosts:
                return
            host, count = hosts.most_common(1)[0]
            # Where the index serves its files itself, one link to a stranger is no file host.
            if host not in self._hosts.get(source, ()) and count * 2 > hosts.total():
                self._learned[key] = host

    def _key(self, source: str) -> str:
        """Under what a learned host is kept: another index behind the same name has another file host."""
        return " ".join([source, *sorted(self._hosts.get(source, ()))])

    @property
    def learned(self) -> Mapping[str, str]:
        """File hosts that were learned, to be given to `FileHosts` again."""
        with self._lock:
            return dict(self._learned)
