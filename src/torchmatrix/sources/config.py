"""The configuration of sources, read once: TORCHMATRIX_* > UV_DEFAULT_INDEX > PIP_* > pip.conf."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from torchmatrix.errors import UsageError
from torchmatrix.sources.pip_config import PipConfig, Setting, read_pip_config

if TYPE_CHECKING:
    from collections.abc import Mapping

PYTORCH_BASE = "https://download.pytorch.org/whl"
"""Address of the source ``pytorch`` (https://pytorch.org/get-started/locally/)."""

_KEPT_UV = ("UV_CACHE_DIR", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_CONCURRENT_DOWNLOADS", "UV_LINK_MODE",
            "UV_KEYRING_PROVIDER", "UV_PYTHON_INSTALL_DIR", "UV_LOCK_TIMEOUT")  # fmt: skip
_CREDENTIAL = re.compile(r"UV_INDEX_\w+_(USERNAME|PASSWORD)")
_DROPPED = ("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV", "CONDA_", "TORCHMATRIX_", "MACOSX_DEPLOYMENT_TARGET")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where sources are served, and how to get there. ``child_env`` is the cleaned environment of uv."""

    default_index: Setting | None
    """Address of ``pypi`` when something configures it; ``None``: uv's own default."""
    extra_indexes: tuple[Setting, ...] = ()
    find_links: tuple[Setting, ...] = ()
    mirrors: Mapping[str, tuple[Setting, ...]] = field(default_factory=lambda: MappingProxyType({}))
    cert: Setting | None = None
    proxy: Setting | None = None
    offline: bool = False
    ci: bool = False
    child_env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def read_source_config(
    environ: Mapping[str, str], *, prefix: Path, home: Path, config_file: Path, offline: bool = False
) -> SourceConfig:
    """Everything that says where packages come from, from the environment and the configuration files."""
    pip = read_pip_config(environ, prefix=prefix, home=home)
    mirrors = _read_mirrors(environ, config_file)
    cert = _first(environ, "SSL_CERT_FILE") or pip.cert
    default_index = _first(environ, "TORCHMATRIX_DEFAULT_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL") or pip.index_url
    listed = [setting for settings in mirrors.values() for setting in settings]
    for setting in (default_index, pip.proxy, *pip.extra_index_urls, *pip.find_links, *listed):
        if setting is not None:
            _check_address(setting)
    return SourceConfig(
        default_index=default_index,
        extra_indexes=pip.extra_index_urls,
        find_links=pip.find_links,
        mirrors=mirrors,
        cert=cert,
        proxy=pip.proxy,
        offline=offline or environ.get("TORCHMATRIX_OFFLINE", "") not in ("", "0"),
        ci=environ.get("CI", "").lower() in ("1", "true", "yes"),
        child_env=MappingProxyType(_child_env(environ, cert, pip)),
    )


def _first(environ: Mapping[str, str], *names: str) -> Setting | None:
    return next((Setting(value=environ[name], origin=name) for name in names if environ.get(name)), None)


def _check_address(setting: Setting) -> None:
    """`UsageError` for what cannot be read as an address at all: everything later takes it apart without asking."""
    try:
        _ = urlsplit(setting.value).port
    except ValueError as error:
        from torchmatrix.command import redact  # it brings subprocess along

        raise UsageError(
            f"{setting.origin}: {redact(setting.value)} is no address: {error}",
            hint="write for example https://mirror.example/whl",
        ) from error


def _read_mirrors(environ: Mapping[str, str], config_file: Path) -> Mapping[str, tuple[Setting, ...]]:
    found: dict[str, list[Setting]] = {}
    if text := environ.get("TORCHMATRIX_MIRRORS"):
        for entry in text.split():
            name, equals, place = entry.partition("=")
            if not (name and equals and place):
                raise UsageError(
                    f"TORCHMATRIX_MIRRORS: {entry!r} is not NAME=ADDRESS",
                    hint='write for example TORCHMATRIX_MIRRORS="pytorch=https://mirror.example/whl"',
                )
            found.setdefault(name, []).append(Setting(value=place, origin="TORCHMATRIX_MIRRORS"))
    for name, places in _config_file_mirrors(config_file).items():
        found.setdefault(name, []).extend(Setting(value=place, origin=str(config_file)) for place in places)
    for name, settings in found.items():
        for setting in settings:
            _check_mirror(name, setting)
    return MappingProxyType({name: tuple(places) for name, places in found.items()})


def _check_mirror(name: str, setting: Setting) -> None:
    """An address is http(s), file:// or a path; what looks like neither is never printed, it may hold a password."""
    scheme, separator, _ = setting.value.partition("://")
    known = 'write https://…, file://… or the path of a folder, for example "pytorch=https://mirror.example/whl"'
    if separator and scheme not in ("http", "https", "file"):
        raise UsageError(
            f"{setting.origin}: the mirror of {name} has the scheme {scheme}://, which is none", hint=known
        )
    if not separator and "@" in setting.value.partition("/")[0]:
        raise UsageError(f"{setting.origin}: the mirror of {name} has user and host but no scheme", hint=known)


def _config_file_mirrors(path: Path) -> dict[str, list[str]]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if unknown := set(data) - {"mirrors"}:
        raise UsageError(f"{path}: unknown key {min(unknown)!r}; the file may hold [mirrors]")
    mirrors = data.get("mirrors", {})
    if not isinstance(mirrors, dict):
        raise UsageError(f"{path}: mirrors: write a table, NAME = ADDRESS")
    result: dict[str, list[str]] = {}
    for name, value in mirrors.items():
        places = [value] if isinstance(value, str) else value
        if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
            raise UsageError(f"{path}: mirrors.{name}: write one address or a list of addresses")
        result[name] = places
    return result


def _child_env(environ: Mapping[str, str], cert: Setting | None, pip: PipConfig) -> dict[str, str]:
    """The environment for uv: nothing in it may redirect a package, everything that reaches the network stays."""
    env = {
        name: value
        for name, value in environ.items()
        if name in _KEPT_UV or _CREDENTIAL.fullmatch(name) or not name.startswith(_DROPPED)
    }
    env["UV_PYTHON_DOWNLOADS"] = "never"
    env["UV_NO_CONFIG"] = "1"
    if cert is not None:
        env["SSL_CERT_FILE"] = cert.value
    if pip.proxy is not None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            if not (env.get(name) or env.get(name.lower())):
                env[name] = pip.proxy.value
    return env


def local_path(address: str) -> Path | None:
    """The folder that ``address`` names when it is a path or a ``file://`` URL, else ``None``."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        from urllib.request import url2pathname  # it brings http.client and e-mail along: 15 ms

        return Path(url2pathname(parts.path))
    if parts.scheme in ("http", "https") or "://" in address:
        return None
    return Path(address).expanduser()


def is_flat(address: str) -> bool:
    """Whether ``address`` is a folder that holds wheels itself, not an index with a folder for each project."""
    path = local_path(address)
    return path is not None and path.is_dir() and any(path.glob("*.whl"))
