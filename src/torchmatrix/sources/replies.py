"""What a server's answer says: its headers in plain words, its length, how long to wait, where it redirects to."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import urllib3

NUMBER = r"[0-9]{1,18}"
"""What counts as a number in a header: more digits are no size of anything, and costly or refused by `int`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A server's last word. ``url`` is where it came from, without credentials; header names are lower case."""

    url: str
    status: int
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether it is what was asked for."""
        return 200 <= self.status < 300

    @property
    def length(self) -> int | None:
        """``Content-Length`` in bytes; ``None`` where the server says none, or the body was packed for the way."""
        text = self.headers.get("content-length", "")
        packed = self.headers.get("content-encoding", "identity") != "identity"
        return int(text) if re.fullmatch(NUMBER, text) and not packed else None

    @property
    def is_page(self) -> bool:
        """Whether it is a web page: in place of a file that of a login, or of what went wrong."""
        return self.headers.get("content-type", "").startswith("text/html")


def described(url: str, response: urllib3.BaseHTTPResponse) -> Reply:
    """Status and headers alone."""
    return Reply(url=url, status=response.status, headers=_lowered(response))


def whole(url: str, response: urllib3.BaseHTTPResponse) -> Reply:
    """Everything; a urllib3 error when the body breaks off."""
    from urllib3.exceptions import ProtocolError

    body = response.read(decode_content=True)
    response.release_conn()
    reply = Reply(url=url, status=response.status, headers=_lowered(response), body=body)
    if reply.status == 200 and not body and not {"content-length", "transfer-encoding"} & set(reply.headers):
        raise ProtocolError("no body, and no length of one")  # what headers that broke off look like
    return reply


def headers_only(url: str, response: urllib3.BaseHTTPResponse) -> Reply:
    """The answer to a HEAD, whose connection is free again."""
    response.drain_conn()
    response.release_conn()
    return described(url, response)


def drop(response: urllib3.BaseHTTPResponse) -> None:
    """End a response that was not read: closed, its connection takes up no room in its pool any more."""
    response.close()
    response.release_conn()


def basic(user: str, password: str) -> str:
    """The value of a header with credentials (RFC 7617), in UTF-8 as uv sends it."""
    import base64

    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def reason_of(response: urllib3.BaseHTTPResponse) -> str:
    """The status in words, in parentheses after a space; empty where the server gives none."""
    return f" ({response.reason})" if response.reason else ""


def retry_after(text: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header: a number, or a date."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(text)
        # a date without a zone is one that forgot GMT, not local time
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _lowered(response: urllib3.BaseHTTPResponse) -> Mapping[str, str]:
    return MappingProxyType({name.lower(): value for name, value in response.headers.items()})
