"""HTTP for everything that we read ourselves: retried where it can help, credentials, and no redirect to strangers.

Connection failures are told apart by `Trouble`. What a server answers is returned, whatever its status, except for
what was retried in vain.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

from torchmatrix.command import redact
from torchmatrix.errors import IntegrityError, SourceUnreachableError
from torchmatrix.sources.config import SourceConfig, local_path
from torchmatrix.sources.credentials import Credentials, without_userinfo
from torchmatrix.sources.hosts import FileHosts
from torchmatrix.sources.once import Once
from torchmatrix.sources.reach import Reach, Trouble, proxy_for, read_seconds, timeout, trouble_of
from torchmatrix.sources.replies import Reply, basic, described, drop, headers_only, reason_of, retry_after, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import urllib3

T = TypeVar("T")

RETRIES = 3
"""How often a request is repeated, as uv does by default; ``UV_HTTP_RETRIES`` changes it for both."""
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
"""What an index page may be (PEP 691)."""
LONGEST_WAIT = 60.0
"""Seconds that a ``Retry-After`` is obeyed; a server that asks for more is reported instead."""
PROXY_LOGIN = "give the proxy its credentials: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
CONNECTIONS = 8
"""To one host at once; each costs a lookup and a handshake."""
_REDIRECTS = 8
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED = frozenset({401, 403, 407})
_NO_HEAD = frozenset({400, 403, 405, 501})
"""Answers of servers that know no HEAD, or whose signed addresses are for GET alone."""
_BLOCK = 1 << 18


class BrokenOffError(SourceUnreachableError):
    """A body ended before it was complete, or stalled."""


class Web:
    """HTTP with the certificates, proxies and credentials of a configuration; connections are kept."""

    def __init__(
        self,
        config: SourceConfig,
        *,
        hosts: FileHosts | None = None,
        credentials: Credentials | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """``sleep`` waits between attempts; without one, no longer than until `stopping` is set."""
        self._config = config
        self.hosts = hosts or FileHosts(config)
        self._credentials = credentials
        self.stopping = threading.Event()
        """Set when the run is to end: whoever asks, waits or receives fails at the next step."""
        self.sleep: Callable[[float], object] = self.stopping.wait if sleep is None else sleep
        self._reached: Once[str, Reach] = Once()
        self._pages: Once[tuple[str, str], Reply] = Once()
        self._proxies: dict[str, urllib3.ProxyManager] = {}
        self._lock = threading.Lock()

    # -- asking ---------------------------------------------------------------------------------------------------

    def get(self, url: str, *, source: str, headers: Mapping[str, str] | None = None) -> Reply:
        """The whole body at ``url``: for pages and metadata, not for wheels."""
        return self._repeated("GET", url, source, headers or {}, whole)

    def head(self, url: str, *, source: str, anywhere: bool = False) -> Reply:
        """Status and headers of what is at ``url``; ``anywhere``: see `stream`."""
        headers = {"Accept-Encoding": "identity"}
        return self._repeated("HEAD", url, source, headers, headers_only, anywhere=anywhere)

    def describe(self, url: str, *, source: str, anywhere: bool = False) -> Reply:
        """Status, size and validator of a file: by HEAD, else by a GET of which only the headers are read."""
        reply = self.head(url, source=source, anywhere=anywhere)
        if reply.status in _NO_HEAD or (reply.ok and (not reply.length or reply.is_page)):
            with self.stream(url, source=source, anywhere=anywhere) as (opened, _):
                reply = opened
        return reply

    def page(self, url: str, *, source: str) -> Reply:
        """An index page, read once a process: many cells want the same ones, and one that fails fails for all."""
        return self._pages.get((source, url), lambda _: self.get(url, source=source, headers={"Accept": ACCEPT}))

    def has_read(self, url: str, *, source: str) -> bool:
        """Whether `page` has read it, so that its redirects were looked at."""
        return self._pages.answered((source, url))

    @contextmanager
    def stream(
        self, url: str, *, source: str, headers: Mapping[str, str] | None = None, anywhere: bool = False
    ) -> Iterator[tuple[Reply, Iterator[bytes]]]:
        """The answer and its body in blocks; only what comes before the body is retried.

        ``anywhere``: redirects may lead to any host, because the bytes are known by their sha256 beforehand.
        A body that breaks off raises `BrokenOffError`; what was read of it is good.
        """
        asked = {"Accept-Encoding": "identity", **(headers or {})}
        url, response = self._repeated(
            "GET", url, source, asked, lambda url, response: (url, response), anywhere=anywhere
        )
        try:
            yield described(url, response), self._blocks(url, response)
        finally:
            drop(response)

    def _blocks(self, url: str, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            # stream() would keep up to a block to itself when the rest of it never comes
            while block := response.read1(_BLOCK, decode_content=False):
                if self.stopping.is_set():
                    raise SourceUnreachableError("interrupted")
                yield block
        except HTTPError as error:
            stalled = "timed out" in str(error).lower()
            seconds = read_seconds(self._config)
            why = f"nothing came for {seconds:.0f} s" if stalled else "the connection broke off"
            raise BrokenOffError(f"{redact(url)}: {why} in the middle of the file") from error

    def _require_network(self, url: str, who: str = "") -> None:
        """Raise when nothing may be asked (any more)."""
        if self.stopping.is_set():
            raise SourceUnreachableError("interrupted")
        if self._config.offline:
            host = urlsplit(url).hostname or redact(url)
            raise SourceUnreachableError(
                f"{who}{host}: not asked, because of --offline",
                hint="run without --offline, or name a folder in TORCHMATRIX_MIRRORS",
            )

    # -- one request after the other --------------------------------------------------------------------------------

    def _repeated(
        self,
        method: str,
        url: str,
        source: str,
        headers: Mapping[str, str],
        read: Callable[[str, urllib3.BaseHTTPResponse], T],
        *,
        anywhere: bool = False,
    ) -> T:
        """Ask until there is an answer that repeating would not change; ``read`` may fail as the request may."""
        from urllib3.exceptions import HTTPError

        attempts = 1 + self.retries
        for attempt in range(1, attempts + 1):
            wait = _backoff(attempt)
            self._require_network(url, f"source {source}: ")
            try:
                final, response = self._followed(method, url, source, headers, anywhere=anywhere)
                if response.status not in _AGAIN:
                    return read(final, response)
                words = f"answered {response.status}{reason_of(response)}"
                after = retry_after(response.headers.get("Retry-After"))
                drop(response)
                if after is not None and after > LONGEST_WAIT:
                    raise _failed(url, source, f"{words} and asks to wait {after:.0f} s", Trouble.BUSY)
                if attempt == attempts:
                    raise _failed(url, source, f"{words}, {attempt} times", Trouble.BUSY)
                wait = max(wait, after or 0.0)
            except HTTPError as error:
                trouble, reason = trouble_of(error, self._config, read_seconds(self._config))
                # A stalled server costs the whole time limit every time: once more has to do.
                if not trouble.may_pass or attempt == attempts or (trouble is Trouble.TIMEOUT and attempt > 1):
                    raise _failed(url, source, reason, trouble) from error
            self.sleep(wait)
        raise AssertionError("unreachable")

    @property
    def retries(self) -> int:
        """How often what failed is repeated."""
        said = self._config.child_env.get("UV_HTTP_RETRIES", "")
        return int(said) if said.isdecimal() else RETRIES

    def _followed(
        self, method: str, url: str, source: str, headers: Mapping[str, str], *, anywhere: bool
    ) -> tuple[str, urllib3.BaseHTTPResponse]:
        """Follow redirects by hand: each target is looked at before anything is sent there."""
        for _ in range(_REDIRECTS):
            response = self._authorized(method, url, source, headers)
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return without_userinfo(url), response
            response.drain_conn()
            response.release_conn()
            target = _target(url, location, source)
            if not anywhere and urlsplit(target).hostname != urlsplit(url).hostname:
                self.hosts.require(target, source=source, named_by=f"a redirect of {without_userinfo(url)}")
            if urlsplit(url).scheme == "https" != urlsplit(target).scheme:
                raise IntegrityError(
                    f"source {source}: {redact(url)} redirects from https to {redact(target)}, which anybody on the "
                    "way could change",
                    hint="have the server redirect to https",
                )
            url = target
        raise _failed(url, source, f"it redirects more than {_REDIRECTS} times", Trouble.BROKEN)

    def _authorized(self, method: str, url: str, source: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Send with the credentials that are at hand; ask slower places for some only when they are demanded."""
        plain = without_userinfo(url)
        known = self._known(url, source, refused=False)
        response = self._send(method, plain, headers, known)
        if response.status in _REFUSED and (found := self._known(url, source, refused=True)) not in (None, known):
            response.drain_conn()
            response.release_conn()
            response = self._send(method, plain, headers, found)
        return response

    def _known(self, url: str, source: str, *, refused: bool) -> tuple[str, str] | None:
        if self._credentials is None:
            return None
        return self._credentials.for_url(url, source=source, refused=refused)

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], credentials: tuple[str, str] | None
    ) -> urllib3.BaseHTTPResponse:
        sent = dict(headers)
        if credentials is not None:
            sent["Authorization"] = basic(*credentials)
        return self.pool(url).request(
            method,
            url,
            headers=sent,
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=timeout(read_seconds(self._config)),
        )

    # -- connections ----------------------------------------------------------------------------------------------

    @cached_property
    def _direct(self) -> urllib3.PoolManager:
        import urllib3

        return urllib3.PoolManager(
            num_pools=8, maxsize=CONNECTIONS, block=True, retries=False, ca_certs=self._certificates
        )

    @property
    def _certificates(self) -> str | None:
        return self._config.cert.value if self._config.cert else None

    def pool(self, address: str) -> urllib3.PoolManager:
        """The connection pool for an address: direct, or through the proxy that the environment names."""
        import urllib3

        proxy = proxy_for(address, self._config)
        with self._lock:
            if proxy is None:
                return self._direct
            if proxy not in self._proxies:
                url = urlsplit(proxy)
                headers = None
                if url.username is not None:
                    headers = {"Proxy-Authorization": basic(unquote(url.username), unquote(url.password or ""))}
                self._proxies[proxy] = urllib3.ProxyManager(
                    without_userinfo(proxy),
                    proxy_headers=headers,
                    num_pools=8,
                    maxsize=CONNECTIONS,
                    retries=False,
                    ca_certs=self._certificates,
                )
            return self._proxies[proxy]

    def reach(self, address: str) -> Reach:
        """Ask once a process whether the host of ``address`` answers; no credentials, nothing is repeated."""
        path = local_path(address)
        if path is not None:
            if path.exists():
                return Reach(address=address)
            return Reach(address=address, trouble=Trouble.MISSING, reason=f"{redact(str(path))} does not exist")
        parts = urlsplit(address)
        key = f"{parts.scheme}://{parts.netloc}"
        return self._reached.get(key, lambda _: self._ask(address))

    def _ask(self, address: str) -> Reach:
        from urllib3.exceptions import HTTPError

        self._require_network(address)
        try:
            response = self.pool(address).request(
                "HEAD",
                without_userinfo(address),
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=timeout(),
            )
            response.release_conn()
        except HTTPError as error:
            trouble, reason = trouble_of(error, self._config)
            return Reach(address=address, trouble=trouble, reason=reason)
        return Reach(address=address, status=response.status)


def _target(url: str, location: str, source: str) -> str:
    """The address that a ``Location`` means."""
    try:
        target = urljoin(url, location)
        if urlsplit(target).scheme in ("http", "https") and urlsplit(target).hostname:
            return target
    except ValueError:
        target = location
    raise _failed(url, source, f"it redirects to {redact(target)!r}, which is no web address", Trouble.ANSWER)


def _failed(url: str, source: str, reason: str, trouble: Trouble) -> SourceUnreachableError:
    host = urlsplit(url).hostname or url
    hint = PROXY_LOGIN if trouble is Trouble.PROXY and "407" in reason else trouble.hint(source)
    return SourceUnreachableError(f"source {source}: {host}: {reason}", hint=hint)


def _backoff(attempt: int) -> float:
    """0.25, 0.5, 1 … 16 seconds, each up to half longer, so that many clients do not come back at the same moment."""
    return 0.25 * 2.0 ** min(attempt - 1, 6) * random.uniform(1.0, 1.5)  # noqa: S311 - not for secrets
