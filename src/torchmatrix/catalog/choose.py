"""The rules: whether a combination exists, and why not, in words and with evidence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torchmatrix.catalog.facts import NightlyBuild, Release
from torchmatrix.catalog.model import PYPI, Catalog, Choice
from torchmatrix.errors import UsageError
from torchmatrix.matrix.model import TorchKind, TorchRequest
from torchmatrix.target import DEFAULT_MACOS, Accelerator, AcceleratorKind, Platform, PythonVersion

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A combination to be judged."""

    request: TorchRequest
    python: PythonVersion
    platform: Platform
    accelerator: Accelerator
    source: str | None = None
    as_of: dt.date | None = None
    macos: str | None = None

    @property
    def macos_floor(self) -> str:
        """The oldest macOS that the target must run on."""
        return self.macos or DEFAULT_MACOS.get(self.platform, "14.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A choice, and whether it rests on facts alone."""

    choice: Choice
    certain: bool = True

    @property
    def exists(self) -> bool:
        """Whether the combination was let pass."""
        return self.choice.reason is None


def examine(catalog: Catalog, question: Question) -> Verdict:
    """Judge a combination; `UsageError` when the request names something later than the as-of date."""
    _refuse_future(catalog, question)
    if rule := platform_rule(catalog, question.platform, question.accelerator):
        return _no(*rule)
    request = question.request
    match request.kind:
        case TorchKind.NIGHTLY:
            return _nightly(catalog, question)
        case TorchKind.STABLE:
            return _release(catalog, question, catalog.newest(question.as_of))
        case TorchKind.EXACT:
            assert request.version is not None  # noqa: S101 - TorchRequest.parse sets it for this kind
            release = catalog.release(request.version)
            return _unknown(catalog, request.version) if release is None else _release(catalog, question, release)
        case TorchKind.SPECIFIER:
            assert request.specifier is not None  # noqa: S101 - TorchRequest.parse sets it for this kind
            return _specifier(catalog, question, request.specifier)


def platform_rule(catalog: Catalog, platform: Platform, accelerator: Accelerator) -> tuple[str, str] | None:
    """What no torch can ever be: a reason with its evidence, or ``None``."""
    evidence = catalog.facts.evidence
    kind = accelerator.kind
    if kind is AcceleratorKind.MPS and platform is not Platform.OSX_ARM64:
        return f"mps exists on Apple silicon only (osx-arm64), not on {platform}", evidence["mps"]
    if kind in (AcceleratorKind.CUDA, AcceleratorKind.ROCM, AcceleratorKind.XPU) and platform.is_macos:
        other = "mps or cpu" if platform is Platform.OSX_ARM64 else "cpu"
        return f"torch for macOS is not built for {describe(accelerator)}; {platform} has {other}", evidence["install"]
    if kind is AcceleratorKind.ROCM and platform is not Platform.LINUX_64:
        return f"torch is built for ROCm on linux-64 only, not on {platform}", evidence["install"]
    if kind is AcceleratorKind.XPU and platform not in (Platform.LINUX_64, Platform.WIN_64):
        return f"torch is built for XPU on linux-64 and win-64 only, not on {platform}", evidence["install"]
    return None


def describe(accelerator: Accelerator) -> str:
    """``CUDA 11.8``, ``ROCm 6.4``, ``CPU``."""
    name = "ROCm" if accelerator.kind is AcceleratorKind.ROCM else accelerator.kind.value.upper()
    return f"{name} {accelerator.version}" if accelerator.version else name


def python_span(pythons: Sequence[PythonVersion]) -> str:
    """``3.9 to 3.13``, or ``3.10 to 3.14, 3.14t`` with free-threaded ones."""
    plain = sorted(python for python in pythons if not python.free_threaded)
    free = sorted(python for python in pythons if python.free_threaded)
    parts = [str(plain[0]) if len(plain) == 1 else f"{plain[0]} to {plain[-1]}"] if plain else []
    return ", ".join([*parts, *map(str, free)])


def _yes(version: Version | None, notes: Iterable[str] = (), *, certain: bool = True) -> Verdict:
    return Verdict(choice=Choice(version=version, notes=tuple(notes)), certain=certain)


def _no(reason: str, url: str | None) -> Verdict:
    return Verdict(choice=Choice(reason=reason, url=url))


def _refuse_future(catalog: Catalog, question: Question) -> None:
    request, as_of = question.request, question.as_of
    if as_of is None:
        return
    hint = "choose a later as-of date, or an older torch"
    if request.date is not None and request.date > as_of:
        raise UsageError(f"torch: {request} is later than the as-of date {as_of}", hint=hint)
    if request.version is None:
        return
    release = catalog.release(request.version)
    if release is not None and release.released > as_of:
        raise UsageError(
            f"torch {release.version} was released on {release.released}, after the as-of date {as_of}", hint=hint
        )
    if release is None and request.version > catalog.newest().version and as_of <= catalog.date:
        raise UsageError(
            f"torch {request.version} was not released by {catalog.date}, the date of the catalog, and the as-of "
            f"date is {as_of}",
            hint=hint,
        )


def _unknown(catalog: Catalog, version: Version) -> Verdict:
    note = f"torch {version} is not in the catalog of {catalog.date}; whether it has this build, the index will tell"
    return _yes(version, [note], certain=False)


def _specifier(catalog: Catalog, question: Question, specifier: SpecifierSet) -> Verdict:
    """The newest matching release that certainly fits, else the newest that may, else why the newest does not."""
    as_of = question.as_of
    matching = [
        release
        for release in catalog.releases
        if specifier.contains(release.version, prereleases=False) and (as_of is None or release.released <= as_of)
    ]
    if not matching:
        newest = catalog.newest(as_of).version
        if as_of is None and _reaches_beyond(specifier, newest):
            note = f"no release in the catalog of {catalog.date} matches {specifier}; the index will tell"
            return _yes(None, [note], certain=False)
        until = f" up to {as_of}" if as_of else ""
        return _no(f"no release of torch{until} matches {specifier}; the newest is {newest}", catalog.facts.evidence["wheels"])
    verdicts = [_release(catalog, question, release) for release in reversed(matching)]
    for verdict in verdicts:
        if verdict.exists and verdict.certain:
            return verdict
    for verdict in verdicts:
        if verdict.exists:
            return verdict
    first = verdicts[0].choice
    if len(matching) == 1:
        return verdicts[0]
    return _no(f"none of the {len(matching)} releases that match {specifier} fits; {first.reason}", first.url)


def _reaches_beyond(specifier: SpecifierSet, newest: Version) -> bool:
    major, minor, micro = newest.major, newest.minor, newest.micro
    later = [Version(f"{major}.{minor}.{micro + step}") for step in range(1, 10)]
    later += [Version(f"{major}.{minor + step}.{patch}") for step in range(1, 40) for patch in range(3)]
    later += [Version(f"{major + 1}.{step}.0") for step in range(20)]
    return any(specifier.contains(version, prereleases=False) for version in later)


def _release(catalog: Catalog, question: Question, release: Release) -> Verdict:
    """Whether one release has the build."""
    platform, python, version = question.platform, question.python, release.version
    if platform not in release.accelerators:
        return _no(*_platform_missing(catalog, release, platform))
    notes: list[str] = []
    certain = True
    if question.source == PYPI and not platform.is_macos:
        refused = _not_on_pypi(catalog, question, release, notes)
    else:
        refused, certain = _accelerator_missing(catalog, question, release, notes)
    if refused is not None:
        return refused
    if python not in release.pythons[platform]:
        return _no(_python_missing(release, platform, python), catalog.facts.evidence["wheels"])
    if platform.is_macos and (conflict := _macos_conflict(catalog, question, release, pinned=True)):
        return conflict
    return _yes(version, notes, certain=certain and not notes)


def _platform_missing(catalog: Catalog, release: Release, platform: Platform) -> tuple[str, str]:
    having = [known.version for known in catalog.releases if platform in known.accelerators]
    url = catalog.facts.evidence["macos-x86" if platform is Platform.OSX_64 else "wheels"]
    return f"torch {release.version} has no wheel for {platform}: it has them {_between(catalog, having)}", url


def _between(catalog: Catalog, versions: Sequence[Version]) -> str:
    """``for torch 2.0.0 to 2.7.1``, ``since torch 2.12.0``."""
    first, last = versions[0], versions[-1]
    if first == last:
        return f"for torch {first} only"
    return f"since torch {first}" if last == catalog.releases[-1].version else f"for torch {first} to {last}"


def _not_on_pypi(catalog: Catalog, question: Question, release: Release, notes: list[str]) -> Verdict | None:
    carried = release.pypi.get(question.platform)
    asked = question.accelerator.label
    if carried is None:
        notes.append(f"which build of torch {release.version} PyPI has for {question.platform} is not known")
    elif carried != asked:
        return _no(
            f"PyPI's wheel of torch {release.version} for {question.platform} is the {carried} build, not {asked}: "
            f"with source pypi the accelerator must be {carried}; {asked} comes from source pytorch",
            catalog.facts.evidence["install"],
        )
    return None


def _accelerator_missing(
    catalog: Catalog, question: Question, release: Release, notes: list[str]
) -> tuple[Verdict | None, bool]:
    """A refusal, or ``None`` with whether the build certainly exists; adds what is uncertain to ``notes``."""
    platform, accelerator = question.platform, question.accelerator
    label, labels = str(accelerator), release.accelerators[platform]
    if label in labels:
        return None, True
    if accelerator.kind is AcceleratorKind.XPU:
        notes.append("the catalog does not cover XPU builds; the index will tell")
        return None, False
    url, announced = catalog.facts.ended.get(label, (catalog.facts.evidence["matrix"], False))
    if release.complete or _certainly_not(catalog, release, platform, accelerator):
        return _no(_why_missing(catalog, release, platform, accelerator), url), True
    note = f"the catalog has no complete list of the builds of torch {release.version}"
    if announced:
        note += f"; the end of {describe(accelerator)} was announced: {url}"
    elif label in release.planned:
        note += f"; CI had planned {label}"
    notes.append(note)
    return None, False


def _certainly_not(catalog: Catalog, release: Release, platform: Platform, accelerator: Accelerator) -> bool:
    """Whether complete lists of other releases exclude the build for one whose own list is not complete."""
    label = str(accelerator)
    having = [known for known in catalog.releases if label in known.accelerators.get(platform, {})]
    complete = [known.version for known in catalog.releases if known.complete and platform in known.accelerators]
    if not having:
        newest = max(_versions_of_kind(catalog, platform, accelerator.kind), default=Version("0"))
        older = accelerator.version is not None and Version(accelerator.version) < newest
        return older or any(version > release.version for version in complete)
    before = [known.version for known in having if known.version < release.version]
    after = [known.version for known in having if known.version > release.version]
    ended = not after and bool(before) and any(before[-1] < version <= release.version for version in complete)
    not_begun = not before and any(release.version < version < after[0] for version in complete)
    return ended or not_begun


def _versions_of_kind(catalog: Catalog, platform: Platform, kind: AcceleratorKind) -> set[Version]:
    labels = {label for release in catalog.releases for label in release.accelerators.get(platform, {})}
    return {
        Version(accelerator.version)
        for accelerator in map(Accelerator.parse, labels)
        if accelerator.kind is kind and accelerator.version
    }


def _why_missing(catalog: Catalog, release: Release, platform: Platform, accelerator: Accelerator) -> str:
    label = str(accelerator)
    having = [known.version for known in catalog.releases if label in known.accelerators.get(platform, {})]
    elsewhere = catalog.span(accelerator)
    if having:
        where = "" if elsewhere == (having[0], having[-1]) else f" for {platform}"
        verb = "is" if having[-1] == catalog.releases[-1].version else "was"
        return (
            f"torch {release.version} has no {label} build{where}: {label} {verb} built "
            f"{_between(catalog, having)}{' there' if where else ''}"
        )
    has = ", ".join(release.accelerators[platform])
    if elsewhere:
        return f"torch was never built for {label} on {platform}; there torch {release.version} has {has}"
    return f"torch was never built for {label}; torch {release.version} for {platform} has {has}"


def _python_missing(release: Release, platform: Platform, python: PythonVersion) -> str:
    pythons = release.pythons[platform]
    elsewhere = any(python in known for known in release.pythons.values())
    where = f" on {platform}" if elsewhere else ""
    return f"torch {release.version} has no wheel for Python {python}{where}: it has {python_span(pythons)}"


def _macos_conflict(catalog: Catalog, question: Question, release: Release, *, pinned: bool) -> Verdict | None:
    """Whether the wheel or MPS needs a newer macOS than the target's."""
    target = question.macos_floor
    name = f"torch {release.version}" if pinned else "nightlies"
    floor = release.macos_floor(question.platform, question.python)
    if floor and Version(floor) > Version(target):
        verb = "has" if pinned else "have"
        wheel = "a wheel" if pinned else "wheels"
        return _no(
            f"{name} {verb} {wheel} for macOS {floor} and later only (Python {question.python}, "
            f"{question.platform}), and the target must run on macOS {target}",
            catalog.facts.evidence["macos-14" if floor.startswith("14") else "wheels"],
        )
    needed = catalog.min_macos(release.version) if question.accelerator.kind is AcceleratorKind.MPS else None
    if needed and Version(needed) > Version(target):
        url = [address for first, _, address in catalog.facts.mps if release.version >= first][-1]
        return _no(f"MPS in {name} needs macOS {needed}, and the target must run on macOS {target}", url)
    return None


def _nightly(catalog: Catalog, question: Question) -> Verdict:
    """Whether nightlies of the day (now, when none is named) have the build."""
    nightlies, platform = catalog.facts.nightlies, question.platform
    day = question.request.date or question.as_of
    notes: list[str] = []
    certain = True
    if platform is Platform.OSX_64:
        return _no("nightlies have no wheels for osx-64: the last release with them was torch 2.2.2", catalog.facts.evidence["macos-x86"])
    builds = {build.label: build for build in nightlies.accelerators}
    build = builds.get(str(question.accelerator))
    if build is None or platform not in build.platforms:
        if _nightly_never(catalog, question, build):
            has = ", ".join(current_nightlies(catalog, platform, day))
            what = describe(question.accelerator)
            return _no(f"nightlies do not build {what} for {platform}; they build {has}", nightlies.url)
        notes.append(f"whether nightlies build {describe(question.accelerator)} is not in the catalog of {catalog.date}")
        certain = False
    elif stopped := _stopped(build, day):
        return _no(f"nightlies {stopped[0]} {describe(question.accelerator)} {stopped[1]}", build.url or nightlies.url)
    elif build.announced and (day is None or day > build.announced.last_day):
        notes.append(
            f"nightly builds for {describe(question.accelerator)} were to end in {build.announced} ({build.url}); the index "
            "may have older ones only"
        )
        certain = False
    if refused := _nightly_python(catalog, question, day, notes):
        return refused
    reference = [release for release in catalog.releases if day is None or release.released <= day]
    if platform.is_macos and reference and (conflict := _macos_conflict(catalog, question, reference[-1], pinned=False)):
        return conflict
    if question.request.date and (catalog.date - question.request.date).days > nightlies.keep:
        notes.append(
            f"the index keeps the newest {nightlies.keep} nightlies of a package; that of {question.request.date} may be "
            f"gone ({nightlies.keep_url})"
        )
    return _yes(None, notes, certain=certain)


def current_nightlies(catalog: Catalog, platform: Platform, day: dt.date | None = None) -> list[str]:
    """Labels that nightlies of the day build on the platform; those whose end was announced are left out."""
    return [
        build.label
        for build in catalog.facts.nightlies.accelerators
        if platform in build.platforms
        and not _stopped(build, day)
        and not (build.announced and (day is None or day > build.announced.last_day))
    ]


def _nightly_never(catalog: Catalog, question: Question, build: NightlyBuild | None) -> bool:
    """Whether an accelerator that is not listed for the platform is certainly no new one."""
    accelerator = question.accelerator
    if build is not None:
        return True
    if accelerator.kind is AcceleratorKind.XPU or accelerator.version is None:
        return False
    known = [Accelerator.parse(known.label) for known in catalog.facts.nightlies.accelerators]
    newest = max(Version(known.version) for known in known if known.kind is accelerator.kind and known.version)
    return Version(accelerator.version) < newest


def _stopped(build: NightlyBuild, day: dt.date | None) -> tuple[str, str] | None:
    month = build.last_month()
    if month is None or (day is not None and day <= month.last_day):
        return None
    if build.ended:
        return "stopped building", f"in {month}"
    return "no longer build", f"(last seen in their build matrix in {month})"


def _nightly_python(catalog: Catalog, question: Question, day: dt.date | None, notes: list[str]) -> Verdict | None:
    nightlies, python = catalog.facts.nightlies, question.python
    known = {PythonVersion.parse(build.label): build for build in nightlies.pythons}
    build = known.get(python)
    current = [version for version, each in known.items() if not _stopped(each, day)]
    if build is not None and (stopped := _stopped(build, day)):
        return _no(f"nightlies {stopped[0]} for Python {python} {stopped[1]}; they have {python_span(current)}", build.url or nightlies.url)
    if build is None and (python.free_threaded or python < max(known)) and python < max(known):
        return _no(f"nightlies are not built for Python {python}; they have {python_span(current)}", nightlies.url)
    if build is None:
        notes.append(f"whether nightlies are built for Python {python} is not in the catalog of {catalog.date}")
    newest = catalog.newest()
    has = newest.pythons.get(question.platform, ())
    if day is None and has and python < min(has):
        notes.append(f"torch {newest.version}, the newest release, has no wheel for Python {python}; nightlies may have none either")
    return None
