"""One resolution with uv: which package from which source, until every family name has its own source."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
import sys
import sysconfig
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from torchmatrix.backends import Resolution, ResolveRequest
from torchmatrix.backends.answer import Found, base_addresses, preferences, read_answer
from torchmatrix.backends.pip_artifacts import artifacts
from torchmatrix.backends.pip_trouble import page_of, page_trouble
from torchmatrix.backends.shared import lockfile_of
from torchmatrix.backends.uv import config_file, explain, folder_of, lacking, project_file
from torchmatrix.command import Command, Outcome, run
from torchmatrix.errors import CellError, HostError, IntegrityError, SourceUnreachableError
from torchmatrix.matrix.model import requirement_name
from torchmatrix.sources.config import PYPI
from torchmatrix.sources.nightlies import day_of
from torchmatrix.sources.routes import Policy, Route, Router, Via, what_to_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torchmatrix.backends.pip import PipBackend
    from torchmatrix.backends.pip_pages import Pages
    from torchmatrix.lock.model import Artifact, Lockfile

_ROUNDS = 6
_BUILD_LABEL = re.compile(r"cpu|cu\d+|rocm[\d.]+|xpu")


class Resolver:
    """Resolves one cell. Everything it needs from the world comes through the backend and the router."""

    def __init__(self, backend: PipBackend, request: ResolveRequest, router: Router) -> None:
        self._backend = backend
        self._request = request
        self._router = router
        self._cell = request.cell
        self._catalog = backend.catalog
        self._remarks: list[str] = list(request.cell.notes)
        self._release: Version | None = None
        """The release of torch that is asked for: the locked one, which may be older than the cell's."""
        self._dated: set[str] = set()
        """Packages whose version the catalog's release dates gave: no upload time may take it away again."""
        self._pages_for: Callable[[Iterable[str]], Pages | None] | None = None
        """What uv sees of the family's source, for the names that come from there; ``None``: the source itself."""
        self._policy = Policy(nightly=request.cell.torch.is_nightly, matrix_allows_in_ci=request.stand_in_in_ci)

    def resolve(self) -> Resolution:
        """The lockfile of the cell. Errors: `CellError`, `SourceUnreachableError`, `IntegrityError`, `HostError`."""
        if self._cell.python.free_threaded:
            raise HostError(
                f"{self._cell}: uv resolves for a free-threaded Python only with that interpreter at hand",
                hint=f"run: uv python install {self._cell.python}",
            )
        if self._cell.torch.is_nightly:
            return self._nightly()
        return self._resolved(self._torch_requirement(), {})

    def _nightly(self) -> Resolution:
        """The best complete day that resolves. Nothing ever falls back to a release, or mixes days."""
        from torchmatrix.backends.pip_nightly import NightlyChooser

        first: CellError | None = None
        chooser = NightlyChooser(self._backend, self._request, self._route(self._cell.source))
        for pins in chooser.pins():
            versions = dict(pins.versions)
            self._pages_for = partial(chooser.pages, pins)
            torch = Requirement(f"torch=={versions.pop('torch')}")
            try:
                resolution = self._resolved(torch, versions, day=pins.day, remarks=pins.remarks)
            except CellError as error:
                first = first or error
                continue
            if first is not None:
                passed = f"nightly of {pins.day}: newer ones do not resolve ({first.message.splitlines()[0]})"
                return replace(resolution, remarks=(*resolution.remarks, passed))
            return resolution
        assert first is not None  # noqa: S101 - without any day the chooser has raised
        raise first

    def _resolved(
        self,
        torch: Requirement,
        pins: Mapping[str, Version],
        *,
        day: dt.date | None = None,
        remarks: tuple[str, ...] = (),
    ) -> Resolution:
        requirements = self._requirements(torch, pins)
        names = {requirement_name(r): s for r in requirements if (s := self._source_of(requirement_name(r))) != PYPI}
        found, routes = self._until_routed(requirements, names)
        lockfile = self._lockfile(artifacts(self._backend, self._request, found, names, routes))
        self._check_variant(lockfile, day)
        said = [*self._remarks, *remarks, *(f"{route}" for route in routes.values() if route.via is not Via.SOURCE)]
        return Resolution(
            lockfile=lockfile, bases=base_addresses(found, names, routes), remarks=tuple(dict.fromkeys(said))
        )

    # -- what is asked ------------------------------------------------------------------------------------------

    def _requirements(self, torch: Requirement, pins: Mapping[str, Version]) -> list[Requirement]:
        others: list[Requirement] = []
        for requirement in self._request.demands.requirements:
            if version := pins.get(requirement_name(requirement)):
                others.append(_pinned(requirement, version))
            elif (kept := self._companion(requirement)) is not None:
                others.append(kept)
        said = {requirement_name(requirement) for requirement in others}
        others += [Requirement(f"{name}=={version}") for name, version in sorted(pins.items()) if name not in said]
        return [torch, *others]

    def _torch_requirement(self) -> Requirement:
        cell = self._cell
        version = cell.torch_version
        previous = self._request.previous
        if previous is not None and not self._request.upgrade and "torch" not in self._request.upgrade_packages:
            held = Version(previous.torch.public)
            fits = cell.torch.specifier is not None and cell.torch.specifier.contains(held)
            if fits or (str(cell.torch) == "stable" == previous.inputs.get("torch")):
                version = held
        self._release = version
        if version is None:
            return Requirement(f"torch{cell.torch.specifier}" if cell.torch.specifier else "torch")
        self._dated.add("torch")
        return Requirement(f"torch=={self._with_local(version)}")

    def _with_local(self, version: Version) -> str:
        """``2.13.0+cpu`` where one place may hold several builds of a release, else ``2.13.0``."""
        target = self._cell.target
        local = self._catalog.expected_local(version, target.platform, target.accelerator, self._cell.source)
        if local and self._cell.source != PYPI and self._route(self._cell.source).pin_local:
            return f"{version}+{local}"
        return str(version)

    def _companion(self, requirement: Requirement) -> Requirement | None:
        """torchvision and torchaudio without a version get the release that belongs to the cell's torch."""
        name, torch = requirement_name(requirement), self._release
        if name not in ("torchvision", "torchaudio") or requirement.specifier or torch is None:
            return requirement
        companion = self._catalog.companion(name, torch)
        if companion is not None:
            self._dated.add(name)
            return Requirement(f"{name}=={self._with_local(companion)}")
        if self._catalog.release(torch) is not None and name == "torchaudio":
            self._remarks.append(f"torchaudio is left out: no release of it belongs to torch {torch}")
            return None
        return requirement

    # -- asking, until every name has its own source --------------------------------------------------------------

    def _until_routed(
        self, requirements: list[Requirement], names: dict[str, str]
    ) -> tuple[list[Found], dict[str, Route]]:
        """uv applies sources to direct dependencies only, so names that turn up from below are asked for directly."""
        sdists: tuple[str, ...] = ()
        for _ in range(_ROUNDS):
            extra = [name for name in sorted(names) if name not in {requirement_name(r) for r in requirements}]
            routes = {source: self._route(source) for source in sorted({PYPI, *names.values()})}
            outcome = self._compile([*map(str, requirements), *extra], names, routes, sdists)
            if not outcome.ok:
                missing = self._routable(re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*", outcome.stderr), names)
                allowed = tuple(name for name in self._cell.allow_sdist if name not in sdists)
                if missing:
                    names.update(missing)
                elif allowed and re.search(r"no (usable )?wheels|building .* is disabled|only-binary", outcome.stderr):
                    sdists += allowed
                else:
                    raise self._unsolvable(outcome, names, routes)
                continue
            found = read_answer(outcome.stdout, self._cell)
            if pages := self._pages(names):
                found = [pages.cleared(one) if names.get(one.name) == pages.source else one for one in found]
            missing = self._routable((package.name for package in found), names)
            if not missing:
                return found, routes
            names.update(missing)
        raise CellError(f"{self._cell}: the sources of its packages do not settle: {', '.join(sorted(names))}")

    def _routable(self, candidates: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
        normalized = {str(canonicalize_name(name)) for name in candidates}
        return {n: s for n in normalized if n not in names and (s := self._source_of(n)) != PYPI}

    def _source_of(self, name: str) -> str:
        if self._catalog.is_family(name):
            return self._cell.source
        for source in self._request.sources.values():
            if any(fnmatch.fnmatchcase(name, pattern.lower().replace("_", "-")) for pattern in source.packages):
                return source.name
        return PYPI

    def _route(self, source: str) -> Route:
        cell = self._cell
        if source != cell.source or source == PYPI:
            return self._router.route(source, policy=self._policy)
        folder = folder_of(source, str(cell.target.accelerator), nightly=cell.torch.is_nightly)
        page = "/".join(part for part in (folder, "torch/") if part)
        return self._router.route(source, policy=self._policy, names=("torch",), page=page)

    def _pages(self, names: Mapping[str, str]) -> Pages | None:
        """The pages that uv gets instead of those of the family's source."""
        source = self._cell.source
        mine = sorted(name for name, of in names.items() if of == source)
        if self._pages_for is not None or not mine or source == PYPI or self._backend.config.offline:
            return self._pages_for(mine) if self._pages_for and mine else None
        from torchmatrix.backends.pip_pages import unhashed_pages

        folder = folder_of(source, str(self._cell.target.accelerator), nightly=False)
        return unhashed_pages(self._backend.indexes, self._route(source), folder, mine)

    def _compile(
        self, requirements: list[str], names: Mapping[str, str], routes: Mapping[str, Route], sdists: tuple[str, ...]
    ) -> Outcome:
        cell, request = self._cell, self._request
        folders = {s: folder_of(s, str(cell.target.accelerator), nightly=cell.torch.is_nightly) for s in routes}
        placed = {source: (route, folders[source]) for source, route in routes.items() if route.places}
        pages = self._pages(names)
        with tempfile.TemporaryDirectory(prefix="pip-", dir=self._backend.scratch) as scratch:
            if pages is not None:
                placed[pages.source] = (pages.write(Path(scratch, "pages"), routes[pages.source]), None)
            text = project_file(requirements, placed, names, cell.python.release)
            project, output = Path(scratch, "pyproject.toml"), Path(scratch, "pylock.toml")
            project.write_text(text, encoding="utf-8")
            settings = Path(scratch, "uv.toml")
            settings.write_text(self._settings(placed, pages, Path(scratch)), encoding="utf-8")
            argv = [str(self._backend.uv), "pip", "compile", "--config-file", str(settings), "--quiet", str(project)]
            argv += ["--python-version", cell.python.release, "--python-platform", cell.target.uv_platform]
            argv += ["--format", "pylock.toml", "-o", str(output), "--generate-hashes", "--no-header"]
            argv += ["--only-binary", ":all:", *(f"--no-binary={name}" for name in sdists)]
            argv += [] if sdists else _any_interpreter()
            argv += self._backend.uv_options()
            if request.demands.constraints:
                constraints = Path(scratch, "constraints.txt")
                constraints.write_text("".join(f"{c}\n" for c in request.demands.constraints), encoding="utf-8")
                argv += ["-c", str(constraints)]
            if request.as_of is not None:
                argv += ["--exclude-newer", end_of_day(request.as_of)]
                argv += [f"--exclude-newer-package={name}=false" for name in sorted(self._dated)]
            if request.previous is not None and request.previous.artifacts and not request.upgrade:
                output.write_text(preferences(request.previous), encoding="utf-8")
                argv += [f"--upgrade-package={name}" for name in request.upgrade_packages]
            env = self._backend.uv_env(placed)
            if cell.target.platform.is_macos:
                env["MACOSX_DEPLOYMENT_TARGET"] = cell.target.macos_floor
            with self._backend.resolvers:
                outcome = run(Command(argv=tuple(argv), env=env))
            if not outcome.ok:
                return outcome
            answer = output.read_text(encoding="utf-8")
        return Outcome(command=outcome.command, returncode=0, stdout=answer, stderr=outcome.stderr)

    def _settings(self, placed: Mapping[str, tuple[Route, str | None]], pages: Pages | None, _scratch: Path) -> str:
        """The text of uv.toml."""
        return config_file(placed) + (pages.tables() if pages else "")

    def _unsolvable(self, outcome: Outcome, names: Mapping[str, str], routes: Mapping[str, Route]) -> Exception:
        accelerator, nightly = str(self._cell.target.accelerator), self._cell.torch.is_nightly
        places = {s: (route, folder_of(s, accelerator, nightly=nightly)) for s, route in routes.items()}
        error = explain(outcome, f"resolving {self._cell}", page_of(places, names))
        if not isinstance(error, CellError):
            return error
        if self._request.as_of is not None and (later := self._explain_as_of(error, outcome.stderr, routes)):
            return later
        for route in routes.values():
            missing = {name for name in lacking(outcome.stderr) if names.get(name, PYPI) == route.source}
            if route.via is Via.STAND_IN and missing:
                return SourceUnreachableError(
                    f"source {route.source} cannot be reached ({route.unreached}), and with its stand-in "
                    f"{route.place.address} {error.message}",
                    hint=what_to_set(route.source),
                )
        offline = self._backend.config.offline
        if not offline and (trouble := page_trouble(outcome, self._backend.indexes, places, names)):
            return trouble
        hints = [error.hint] if error.hint else []
        match = re.search(
            r"(?:Because|and) ([A-Za-z0-9._-]+)(?:[=<>!~][^\s]*)? has no (?:usable )?wheels", outcome.stderr
        )
        if match:
            hints.append(self._newest_with_wheel(match[1]))
        return CellError(error.message, hint="; ".join(hints) or None)

    def _explain_as_of(self, error: CellError, stderr: str, routes: Mapping[str, Route]) -> CellError | None:
        """The same in words of ``--as-of``; ``None`` where upload times play no part."""
        from torchmatrix.backends.pip_as_of import as_of_problems

        as_of = self._request.as_of
        assert as_of is not None  # noqa: S101 - the caller asked
        words, hint = as_of_problems(
            stderr, as_of, lambda name: self._backend.indexes.listing(routes[PYPI], None, name)
        )
        if not words:
            return None
        lines = [line for line in error.message.splitlines() if "exclude-newer" not in line]
        return CellError(f"{self._cell}: {'; '.join(words)}\n" + "\n".join(lines), hint=hint)

    def _newest_with_wheel(self, name: str) -> str:
        """Ask uv for the newest version of ``name`` that has a wheel for the cell."""
        source = self._source_of(name)
        names = {name: source} if source != PYPI else {}
        outcome = self._compile([name], names, {s: self._route(s) for s in sorted({PYPI, *names.values()})}, ())
        found = read_answer(outcome.stdout, self._cell) if outcome.ok else []
        version = next((package.version for package in found if package.name == canonicalize_name(name)), None)
        where = f"Python {self._cell.python} on {self._cell.target.platform}"
        if version is None:
            return f"{name} has no wheel at all for {where}; allow its sdist with `allow-sdist: [{name}]`"
        return f"the newest {name} with a wheel for {where} is {version}; or allow its sdist: `allow-sdist: [{name}]`"

    # -- what came back -----------------------------------------------------------------------------------------

    def _lockfile(self, made: tuple[Artifact, ...]) -> Lockfile:
        cell, request = self._cell, self._request
        torch = next((artifact for artifact in made if artifact.name == "torch"), None)
        if torch is None:
            raise CellError(f"{cell}: the resolution holds no torch")
        return lockfile_of(request, torch.pep440, made, expires=self._expires(torch.pep440))

    def _expires(self, version: Version) -> dt.date | None:
        """One nightly a day, and the index lists the newest ``keep`` of them."""
        day = day_of(version)
        return day + dt.timedelta(days=self._catalog.facts.nightlies.keep) if day else None

    def _check_variant(self, lockfile: Lockfile, day: dt.date | None) -> None:
        """What came back must be the build that was asked for: the local version says which one it is."""
        cell = self._cell
        target = cell.target
        release = None if lockfile.torch.is_devrelease else Version(lockfile.torch.public)
        expected = self._catalog.expected_local(release, target.platform, target.accelerator, cell.source)
        if expected and lockfile.torch.local != expected:
            raise IntegrityError(
                f"{cell}: asked for the {target.accelerator} build of torch {lockfile.torch.public}, "
                f"but source {cell.source} gave {lockfile.torch}",
                hint="check the mirror or stand-in that serves this source: torchmatrix doctor",
            )
        for artifact in lockfile.artifacts:
            local = artifact.pep440.local or ""
            if (
                self._catalog.is_family(artifact.name)
                and _BUILD_LABEL.fullmatch(local)
                and expected
                and local != expected
            ):
                raise IntegrityError(f"{cell}: {artifact.name} {artifact.version} is not a {expected} build")
            made_on = day_of(artifact.pep440) if self._catalog.is_family(artifact.name) else None
            if made_on is not None and made_on != day:
                raise IntegrityError(
                    f"{cell}: {artifact.name} {artifact.version} is a nightly of {made_on}, torch is {lockfile.torch}"
                )


def _any_interpreter() -> list[str]:
    """Spare uv the search for the cell's Python, which may cost a second a cell: for wheels any CPython will do.

    Version and platform are given; only the implementation and whether it is free-threaded come from the interpreter.
    """
    plain = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
    return ["--python", sys.executable] if plain and sys.executable else []


def _pinned(requirement: Requirement, version: Version) -> Requirement:
    """The requirement with its extras and marker, at exactly one version."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    marker = f"; {requirement.marker}" if requirement.marker else ""
    return Requirement(f"{requirement.name}{extras}=={version}{marker}")


def end_of_day(day: dt.date) -> str:
    """The end of a day in UTC as a full timestamp: uv reads a bare date in local time."""
    return f"{day + dt.timedelta(days=1)}T00:00:00Z"
