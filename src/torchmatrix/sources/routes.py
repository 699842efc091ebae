"""From the name of a source to the place that serves its bytes now: a mirror, the source itself, or a stand-in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from torchmatrix.command import redact
from torchmatrix.errors import SourceUnreachableError, UsageError
from torchmatrix.sources.config import PYPI, PYTORCH_BASE, SourceConfig, is_flat, local_path
from torchmatrix.sources.credentials import credentials_hint
from torchmatrix.sources.pip_config import Setting
from torchmatrix.sources.reach import Reach, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torchmatrix.sources.web import Web

PYTORCH = "pytorch"
CONDA_CHANNELS = ("conda-forge", "pytorch-conda", "nvidia")
"""Sources that have mirrors too, though nothing here reads them yet."""
STAND_IN = "stand-in"
"""Under this name the hosts of pip's find-links and extra indexes are known."""


class Via(StrEnum):
    """How a source is reached."""

    SOURCE = "source"
    MIRROR = "mirror"
    STAND_IN = "stand-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One address: an index, or a flat folder of wheels."""

    address: str
    flat: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where the bytes of ``source`` come from. Only a stand-in of ``pypi`` has more than one place."""

    source: str
    via: Via
    places: tuple[Place, ...]
    origin: str
    """What named the place, in words."""
    unreached: str = ""
    """For a stand-in: why its source could not be reached."""

    @property
    def place(self) -> Place:
        """The first place."""
        return self.places[0]

    @property
    def pin_local(self) -> bool:
        """Whether one place may hold several builds of a release, so that the local version has to be asked for."""
        return self.via is Via.STAND_IN or self.place.flat

    def __str__(self) -> str:
        where = ", ".join(redact(place.address) for place in self.places)
        if self.via is Via.SOURCE:
            return f"{self.source} ({where})"
        why = f", because {self.unreached}" if self.unreached else ""
        return f"{self.source} from the {self.via} {where} ({self.origin}){why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When stand-ins may be used (DESIGN §7)."""

    frozen: bool = False
    frozen_by: str = "--frozen"
    """What asked for it, for the message."""
    nightly: bool = False
    matrix_allows_in_ci: bool = False

    def refuses_stand_in(self, config: SourceConfig) -> str | None:
        """Why not, in words; ``None`` when a stand-in may be used."""
        if self.nightly:
            return "nightlies never come from a stand-in"
        if self.frozen:
            return f"{self.frozen_by} uses no stand-in"
        if config.ci and not self.matrix_allows_in_ci:
            return "under CI=true a stand-in needs `stand-in: allow` in the matrix"
        return None


