"""User and password for an address, from the places where uv and pip look for them.

In this order, as uv has it (its documentation, "HTTP credentials" and "Package indexes"; checked against uv 0.13): the
URL itself, ``UV_INDEX_<NAME>_USERNAME`` and ``_PASSWORD``, the configured addresses of the same server, netrc, and the
``keyring`` command. What is configured for one server (scheme, host and port) is never given for another one.
"""

from __future__ import annotations

import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from torchmatrix import command
from torchmatrix.command import Command, Outcome
from torchmatrix.errors import HostError
from torchmatrix.sources.config import PYPI, UV_CREDENTIAL

if TYPE_CHECKING:
    import netrc
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torchmatrix.sources.config import SourceConfig

KEYRING_SECONDS = 120.0
"""How long ``keyring`` may take: it may ask the user to unlock something."""

_PORTS = {"http": 80, "https": 443}
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
"""What HTTP clients read in different ways: no credentials where the host may be another one than it seems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """Whom credentials are for; ``port`` is the real one, also where the address leaves it out."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Host and port as an address has them: without the port that the scheme has anyway."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if _PORTS[self.scheme] == self.port else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    """An address taken apart. ``password`` is ``None`` when there is none, and so is ``user``."""

    server: _Server
    path: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Credentials, or only a user, that the configuration names for an address."""

    source: str | None
    address: _Address
    service: str
    """The address as ``keyring`` knows it."""
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)


class Credentials:
    """Looks credentials up; one object a process, shared by its threads.

    ``private`` are index URLs of the matrix by source name; ``run`` starts ``keyring``.
    """

    def __init__(
        self,
        config: SourceConfig,
        *,
        home: Path,
        private: Mapping[str, str] | None = None,
        run: Callable[[Command], Outcome] = command.run,
    ) -> None:
        self._env = config.child_env
        self._home = home
        self._run = run
        self._known = tuple(_configured(config, private or {}))
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._netrc: tuple[netrc.netrc | None] | None = None
        self._keyring: dict[tuple[_Server, str, str], str | None] = {}
        self._keyring_missing = False
        self._remarks: list[str] = []

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was wrong with a place that had to be asked, so far: a netrc file that cannot be read."""
        return tuple(self._remarks)

    def for_url(self, url: str, *, source: str | None = None, refused: bool = False) -> tuple[str, str] | None:
        """User and password for ``url``, ``None`` when nothing names any.

        ``source`` decides between indexes of one server. ``refused``: an earlier answer was 401, 403 or 407, so that
        places may be asked that are slow (keyring) or mean no host in particular (netrc's ``default``). The answer
        may be the same as before. A user without any password gets an empty one: indexes take tokens that way.
        """
        address = _parse(url)
        if address is None:
            return None
        if address.password is not None:
            return address.user or "", address.password
        user, service = address.user, ""
        for known in self._nearest(address, source):
            if known.user is not None and user not in (None, known.user):
                continue
            service = service or known.service
            if known.user is not None and known.password is not None:
                return known.user, known.password
            user = user or known.user
        found = self._from_netrc(address.server.host, user, refused=refused)
        if found is None and user:
            found = self._from_keyring(address.server, service, user, ask=refused)
        return found or ((user, "") if user else None)

    def uv_environment(self, places: Mapping[str, str]) -> dict[str, str]:
        """The environment of a uv process with credentials for its indexes, which are names with their addresses.

        So that addresses in uv's files and arguments need none (`without_userinfo`), and uv sends nothing configured
        for one server to another one that goes by the same name, such as a stand-in.
        """
        env = {name: value for name, value in self._env.items() if not UV_CREDENTIAL.fullmatch(name)}
        for name, address in places.items():
            if found := self.for_url(address, source=name):
                env[f"UV_INDEX_{variable_of(name)}_USERNAME"] = found[0]
                if found[1]:
                    env[f"UV_INDEX_{variable_of(name)}_PASSWORD"] = found[1]
        return env

    def _nearest(self, address: _Address, source: str | None) -> list[_Known]:
        """What is known about the server: of the same source first, then by how much of the path is the same."""
        same = [known for known in self._known if known.address.server == address.server]
        return sorted(same, key=lambda known: (known.source != source, -_common(known.address.path, address.path)))

    def _from_netrc(self, host: str, user: str | None, *, refused: bool) -> tuple[str, str] | None:
        with self._lock:
            if self._netrc is None:
                self._netrc = (self._read_netrc(),)
        known = self._netrc[0]
        if known is None or not (host in known.hosts or (refused and "default" in known.hosts)):
            return None
        entry = known.hosts.get(host) or known.hosts["default"]
        login, password = entry[0] or user, entry[2]
        return (login, password) if login and password and user in (None, login) else None

    def _read_netrc(self) -> netrc.netrc | None:
        import netrc

        named = self._env.get("NETRC")
        if named:
            path = self._home / named[2:] if named.startswith("~/") else Path(named)
        else:
            path = self._home / ("_netrc" if sys.platform == "win32" else ".netrc")
        # The parser's own words repeat what it stumbled over, which may be a password: only the line is said.
        try:
            return netrc.netrc(str(path))
        except FileNotFoundError:
            if named:
                self._remarks.append(f"{path} (from NETRC) does not exist")
        except netrc.NetrcParseError as error:
            line = f", line {error.lineno}" if error.lineno else ""
            self._remarks.append(f"{path}{line}: not valid netrc; no credentials are taken from it")
        except OSError as error:
            self._remarks.append(f"{path}: cannot be read: {error.strerror}; no credentials are taken from it")
        except ValueError:
            self._remarks.append(f"{path}: is not text; no credentials are taken from it")
        return None

    def _from_keyring(self, server: _Server, service: str, user: str, *, ask: bool) -> tuple[str, str] | None:
        if self._env.get("UV_KEYRING_PROVIDER") != "subprocess":
            return None
        key = (server, service, user)
        with self._asking:  # one question at a time: it may be one to the user, who takes his time
            if key not in self._keyring and ask:
                self._keyring[key] = self._ask_keyring([service, server.netloc], user)
            password = self._keyring.get(key)
        return None if password is None else (user, password)

    def _ask_keyring(self, services: Iterable[str], user: str) -> str | None:
        for service in services:
            if not service or self._keyring_missing:
                continue
            asked = Command(argv=("keyring", "get", service, user), env=self._env, timeout=KEYRING_SECONDS)
            try:
                outcome = self._run(asked)
            except HostError:  # not on PATH
                self._keyring_missing = True
                return None
            if outcome.ok and (password := outcome.stdout.rstrip("\r\n")):
                return password
        return None


