"""pip's own configuration, read the way pip reads it.

Source of the rules: pip's documentation, "Configuration": the files are global, user, site and ``PIP_CONFIG_FILE`` in
rising order, ``[install]`` in any of them wins over ``[global]``, ``PIP_*`` variables win over both, an empty value
takes back what a lower file said, several values are separated by blanks.
"""

from __future__ import annotations

import configparser
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SECTIONS = ("global", "install")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value and where it was said: a variable's name or a file."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PipConfig:
    """The part of pip's configuration that says where packages come from."""

    index_url: Setting | None = None
    extra_index_urls: tuple[Setting, ...] = ()
    find_links: tuple[Setting, ...] = ()
    cert: Setting | None = None
    proxy: Setting | None = None
    keyring_provider: Setting | None = None
    """``auto``, ``disabled``, ``import`` or ``subprocess``."""


def read_pip_config(environ: Mapping[str, str], *, prefix: Path, home: Path) -> PipConfig:
    """pip's configuration as pip in ``prefix`` would see it. A broken file is a `UsageError` that names it."""
    sections: dict[str, dict[str, Setting]] = {section: {} for section in _SECTIONS}
    for path in config_files(environ, prefix=prefix, home=home):
        for section, said in _read(path).items():
            sections[section].update(said)
    settings: dict[str, Setting] = {}
    for section in _SECTIONS:
        settings.update({name: setting for name, setting in sections[section].items() if setting.value})
    for name, value in environ.items():
        if name.startswith("PIP_") and value.strip():
            settings[_option(name[4:])] = Setting(value=value.strip(), origin=name)
    return PipConfig(
        index_url=settings.get("index-url"),
        extra_index_urls=_several(settings.get("extra-index-url")),
        find_links=_several(settings.get("find-links")),
        cert=_expanded(settings.get("cert"), home),
        proxy=settings.get("proxy"),
        keyring_provider=settings.get("keyring-provider"),
    )


def config_files(environ: Mapping[str, str], *, prefix: Path, home: Path, system: str = sys.platform) -> Iterator[Path]:
    """Configuration files in rising precedence, existing or not; ``system`` is a value of ``sys.platform``."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    shared, own, name = _places(environ, home, system)
    yield from (folder / name for folder in shared)
    if not (named and Path(named).exists()):
        yield from (folder / name for folder in own)
    yield prefix / name
    if named:
        yield Path(named)


def _places(environ: Mapping[str, str], home: Path, system: str) -> tuple[list[Path], list[Path], str]:
    """Folders of the global files, folders of the user's files, the files' name."""
    if system == "win32":
        shared = [Path(environ.get("PROGRAMDATA", "C:/ProgramData"), "pip")]
        return shared, [home / "pip", Path(environ.get("APPDATA", str(home)), "pip")], "pip.ini"
    if system == "darwin":
        support = home / "Library" / "Application Support" / "pip"
        user = support if support.is_dir() else home / ".config" / "pip"
        return [Path("/Library/Application Support/pip")], [home / ".pip", user], "pip.conf"
    listed = environ.get("XDG_CONFIG_DIRS", "").strip() or "/etc/xdg"
    shared = [Path(folder, "pip") for folder in listed.split(":") if folder.strip()]
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip")
    return [*shared, Path("/etc")], [home / ".pip", user], "pip.conf"


def _read(path: Path) -> dict[str, dict[str, Setting]]:
    """What each section says, empty values included: they take something back."""
    parser = configparser.RawConfigParser()
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError):
        return {}
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: pip's configuration cannot be read: {str(error).splitlines()[0]}",
            hint="repair the file, or set PIP_CONFIG_FILE to another one",
        ) from error
    return {
        section: {
            _option(name): Setting(value=value.strip(), origin=str(path)) for name, value in parser.items(section)
        }
        for section in _SECTIONS
        if parser.has_section(section)
    }


def _option(name: str) -> str:
    """The name of an option, however it is written: ``INDEX_URL``, ``--index-url``."""
    return name.lower().replace("_", "-").removeprefix("--")


def _expanded(setting: Setting | None, home: Path) -> Setting | None:
    """A path with ``~`` for the home folder, as pip takes it."""
    if setting is None or not setting.value.startswith("~/"):
        return setting
    return Setting(value=str(home / setting.value[2:]), origin=setting.origin)


def _several(setting: Setting | None) -> tuple[Setting, ...]:
    if setting is None:
        return ()
    return tuple(Setting(value=value, origin=setting.origin) for value in setting.value.split())
