"""Nightlies of one day: torch, its companions and its triton, read from the index before anything is resolved."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from torchmatrix.backends.pip_pages import Described, Pages
from torchmatrix.backends.uv import folder_of
from torchmatrix.errors import CellError, SourceUnreachableError
from torchmatrix.matrix.model import requirement_name
from torchmatrix.sources.config import local_path
from torchmatrix.sources.nightlies import TORCH, Day, Days, day_of, days, fits, missing_words, nearest
from torchmatrix.target import wheel_tags

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.tags import Tag
    from packaging.version import Version

    from torchmatrix.backends import ResolveRequest
    from torchmatrix.backends.pip import PipBackend
    from torchmatrix.lock.model import Lockfile
    from torchmatrix.sources.index import Listing
    from torchmatrix.sources.pages import Listed
    from torchmatrix.sources.routes import Route

DAYS_TRIED = 7
"""How many complete days are resolved before the newest one's problem is reported."""
_SHOWN, _NEIGHBOURS = 3, 14
"""Days that a message names; how many are looked at for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """One day's versions, by package, with their local parts; triton among them where torch needs one."""

    day: dt.date
    versions: Mapping[str, Version]
    described: Mapping[str, Described] = field(default_factory=dict)
    """What METADATA says of them, where it can be had by itself."""
    remarks: tuple[str, ...] = ()


