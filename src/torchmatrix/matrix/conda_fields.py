"""Parsers of conda's own texts in a matrix, without any of conda's code: packages, and addresses of conda channels."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from torchmatrix.matrix.fields import BARE_URL, CARRIES, NAME, index_url
from torchmatrix.matrix.problems import Rejected, shown
from torchmatrix.target import Platform

CHANNEL = rf"{NAME}(?:/label/[A-Za-z0-9_][A-Za-z0-9_.-]*)?"
"""A conda channel as a matrix names it, maybe one of its labels: ``nvidia/label/cuda-11.8.0``."""
_PACKAGE = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_CLAUSE = "(?:[=!<>~]=|[=<>])?[A-Za-z0-9_.*+!-]+"
_VERSION = rf"{_CLAUSE}(?:[,|]{_CLAUSE})*"
"""``2024.*``, ``>=6,<8``, ``==1.26.4``, without blanks: they end the field."""
_BUILD = r"[A-Za-z0-9_.*+^$][A-Za-z0-9_.*+^$-]*"
MATCH_SPEC = rf"\s*{_PACKAGE}(?:\s+{_VERSION}(?:\s+{_BUILD})?)?\s*"
"""A match spec of up to three fields with blanks between; the forms with ``=``, ``[…]`` and ``::`` are left out."""

_TORCH = ("pytorch", "torch")
_VARIANTS = ("cpuonly", "pytorch-cpu", "pytorch-cuda", "pytorch-gpu", "pytorch-mutex")
"""Packages that do nothing but choose torch's build."""
_GLUED = re.compile(rf"({_PACKAGE}?)\s*(==|>=|<=|!=|~=|[=<>])\s*([^\s=]+)(?:=(\S+))?")
_TORN = re.compile(r"[,|<>=~!](?=\s)|\s[,|<>=~!]")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|\.{0,2}[/\\]|[A-Za-z]:\\|\S*\.(?:conda|tar\.bz2)$", re.IGNORECASE)
_TOKEN = re.compile(r"/t/[^/]+")
_FOLDERS = (*Platform, "noarch")


def match_spec(text: str) -> str:
    """A conda package as ``NAME VERSION BUILD`` of which the name is enough, with single blanks between."""
    text = text.strip()
    if _URL.match(text):
        raise Rejected("is a URL or a path, not a package", "name the conda channel under sources, as conda-channel")
    if "::" in text:
        name = text.rpartition("::")[2]
        raise Rejected(
            f"{shown(text)} pins a conda channel",
            f"write {name} and set conda-channels, or let an entry of sources claim it"
            if re.fullmatch(MATCH_SPEC, name, re.ASCII)
            else "set conda-channels, or let an entry of sources claim it",
        )
    if re.fullmatch(MATCH_SPEC, text, re.ASCII) is None:
        raise Rejected(f"{shown(text)} is not a conda package", _instead(text))
    name, *rest = text.split()
    name = name.lower()
    if name in _VARIANTS:
        raise Rejected(f"{name} does not belong among packages", "the accelerator of the target chooses torch's build")
    if name in _TORCH and not (name == "pytorch" and len(rest) == 2 and rest[0] == "*"):
        version = rest[0].removeprefix("==") if rest else "stable"
        raise Rejected(f"{name} does not belong among packages", f'use its own key: torch: "{version}"')
    return " ".join([name, *rest])


def _instead(text: str) -> str:
    """What to write for forms that conda itself takes, or that a blank tore apart."""
    general = "write NAME, NAME VERSION or NAME VERSION BUILD: mkl 2024.*, ffmpeg >=6,<8, libblas * *openblas"
    better = None
    if single := _GLUED.fullmatch(text):
        name, operator, version, build = single.groups()
        if operator != "=":
            better = f"{name} {operator}{version}"
        else:
            # conda's name=1.26 means 1.26.*, and name=1.26=build means exactly 1.26.
            better = f"{name} {version} {build}" if build else f"{name} {version.removesuffix('*').rstrip('.')}.*"
    elif _TORN.search(text):
        name, _, rest = text.partition(" ")
        better = f"{name} {''.join(rest.split())}"
    return f"write {better}" if better and re.fullmatch(MATCH_SPEC, better, re.ASCII) else general


def channel_url(text: str) -> str:
    """The address of a conda channel: no platform's folder of it, and neither credentials nor a token."""
    try:
        path = urlsplit(index_url(text)).path
    except Rejected as verdict:
        if verdict.hint == BARE_URL:  # that names uv's variables
            raise Rejected(
                str(verdict), "write the bare URL; keep user and password in ~/.netrc or a keyring"
            ) from None
        raise
    if _TOKEN.search(path):
        raise Rejected(CARRIES, "write the URL without /t/TOKEN; keep the token in ~/.netrc or the environment")
    last = path.rstrip("/").rpartition("/")[2]
    if last in _FOLDERS:
        raise Rejected(
            f"ends in {last}, a platform's folder of a conda channel",
            f"write {text.rstrip('/').removesuffix(f'/{last}')}",
        )
    return text
