"""The tar format of bundles (POSIX.1-2001 pax), written by hand: a header is a function of path and size alone.

Python's own ``tarfile`` has changed details of its headers between releases, and reads forms that no bundle has: links,
devices, sparse files, GNU's long names. Here a reader works out the only header that there may be and compares.
"""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)
"""Two zero blocks end an archive."""
_OCTAL_LIMIT = 8**11
"""Bytes from which on the size does not fit into a plain header's eleven octal digits."""
_NAME_LIMIT = 100
_REGULAR, _EXTENDED = b"0", b"x"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a folder",
    b"6": "a named pipe",
    b"x": "an extended header",
    b"g": "a global header",
    b"L": "a GNU long name",
    b"K": "a GNU long link",
    b"S": "a sparse file",
}


def header(path: str, size: int) -> bytes:
    """The header of a regular file: mode 0644, no owner, time 0. ``path`` is ASCII with at least one ``/``.

    What a plain header cannot hold (a file name over 100 characters, 8 GiB) stands in an extended one before it.
    """
    folder, _, name = path.rpartition("/")
    records = {}
    if len(name) > _NAME_LIMIT:
        records["path"] = path
    if size >= _OCTAL_LIMIT:
        records["size"] = str(size)
    plain = _block(folder, name[:_NAME_LIMIT], size if size < _OCTAL_LIMIT else 0, _REGULAR)
    if not records:
        return plain
    body = b"".join(_record(key, value) for key, value in records.items())
    return _block("", "pax", len(body), _EXTENDED) + body + padding(len(body)) + plain


def padding(size: int) -> bytes:
    """The zero bytes after ``size`` bytes of a file."""
    return bytes(-size % BLOCK)


def room(path: str, size: int) -> int:
    """Bytes that a file takes in an archive."""
    return len(header(path, size)) + size + -size % BLOCK


def first_member(block: bytes) -> tuple[str, int] | None:
    """Path and size in a plain header, before it is known what they have to be; ``None`` when it is no such header."""
    try:
        name, folder = _text(block[:100]), _text(block[345:500])
        size = int(block[124:135], 8)
    except ValueError:
        return None
    path = f"{folder}/{name}"
    return (path, size) if folder and size >= 0 and header(path, size) == block else None


def what_is(block: bytes) -> tuple[str, str] | None:
    """Path and kind of whatever a foreign header describes, for a message; ``None`` when it is no tar header at all."""
    if len(block) < BLOCK or block[257:262] != b"ustar":
        return None
    fields = block[345:500], block[:100]
    path = "/".join(part for field in fields if (part := field.partition(b"\0")[0].decode("ascii", "replace")))
    return path, _KINDS.get(block[156:157], "a file")


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("ascii")


def _record(key: str, value: str) -> bytes:
    """``27 path=…\\n``: the length counts its own digits."""
    rest = len(f" {key}={value}\n")
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return f"{length} {key}={value}\n".encode("ascii")


def _block(folder: str, name: str, size: int, kind: bytes) -> bytes:
    fields = [
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\0",
        b"0000000\0",
        b"0000000\0",
        f"{size:011o}\0".encode("ascii"),
        b"00000000000\0",
        b" " * 8,  # the checksum counts itself as blanks
        kind,
        bytes(100),
        b"ustar\x0000",
        bytes(32 + 32),
        b"0000000\x000000000\0",
        folder.encode("ascii").ljust(155, b"\0"),
        bytes(12),
    ]
    block = b"".join(fields)
    if len(block) != BLOCK:
        raise ValueError(f"{folder}/{name} does not fit into a tar header")
    return block[:148] + f"{sum(block):06o}\0 ".encode("ascii") + block[156:]