class Router:
    """Finds the route of each source once; ``addresses`` are those of private sources and of ``pypi``."""

    def __init__(self, config: SourceConfig, web: Web, *, pypi: str | None, private: Mapping[str, str]) -> None:
        self._config = config
        self._web = web
        self._addresses: dict[str, str | None] = {PYPI: pypi, PYTORCH: PYTORCH_BASE, **private}
        for source, address in self._addresses.items():
            if address is not None:
                web.hosts.allow(source, address)
        for setting in (*config.find_links, *config.extra_indexes):
            web.hosts.allow(STAND_IN, setting.value)

    def route(self, source: str, *, policy: Policy, names: Iterable[str] = (), page: str | None = None) -> Route:
        """The route of ``source`` for packages ``names``; `SourceUnreachableError` when there is none.

        ``page``: one that must be there, below the address of an index (``cu118/torch/``). A mirror without it is
        passed over; the source itself says best what it lacks.
        """
        tried: list[Reach] = []
        names = tuple(names)
        doubtful: Setting | None = None
        for mirror in self._config.mirrors.get(source, ()):
            reach = self._reach(mirror.value)
            if reach.ok:
                reach = self._examined(source, reach, names, page, mirror=True)
            if reach.ok and page is None and reach.status in (404, 410):
                doubtful = doubtful or mirror  # not every index has a page of all projects
            elif reach.ok:
                return _route(source, Via.MIRROR, [mirror])
            else:
                tried.append(reach)
        if doubtful is not None:
            return _route(source, Via.MIRROR, [doubtful])
        if source not in self._addresses:
            also = f" ({_reasons(tried)})" if tried else ""
            raise UsageError(
                f"source {source} is not in matrix.yaml any more{also}", hint="add it under `sources:`, or lock again"
            )
        address = self._addresses[source]
        if address is None:  # uv's own default that could not be learned: uv reports what is wrong with it
            return Route(source=source, via=Via.SOURCE, places=(), origin="uv's default")
        reach = self._reach(address)
        if reach.ok:
            reach = self._examined(source, reach, (), page, mirror=False)
        if reach.ok:
            return _route(source, Via.SOURCE, [Setting(value=address, origin=self._origin(source))])
        tried.append(reach)
        return self._stand_in(source, tried, policy, names)

    def _reach(self, address: str) -> Reach:
        if self._config.offline:
            return Reach(address=address)
        reach = self._asked(address)
        if reach.address == address or not reach.ok:
            return replace(reach, address=address)
        return Reach(address=address)  # its host answered for another address: the status said nothing about this one

    def _asked(self, address: str) -> Reach:
        try:
            return self._web.reach(address)
        except OSError as error:  # a folder in one that may not be entered
            return Reach(address=address, trouble=Trouble.MISSING, reason=_unreadable(error))

    def _examined(
        self, source: str, reach: Reach, names: tuple[str, ...], page: str | None, *, mirror: bool = True
    ) -> Reach:
        """The same, or with what is wrong: no such page, a folder without the packages, credentials not accepted."""
        folder = local_path(reach.address)
        if folder is not None:
            lacks = self._folder_lacks(reach.address, folder, names, page) if mirror else None
            return _lacking(reach, lacks) if lacks else reach
        if self._config.offline:
            return reach
        refused = reach.status in (401, 403, 407)
        if page is None and reach.status is not None and not refused and not (mirror and reach.status >= 500):
            return reach
        address = f"{reach.address.rstrip('/')}/{page or ''}"
        try:
            status = (self._web.page if page else self._web.head)(address, source=source).status
        except SourceUnreachableError as error:
            return _lacking(reach, error.message.rpartition(": ")[2], error.hint)
        if status in (401, 407) or (status == 403 and refused and source != PYTORCH):
            return _lacking(reach, f"it answered {status}: it wants credentials, or others", credentials_hint(source))
        if mirror and status in (403, 404, 410) and page is not None:
            return _lacking(reach, f"it answered {status} to {page}")
        return replace(reach, status=status)

    def _folder_lacks(self, address: str, folder: Path, names: tuple[str, ...], page: str | None) -> str | None:
        """What a folder that should mirror a source does not have; ``None`` when nothing is known to be missing."""
        try:
            index = page is not None and not is_flat(address)
            if index and (folder / f"{page}index.html").is_file():
                return None
            if not any(folder.iterdir()):
                return "it is empty"
            if index:
                return f"it has no {page}index.html"
            missing = [name for name in names if not self._holds(address, name)]
        except NotADirectoryError:
            return "it is a file, not a folder"
        except OSError as error:
            return _unreadable(error)
        return f"it holds no {missing[0]}" if missing else None

    def _origin(self, source: str) -> str:
        if source == PYPI and self._config.default_index:
            return self._config.default_index.origin
        return "matrix.yaml" if source not in (PYPI, PYTORCH) else "built in"

    def _stand_in(self, source: str, tried: list[Reach], policy: Policy, names: tuple[str, ...]) -> Route:
        candidates = [*self._config.find_links, *self._config.extra_indexes]
        refusal: str | None = None
        if candidates and source not in (PYPI, PYTORCH):
            # A name that a private source claims, taken from elsewhere, is the very confusion that sources prevent.
            refusal = "nothing stands in for a private source"
        elif candidates and all(reach.trouble and reach.trouble.allows_stand_in for reach in tried):
            refusal = policy.refuses_stand_in(self._config)
            if refusal is None:
                usable = [setting for setting in candidates if self._asked(setting.value).ok]
                for setting in usable:
                    self._web.hosts.allow(source, setting.value)
                if source == PYPI and usable:
                    return _route(source, Via.STAND_IN, usable, _reasons(tried))
                for setting in usable:
                    if all(self._holds(setting.value, name) for name in names):
                        return _route(source, Via.STAND_IN, [setting], _reasons(tried))
                refusal = f"pip's find-links and extra indexes do not hold {', '.join(names) or 'it'}"
        elif candidates:
            refusal = "a stand-in is used only after a DNS, connection or TLS failure"
        raise unreachable(source, tried, refusal, strangers(self._config, self._addresses))

    def local_stand_in(self, source: str, *, policy: Policy, names: Iterable[str]) -> Route | None:
        """Offline: the folder that stood in for ``source`` before, if it is here and still holds ``names``."""
        if policy.refuses_stand_in(self._config) or source not in (PYPI, PYTORCH):
            return None
        wanted = tuple(names)
        for setting in (*self._config.find_links, *self._config.extra_indexes):
            if local_path(setting.value) and all(self._holds(setting.value, name) for name in wanted):
                return _route(source, Via.STAND_IN, [setting], "--offline")
        return None

    def _holds(self, address: str, name: str) -> bool:
        folder = local_path(address)
        if folder is None:
            try:
                return self._web.head(f"{address.rstrip('/')}/{name}/", source=STAND_IN).ok
            except SourceUnreachableError:
                return False
        try:
            return (folder / name).is_dir() or any(wheel_name(file.name) == name for file in folder.glob("*.whl"))
        except OSError:
            return False