class NightlyChooser:
    """The days that will do for a cell, best first. Pages come through the route of the family's source."""

    def __init__(self, backend: PipBackend, request: ResolveRequest, route: Route) -> None:
        self._backend = backend
        self._request = request
        self._cell = request.cell
        self._route = route
        self._folder = folder_of(self._cell.source, str(self._cell.target.accelerator), nightly=True)
        self._tags: Mapping[Tag, int] = wheel_tags(self._cell.target, self._cell.python)
        self._lacking: dict[dt.date, str] = {}
        self._known: dict[str, Described | None] = {}

    def pins(self) -> Iterator[Pins]:
        """Days to try, the best first, each with every version pinned. `CellError` when there is none."""
        listings = {name: self._listing(name) for name in self._asked}
        if not listings[TORCH].files:
            status = listings[TORCH].status
            raise CellError(
                f"{self._cell}: {listings[TORCH].where} lists no torch"
                + (f" (it answered {status})" if status else ""),
                hint=f"nightlies may have ended for {self._cell.target.accelerator}: torchmatrix list --all",
            )
        target = self._cell.target
        found = days(
            {name: listing.files for name, listing in listings.items()},
            cell_tags=self._tags,
            local=self._backend.catalog.expected_local(None, target.platform, target.accelerator, self._cell.source),
            requested={name: requirement.specifier for name, requirement in self._asked.items() if requirement},
        )
        resolved = 0
        for day in self._candidates(found):
            pins = self._consistent(day)
            if pins is None:
                continue
            if resolved == DAYS_TRIED:
                return
            resolved += 1
            yield replace(pins, remarks=self._passed_over(day, found))
        if not resolved:
            raise self._none(found, self._wanted)

    @property
    def _asked(self) -> dict[str, Requirement | None]:
        """torch and every demanded package of the family whose nightlies carry a date."""
        asked: dict[str, Requirement | None] = {TORCH: None}
        facts = self._backend.catalog.facts
        for requirement in self._request.demands.requirements:
            name = requirement_name(requirement)
            if name in facts.family and name not in facts.beside and name != TORCH:
                asked[name] = requirement
        return asked

    @property
    def _wanted(self) -> dt.date | None:
        return self._cell.torch.date

    def _listing(self, name: str) -> Listing:
        if self._backend.config.offline and any(local_path(place.address) is None for place in self._route.places):
            raise SourceUnreachableError(
                f"{self._cell}: --offline, and only the pages of source {self._route.source} say which nightlies "
                "there are",
                hint="run without --offline, or name a folder of wheels: TORCHMATRIX_MIRRORS="
                f'"{self._route.source}=FOLDER"',
            )
        return self._backend.indexes.listing(self._route, self._folder, name)

    def _candidates(self, found: Days) -> list[Day]:
        """The day that was asked for, or complete ones up to the as-of date: the locked one first, then the newest."""
        if self._wanted is not None:
            exact = [day for day in found.complete if day.day == self._wanted]
            if not exact:
                raise self._none(found, self._wanted)
            return exact
        as_of = self._request.as_of
        usable = [day for day in found.complete if as_of is None or day.day <= as_of]
        if not usable:
            raise self._none(found, as_of)
        locked = self._locked_day()
        return sorted(usable, key=lambda day: day.day != locked)  # stable: the others stay newest first

    def _locked_day(self) -> dt.date | None:
        """The day of the lockfile that is being renewed for another reason than a newer torch."""
        request = self._request
        previous: Lockfile | None = request.previous
        if previous is None or request.upgrade or {TORCH, *self._asked} & set(request.upgrade_packages):
            return None
        return day_of(previous.torch) if previous.inputs.get("torch") == "nightly" else None

    def _none(self, found: Days, wanted: dt.date | None) -> CellError:
        if self._lacking and wanted is None:
            newest = sorted(self._lacking.items(), reverse=True)
            lacking = "; ".join(f"{day}: {what}" for day, what in newest[:_SHOWN])
            more = f" (and {len(newest) - _SHOWN} more)" if len(newest) > _SHOWN else ""
            text = f"all complete days lack what their torch needs for {self._where}: {lacking}{more}"
        else:
            found = self._with_sound_neighbours(found, wanted)
            text = missing_words(found, wanted, where=self._where, keep=self._backend.catalog.facts.nightlies.keep)
        hint = "name a complete day (`torch: nightly DATE`), or ask for fewer packages"
        return CellError(f"{self._cell}: {text}", hint=hint if found.complete else "ask for fewer packages")

    def _with_sound_neighbours(self, found: Days, wanted: dt.date | None) -> Days:
        """The same without days whose torch lacks its triton, as far as they would be named beside ``wanted``."""
        if wanted is None:
            return found
        by_day = {each.day: each for each in found.complete}
        sound = 0
        for day in nearest(found, wanted, count=_NEIGHBOURS):
            if sound < _SHOWN and day not in self._lacking and self._consistent(by_day[day]):
                sound += 1
        return replace(
            found,
            complete=tuple(each for each in found.complete if each.day not in self._lacking),
            incomplete={**found.incomplete, **{day: (what,) for day, what in self._lacking.items()}},
        )

    @property
    def _where(self) -> str:
        target = self._cell.target
        return f"Python {self._cell.python} on {target.platform} {target.accelerator}"

    def _passed_over(self, day: Day, found: Days) -> tuple[str, ...]:
        """Why a newer day was not taken, in words; nothing where the day was asked for, or is kept."""
        locked = self._locked_day()
        if self._wanted is not None or day.day == locked or found.window is None:
            return ()
        remarks = []
        if locked is not None:
            lacking = self._lacking.get(locked) or ", ".join(found.incomplete.get(locked, ()))
            why = f"has no {lacking} for {self._where}" if lacking else "is not listed any more"
            remarks.append(f"nightly of {day.day}: that of {locked}, which was locked, {why}")
        last = min(found.window[1], self._request.as_of or found.window[1])
        newer = sorted(other for other in {*found.incomplete, *self._lacking} if day.day < other <= last)
        if newer and newer[-1] != locked:
            lacking = self._lacking.get(newer[-1]) or ", ".join(found.incomplete[newer[-1]])
            remarks.append(f"nightly of {day.day}: that of {newer[-1]} has no {lacking} for {self._where}")
        return tuple(remarks)

    # -- pages for uv ---------------------------------------------------------------------------------------------

    def pages(self, pins: Pins, names: Iterable[str]) -> Pages | None:
        """Pages of the source for ``names`` that hold nothing of another day; ``None`` where the route is a folder.

        For a package of the family that something asks for from below, that is every file of the day.
        """
        if any(local_path(place.address) is not None for place in self._route.places):
            return None  # uv reads hashes and METADATA from the files themselves
        files: dict[str, Sequence[Listed]] = {}
        for name in names:
            listing = self._listing(name)
            if (version := pins.versions.get(name)) is not None:
                files[name] = [file for file in listing.files if file.version == version and fits(file, self._tags)]
            elif name in self._backend.catalog.facts.beside:
                files[name] = listing.files
            else:
                files[name] = [file for file in listing.files if file.version and day_of(file.version) == pins.day]
            for file in files[name]:
                self._backend.indexes.require(file, source=self._route.source, where=listing.where)
        return Pages(source=self._route.source, files=files, described=pins.described)

    # -- what METADATA says ---------------------------------------------------------------------------------------

    def _consistent(self, day: Day) -> Pins | None:
        """The day's highest versions that fit each other and whose triton exists; ``None`` when there are none."""
        problems: list[str] = []
        for torch in _versions(day, TORCH):
            chosen = {TORCH: torch}
            for name in day.versions:
                if name != TORCH and (problem := self._add_companion(chosen, name, day)):
                    problems.append(problem)
                    break
            else:
                wheels = {name: self._wheel(self._listing(name), version) for name, version in chosen.items()}
                if problem := self._add_triton(chosen, wheels):
                    problems.append(problem)
                    continue
                described = {name: said for name, wheel in wheels.items() if wheel and (said := self._described(wheel))}
                return Pins(day=day.day, versions=chosen, described=described)
        self._lacking[day.day] = problems[0]
        return None

    def _add_companion(self, chosen: dict[str, Version], name: str, day: Day) -> str | None:
        """Choose the highest version of a companion whose METADATA admits the chosen torch; what is wrong if none."""
        problem = None
        for version in _versions(day, name):
            wheel = self._wheel(self._listing(name), version)
            wanted = [r for r in self._requirements(wheel) if canonicalize_name(r.name) == TORCH]
            refusing = [r for r in wanted if not r.specifier.contains(chosen[TORCH], prereleases=True)]
            if not refusing:
                chosen[name] = version
                return None
            problem = problem or f"{name} for its torch ({name} {version} needs {TORCH}{refusing[0].specifier})"
        return problem

    def _add_triton(self, chosen: dict[str, Version], wheels: dict[str, Listed | None]) -> str | None:
        """Choose what lies beside the accelerators and the chosen torch needs; what is missing if it does not exist."""
        for requirement in self._requirements(wheels[TORCH]):
            name = str(canonicalize_name(requirement.name))
            if name not in self._backend.catalog.facts.beside:
                continue
            listing = self._listing(name)
            fitting = [
                f.version for f in listing.files if f.version and fits(f, self._tags) and _admits(requirement, f)
            ]
            if not fitting:
                return f"{name}{requirement.specifier}"
            chosen[name] = max(fitting)
            wheels[name] = self._wheel(listing, chosen[name])
        return None

    def _wheel(self, listing: Listing, version: Version) -> Listed | None:
        """The wheel of a version that fits the cell, its link checked."""
        fitting = [file for file in listing.files if file.version == version and fits(file, self._tags)]
        wheel = fitting[0] if fitting else None
        if wheel is not None:
            self._backend.indexes.require(wheel, source=self._route.source, where=listing.where)
        return wheel

    def _requirements(self, wheel: Listed | None) -> Sequence[Requirement]:
        """Requires-Dist of a wheel that apply to the cell; none where its METADATA cannot be had by itself."""
        said = self._described(wheel) if wheel is not None else None
        environment = {**self._cell.target.marker_environment(self._cell.python), "extra": ""}
        found = []
        for text in said.requires if said else ():
            with suppress(InvalidRequirement):
                requirement = Requirement(text)
                if requirement.marker is None or requirement.marker.evaluate(environment):
                    found.append(requirement)
        return found

    def _described(self, wheel: Listed) -> Described | None:
        """What the METADATA of a wheel says; read once."""
        if wheel.url not in self._known:
            text = self._metadata(wheel)
            self._known[wheel.url] = _parsed(text, wheel.version) if text and wheel.version else None
        return self._known[wheel.url]

    def _metadata(self, wheel: Listed) -> str:
        if local_path(wheel.url) is not None:
            return _metadata_inside(wheel, source=self._route.source)
        if not wheel.metadata:
            return ""
        reply = self._backend.web.get(f"{wheel.url}.metadata", source=self._route.source)
        return reply.body.decode("utf-8", "replace") if reply.ok else ""


