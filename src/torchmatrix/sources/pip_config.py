"""pip's own configuration, read the way pip reads it.

Source of the rules: pip's documentation, "Configuration": the files are global, user, site and ``PIP_CONFIG_FILE`` in
rising order, ``PIP_*`` variables win, ``[install]`` wins over ``[global]``, several values are separated by blanks.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SECTIONS = ("global", "install")
_PATHS = ("cert", "client-cert")


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


def read_pip_config(environ: Mapping[str, str], *, prefix: Path, home: Path) -> PipConfig:
    """pip's configuration as pip in ``prefix`` would see it. A broken file is a `UsageError` that names it."""
    settings: dict[str, Setting] = {}
    for path in config_files(environ, prefix=prefix, home=home):
        settings.update(_read(path))
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            settings[name[4:].lower().replace("_", "-")] = Setting(value=value, origin=name)
    return PipConfig(
        index_url=settings.get("index-url"),
        extra_index_urls=_several(settings.get("extra-index-url")),
        find_links=_several(settings.get("find-links")),
        cert=settings.get("cert"),
        proxy=settings.get("proxy"),
    )


def config_files(environ: Mapping[str, str], *, prefix: Path, home: Path) -> Iterator[Path]:
    """Configuration files in rising precedence, existing or not."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    if os.name == "nt":  # pragma: no cover - Windows
        yield Path(environ.get("PROGRAMDATA", "C:/ProgramData"), "pip", "pip.ini")
        if not (named and Path(named).exists()):
            yield home / "pip" / "pip.ini"
            yield Path(environ.get("APPDATA", str(home)), "pip", "pip.ini")
        yield prefix / "pip.ini"
    else:
        for folder in reversed(environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
            yield Path(folder, "pip", "pip.conf")
        yield Path("/etc/pip.conf")
        if not (named and Path(named).exists()):
            yield home / ".pip" / "pip.conf"
            yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
        yield prefix / "pip.conf"
    if named:
        yield Path(named)


def _read(path: Path) -> dict[str, Setting]:
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
    settings: dict[str, Setting] = {}
    for section in _SECTIONS:
        if parser.has_section(section):
            for name, value in parser.items(section):
                if value.strip():
                    settings[name.replace("_", "-")] = Setting(value=value.strip(), origin=str(path))
    return settings


def _several(setting: Setting | None) -> tuple[Setting, ...]:
    if setting is None:
        return ()
    return tuple(Setting(value=value, origin=setting.origin) for value in setting.value.split())