def _unreadable(error: OSError) -> str:
    return f"it cannot be read: {error.strerror or error}"


def _lacking(reach: Reach, reason: str, hint: str | None = None) -> Reach:
    """Something answered, but not with what is needed: nothing may stand in for that."""
    return Reach(address=reach.address, trouble=Trouble.ANSWER, reason=reason, status=reach.status, hint=hint)


def wheel_name(filename: str) -> str | None:
    """The normalized project name of a wheel's file name, ``None`` for other files."""
    try:
        return str(parse_wheel_filename(filename)[0])
    except InvalidWheelFilename:
        return None


def strangers(config: SourceConfig, known: Iterable[str]) -> str:
    """Names in the configuration of mirrors and file hosts that no source has, in words; empty where there are none."""
    named = {*config.mirrors, *config.file_hosts} - {*known, *CONDA_CHANNELS}
    if not named:
        return ""
    from difflib import get_close_matches

    near = get_close_matches(min(named).lower(), list(known), n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"the configuration names {', '.join(sorted(named))}, and no source here is called so{meant}"


def unreachable(
    source: str, tried: list[Reach], refusal: str | None = None, remark: str = ""
) -> SourceUnreachableError:
    """The error that says which hosts were tried, why each failed, and what to set."""
    message = f"source {source} cannot be reached: {_reasons(tried)}"
    if refusal:
        message += f" (and {refusal})"
    if remark:
        message += f"; {remark}"
    return SourceUnreachableError(message, hint=next((r.hint for r in tried if r.hint), None) or what_to_set(source))


def what_to_set(source: str) -> str:
    """The hint of every error about a source that cannot be reached."""
    variable = f'TORCHMATRIX_MIRRORS="{source}=ADDRESS"'
    return (
        f"set {variable} to a mirror (URL or folder of wheels), HTTPS_PROXY to a proxy, SSL_CERT_FILE to your "
        "certificates, or use --offline with a warm cache"
    )


def _reasons(tried: list[Reach]) -> str:
    return "; ".join(f"{redact(reach.host)}: {reach.reason}" for reach in tried)


def _route(source: str, via: Via, settings: list[Setting], unreached: str = "") -> Route:
    places = tuple(Place(address=setting.value.rstrip("/"), flat=is_flat(setting.value)) for setting in settings)
    origin = ", ".join(dict.fromkeys(setting.origin for setting in settings))
    return Route(source=source, via=via, places=places, origin=origin, unreached=unreached)
