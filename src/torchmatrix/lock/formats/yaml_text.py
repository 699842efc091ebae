"""Scalars of YAML, written by hand: a check of every cell writes all formats, and PyYAML takes a second for ten."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z_](?:[\w./@%+=!-]|:(?=/))*", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What YAML 1.1 reads as something else than text."""


def scalar(text: str) -> str:
    """A text as YAML 1.1 and 1.2 read it back, plain where it can only be read as text."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if text.isascii() and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(_escaped(letter) for letter in text) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return letter if letter.isascii() and letter.isprintable() else f"\\U{ord(letter):08x}"
