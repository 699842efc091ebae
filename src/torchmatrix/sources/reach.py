"""Can an address be reached, and if not, why: DNS, connection, TLS, proxy or time, each told apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import urllib3

    from torchmatrix.sources.config import SourceConfig

CONNECT_SECONDS = 5.0
"""How long a host may take to accept a connection; twice this stays below the 15 s that a refusal may cost."""
READ_SECONDS = 8.0
"""How long nothing may come; ``UV_HTTP_TIMEOUT`` changes it for what is read, as for uv."""


class Trouble(StrEnum):
    """Why nothing was read."""

    MISSING = "missing"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    PROXY = "proxy"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    BUSY = "busy"
    ANSWER = "answer"
    """It answered, but not with what is needed."""

    @property
    def allows_stand_in(self) -> bool:
        """DESIGN §7: after a DNS, connect or TLS failure before anything was read, never after a timeout."""
        return self in (Trouble.DNS, Trouble.CONNECT, Trouble.TLS)

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self in (Trouble.CONNECT, Trouble.TIMEOUT, Trouble.BROKEN, Trouble.BUSY)

    def hint(self, source: str) -> str:
        """What to do about it."""
        mirror = f'name a mirror: TORCHMATRIX_MIRRORS="{source}=ADDRESS"'
        return {
            Trouble.TLS: "set SSL_CERT_FILE to the certificates that your network uses",
            Trouble.PROXY: "check HTTPS_PROXY and NO_PROXY",
            Trouble.DNS: f"check the network and the address, set HTTPS_PROXY, or {mirror}",
            Trouble.BUSY: f"the server is overloaded or broken; try again later, or {mirror}",
        }.get(self, f"check the network, try again, or {mirror}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Whether an address answers; ``trouble`` and ``reason`` say why not."""

    address: str
    trouble: Trouble | None = None
    reason: str = ""
    status: int | None = None
    """What a server answered, whatever that means."""
    hint: str | None = None
    """What to do about it, where something better is known than to name a mirror."""

    @property
    def ok(self) -> bool:
        """Whether something answered, whatever its status."""
        return self.trouble is None

    @property
    def host(self) -> str:
        """The host name, or the path of a folder."""
        return urlsplit(self.address).hostname or self.address


def timeout(seconds: float | None = None) -> urllib3.Timeout:
    """The time limits of one request; ``seconds``: how long nothing may come."""
    import urllib3

    return urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS if seconds is None else seconds)


def read_seconds(config: SourceConfig) -> float:
    """How long nothing may come while something is read: what uv is told, or `READ_SECONDS`."""
    said = config.child_env.get("UV_HTTP_TIMEOUT", "")
    return float(said) if said.isdecimal() and int(said) else READ_SECONDS


def trouble_of(error: Exception, config: SourceConfig, seconds: float | None = None) -> tuple[Trouble, str]:
    """What a urllib3 error means, and how to say it; ``seconds``: the time limit that was set for reading."""
    from urllib3 import exceptions as broken

    match error:
        case broken.ProxyError() | broken.ProxySchemeUnknown() | broken.ProxySchemeUnsupported():
            return Trouble.PROXY, f"the proxy failed: {_last_words(error)}"
        case broken.NameResolutionError():
            return Trouble.DNS, "its name cannot be resolved (DNS)"
        case broken.NewConnectionError():
            return Trouble.CONNECT, f"no connection: {_last_words(error)}"
        case broken.SSLError():
            return Trouble.TLS, f"TLS failed: {_tls_words(error, config)}"
        case broken.ConnectTimeoutError():
            return Trouble.TIMEOUT, f"no connection within {CONNECT_SECONDS:.0f} s"
        case broken.ReadTimeoutError():
            return Trouble.TIMEOUT, f"no answer within {READ_SECONDS if seconds is None else seconds:.0f} s"
        case _:
            # Something accepted the connection: what is there may be the source, so nothing may stand in for it.
            cause = error.args[1] if len(error.args) > 1 else error
            return Trouble.BROKEN, f"it broke the connection off, or answered with no HTTP ({type(cause).__name__})"


def _tls_words(error: Exception, config: SourceConfig) -> str:
    cert = config.cert
    if cert is None or Path(cert.value).exists():
        return _last_words(error)
    return f"the certificates {cert.value} (from {cert.origin}) do not exist"


def proxy_for(address: str, config: SourceConfig) -> str | None:
    """The proxy for ``address``: from the environment (``NO_PROXY`` honoured), else pip's."""
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # undocumented, there since 2.x

    env = config.child_env
    parts = urlsplit(address)
    proxies = {
        scheme: value
        for scheme in ("http", "https", "all", "no")
        if (value := env.get(f"{scheme}_proxy") or env.get(f"{scheme.upper()}_PROXY"))
    }
    if proxy_bypass_environment(parts.hostname or "", proxies):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all") or (config.proxy.value if config.proxy else None)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _last_words(error: Exception) -> str:
    text = re.sub(r" \(_ssl\.c:\d+\)", "", str(error))  # where in the standard library it was noticed
    return text.rsplit(": ", 1)[-1].strip("()\"' ")