def without_userinfo(url: str) -> str:
    """``url`` without user and password, otherwise as it is; paths and what is no URL stay as they are."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{authority.rpartition('@')[2]}{rest[len(authority) :]}"


def _configured(config: SourceConfig, private: Mapping[str, str]) -> Iterator[_Known]:
    """Every configured address that has credentials, those of the environment first.

    Variables of a source are for its configured addresses only: the public ones that are built in need none.
    """
    addresses: list[tuple[str | None, str]] = []
    addresses += [(name, mirror.value) for name, mirrors in config.mirrors.items() for mirror in mirrors]
    addresses += [(PYPI, config.default_index.value)] if config.default_index else []
    addresses += private.items()
    addresses += [(None, setting.value) for setting in (*config.extra_indexes, *config.find_links)]
    parsed = [(name, address, text) for name, text in addresses if (address := _parse(text))]
    for name, address, text in parsed:
        if name is None:
            continue
        user = config.child_env.get(f"UV_INDEX_{variable_of(name)}_USERNAME")
        password = config.child_env.get(f"UV_INDEX_{variable_of(name)}_PASSWORD")
        if user is not None or password is not None:
            yield _Known(
                source=name, address=address, service=_service(text), user=user or address.user or "", password=password
            )
    for name, address, text in parsed:
        user = address.user if address.password is None else address.user or ""
        yield _Known(source=name, address=address, service=_service(text), user=user, password=address.password)


def variable_of(name: str) -> str:
    """The name of an index in uv's variables: upper case, everything but letters and digits an underscore."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def credentials_hint(source: str) -> str:
    """The hint of every error about credentials that a source did not accept."""
    name = variable_of(source)
    return f"give credentials through netrc, keyring, or UV_INDEX_{name}_USERNAME and UV_INDEX_{name}_PASSWORD"


def _service(address: str) -> str:
    return without_userinfo(address).rstrip("/")


def _parse(url: str) -> _Address | None:
    """``url`` taken apart, ``None`` for folders, for other schemes and for what clients may read differently."""
    if _UNSAFE.search(url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    server = _Server(scheme=parts.scheme, host=parts.hostname, port=_PORTS[parts.scheme] if port is None else port)
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return _Address(server=server, path=parts.path, user=user, password=password)


def _common(one: str, other: str) -> int:
    """How many segments two paths begin with alike."""
    pairs = zip(one.strip("/").split("/"), other.strip("/").split("/"), strict=False)
    count = 0
    for left, right in pairs:
        if left != right:
            break
        count += 1
    return count
