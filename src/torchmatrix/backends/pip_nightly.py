"""Nightlies of one day: torch, its companions and its triton, read from the index before anything is resolved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from torchmatrix.backends.uv import folder_of
from torchmatrix.errors import CellError
from torchmatrix.matrix.model import requirement_name
from torchmatrix.sources.config import local_path
from torchmatrix.sources.nightlies import Day, Days, day_of, days, missing_words, nearest
from torchmatrix.target import wheel_tags

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence

    from packaging.tags import Tag
    from packaging.version import Version

    from torchmatrix.backends import ResolveRequest
    from torchmatrix.backends.pip import PipBackend
    from torchmatrix.lock.model import Lockfile
    from torchmatrix.sources.index import Listing
    from torchmatrix.sources.pages import Listed
    from torchmatrix.sources.routes import Route

TORCH = "torch"
DAYS_TRIED = 7
"""How many complete days are looked into for torch's triton before the newest one's problem is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """One day's versions, by package, with their local parts."""

    day: dt.date
    versions: Mapping[str, Version]
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
        tried = 0
        for day in self._candidates(found):
            if tried == DAYS_TRIED:
                break
            tried += 1
            if versions := self._consistent(day, listings):
                yield Pins(day=day.day, versions=versions, remarks=self._passed_over(day, found))
        if tried == len(self._lacking):  # not one could be tried
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
        words = self._where
        if wanted is not None and wanted in self._lacking:
            others = replace(found, complete=tuple(d for d in found.complete if d.day not in self._lacking))
            near = ", ".join(str(day) for day in nearest(others, wanted))
            text = f"no nightly of {wanted} has {self._lacking[wanted]} for {words}"
            text += f"; nearest complete days: {near}" if near else ""
        elif self._lacking:
            lacking = "; ".join(f"{day}: {what}" for day, what in sorted(self._lacking.items(), reverse=True))
            text = f"the newest complete days lack what their torch needs for {words}: {lacking}"
        else:
            text = missing_words(found, wanted, where=words, keep=self._backend.catalog.facts.nightlies.keep)
        return CellError(
            f"{self._cell}: {text}", hint="name a complete day (`torch: nightly DATE`), or ask for fewer packages"
        )

    @property
    def _where(self) -> str:
        target = self._cell.target
        return f"Python {self._cell.python} on {target.platform} {target.accelerator}"

    def _passed_over(self, day: Day, found: Days) -> tuple[str, ...]:
        """Why a newer day was not taken, in words."""
        newer = [other for other in found.incomplete if other > day.day and TORCH not in found.incomplete[other]]
        newer += [other for other in self._lacking if other > day.day]
        as_of = self._request.as_of
        newer = sorted(other for other in newer if as_of is None or other <= as_of)
        if self._wanted is not None or not newer:
            return ()
        newest = newer[-1]
        lacking = self._lacking.get(newest) or ", ".join(found.incomplete[newest])
        return (f"nightly of {day.day}: that of {newest} has no {lacking} for {self._where}",)

    # -- what METADATA says ---------------------------------------------------------------------------------------

    def _consistent(self, day: Day, listings: Mapping[str, Listing]) -> dict[str, Version] | None:
        """The day's versions that fit each other and whose triton exists; ``None`` when there are none."""
        versions = dict(day.versions)
        for name in versions:
            if name == TORCH:
                continue
            pin = self._torch_pin(self._wheel(listings[name], versions[name]))
            choices = (versions[TORCH], *day.alternatives.get(TORCH, ()))
            if pin is not None:
                fitting = [choice for choice in choices if pin.specifier.contains(choice, prereleases=True)]
                if not fitting:
                    self._lacking[day.day] = f"{name} {versions[name]} for its torch (it needs {pin})"
                    return None
                versions[TORCH] = fitting[0]
        for requirement in self._requirements(self._wheel(listings[TORCH], versions[TORCH])):
            name = str(canonicalize_name(requirement.name))
            if name not in self._backend.catalog.facts.beside:
                continue
            files = self._listing(name).files
            if not any(self._fits(file) and _admits(requirement, file) for file in files):
                self._lacking[day.day] = f"{requirement}"
                return None
        return versions

    def _torch_pin(self, wheel: Listed | None) -> Requirement | None:
        return next((r for r in self._requirements(wheel) if canonicalize_name(r.name) == TORCH), None)

    def _wheel(self, listing: Listing, version: Version) -> Listed | None:
        """The wheel of a version that fits the cell, its link checked."""
        fitting = [file for file in listing.files if file.version == version and self._fits(file)]
        wheel = fitting[0] if fitting else None
        if wheel is not None:
            self._backend.indexes.require(wheel, source=self._route.source, where=listing.where)
        return wheel

    def _fits(self, file: Listed) -> bool:
        try:
            tags = parse_wheel_filename(file.file)[3]
        except ValueError:  # the real index has names that are no wheel's
            return False
        return file.yanked is None and any(tag in self._tags for tag in tags)

    def _requirements(self, wheel: Listed | None) -> Sequence[Requirement]:
        """Requires-Dist of a wheel that apply to the cell; none where its METADATA cannot be had by itself."""
        if wheel is None:
            return ()
        text = self._metadata(wheel)
        environment = self._cell.target.marker_environment(self._cell.python)
        found = []
        for line in text.splitlines():
            if not line:
                break  # the headers end where the description begins
            if line.lower().startswith("requires-dist:"):
                try:
                    requirement = Requirement(line.partition(":")[2].strip())
                except InvalidRequirement:
                    continue
                if requirement.marker is None or requirement.marker.evaluate({**environment, "extra": ""}):
                    found.append(requirement)
        return found

    def _metadata(self, wheel: Listed) -> str:
        path = local_path(wheel.url)
        if path is not None:
            import zipfile

            with zipfile.ZipFile(path) as archive:
                name = next((n for n in archive.namelist() if n.endswith(".dist-info/METADATA")), None)
                return archive.read(name).decode("utf-8", "replace") if name else ""
        if not wheel.metadata:
            return ""
        reply = self._backend.web.get(f"{wheel.url}.metadata", source=self._route.source)
        return reply.body.decode("utf-8", "replace") if reply.ok else ""


def _admits(requirement: Requirement, file: Listed) -> bool:
    return file.version is not None and requirement.specifier.contains(file.version, prereleases=True)