def _versions(day: Day, name: str) -> tuple[Version, ...]:
    return (day.versions[name], *day.alternatives.get(name, ()))


def _metadata_inside(wheel: Listed, *, source: str) -> str:
    """The METADATA in a wheel on this machine, ``""`` where it has none; `SourceUnreachableError` for a broken one."""
    import zipfile
    import zlib

    path = local_path(wheel.url)
    assert path is not None  # noqa: S101 - the caller asked
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((n for n in archive.namelist() if n.endswith(".dist-info/METADATA")), None)
            return archive.read(name).decode("utf-8", "replace") if name else ""
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    # RuntimeError: encrypted; NotImplementedError: compressed in a way that this Python does not know.
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        reason = f"is not a whole wheel: {error}"
    raise SourceUnreachableError(
        f"source {source}: {path} {reason}", hint="copy that file into the mirror again, or remove it there"
    )


def _parsed(text: str, version: Version) -> Described:
    from email.parser import HeaderParser

    headers = HeaderParser().parsestr(text)
    return Described(
        version=version,
        requires=tuple(str(value) for value in headers.get_all("Requires-Dist", ())),
        extras=tuple(str(value) for value in headers.get_all("Provides-Extra", ())),
        requires_python=headers.get("Requires-Python"),
    )


def _admits(requirement: Requirement, file: Listed) -> bool:
    return file.version is not None and requirement.specifier.contains(file.version, prereleases=True)
