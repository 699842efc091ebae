"""Can an address be reached, and if not, why: DNS, connection, TLS, proxy or time, each told apart."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from torchmatrix.sources.config import SourceConfig, local_path

if TYPE_CHECKING:
    import urllib3

CONNECT_SECONDS = 5.0
"""How long a host may take to accept a connection; twice this stays below the 15 s that a refusal may cost."""
READ_SECONDS = 8.0


class Trouble(StrEnum):
    """Why nothing was read."""

    MISSING = "missing"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    PROXY = "proxy"
    TIMEOUT = "timeout"
    BROKEN = "broken"

    @property
    def allows_stand_in(self) -> bool:
        """DESIGN §7: after a DNS, connect or TLS failure before anything was read, never after a timeout."""
        return self in (Trouble.DNS, Trouble.CONNECT, Trouble.TLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Whether an address answers; ``trouble`` and ``reason`` say why not."""

    address: str
    trouble: Trouble | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether something answered, whatever its status."""
        return self.trouble is None

    @property
    def host(self) -> str:
        """The host name, or the path of a folder."""
        return urlsplit(self.address).hostname or self.address


class Web:
    """HTTP with the certificates and proxies of a configuration; connections are kept, results of probes remembered."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._reached: dict[str, Reach] = {}
        self._asking: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    @cached_property
    def _direct(self) -> urllib3.PoolManager:
        import urllib3

        return urllib3.PoolManager(
            num_pools=8, maxsize=16, block=True, retries=False, ca_certs=self._certificates, timeout=self._timeout
        )

    @property
    def _certificates(self) -> str | None:
        return self._config.cert.value if self._config.cert else None

    @property
    def _timeout(self) -> urllib3.Timeout:
        import urllib3

        return urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)

    def pool(self, address: str) -> urllib3.PoolManager:
        """The connection pool for an address: direct, or through the proxy that the environment names."""
        import urllib3

        proxy = proxy_for(address, self._config)
        if proxy is None:
            return self._direct
        return urllib3.ProxyManager(
            proxy, num_pools=8, maxsize=16, retries=False, ca_certs=self._certificates, timeout=self._timeout
        )

    def reach(self, address: str) -> Reach:
        """Ask once a process whether the host of ``address`` answers."""
        path = local_path(address)
        if path is not None:
            if path.exists():
                return Reach(address=address)
            return Reach(address=address, trouble=Trouble.MISSING, reason=f"{path} does not exist")
        parts = urlsplit(address)
        key = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:  # many cells want the same host: one asks, the others wait for its answer
            if key not in self._reached:
                self._reached[key] = self._ask(address)
            return self._reached[key]

    def _ask(self, address: str) -> Reach:
        from urllib3 import exceptions as broken

        try:
            response = self.pool(address).request("HEAD", address, redirect=False, preload_content=False)
            response.release_conn()
        except (broken.ProxyError, broken.ProxySchemeUnknown, broken.ProxySchemeUnsupported) as error:
            return Reach(address=address, trouble=Trouble.PROXY, reason=f"the proxy failed: {_last_words(error)}")
        except broken.NameResolutionError:
            return Reach(address=address, trouble=Trouble.DNS, reason="its name cannot be resolved (DNS)")
        except broken.NewConnectionError as error:
            return Reach(address=address, trouble=Trouble.CONNECT, reason=f"no connection: {_last_words(error)}")
        except broken.SSLError as error:
            return Reach(address=address, trouble=Trouble.TLS, reason=f"TLS failed: {self._tls_words(error)}")
        except (broken.ConnectTimeoutError, broken.ReadTimeoutError):
            return Reach(address=address, trouble=Trouble.TIMEOUT, reason=f"no answer within {READ_SECONDS:.0f} s")
        except broken.HTTPError as error:
            # Something accepted the connection: what is there may be the source, so nothing may stand in for it.
            cause = error.args[1] if len(error.args) > 1 else error
            reason = f"it broke the connection off, or answered with no HTTP ({type(cause).__name__})"
            return Reach(address=address, trouble=Trouble.BROKEN, reason=reason)
        return Reach(address=address)

    def _tls_words(self, error: Exception) -> str:
        cert = self._config.cert
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
    return str(error).rsplit(": ", 1)[-1].strip("()\"' ")
