"""Many cells on one machine: what crosses the wire, and what lies on the disk."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.measure import Row, run
from tests.support.stage import HERE, SCENE_HAS_IT, native_matrix
from tests.support.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.ground import Ground

BALLAST = 30_000_000
"""Bytes of a package that every cell has, so that files count and not the few of an empty environment."""
TARGETS = {
    "plain": "accelerator: cpu, packages: [ballast]",
    "numeric": "accelerator: cpu, packages: [ballast, numpy]",
    "vision": "accelerator: cpu, packages: [ballast, torchvision]",
    "cuda": 'accelerator: cu118, torch: "2.7.1", packages: [ballast]',
    "cuda-vision": 'accelerator: cu118, torch: "2.7.1", packages: [ballast, torchvision]',
}


def many_cells(ground: Ground) -> Iterator[Row]:
    """Five cells with much in common, locked and built from nothing."""
    wire, disk = "times an artifact crosses the wire, 5 cells", "disk of 5 cells / their distinct contents"
    if not SCENE_HAS_IT:
        for name in (wire, disk):
            note = f"the fake index has no torch for Python {HERE}"
            yield Row(name=name, measured=None, allowed=1, unit="x", note=note)
        return
    project, store = ground.fresh("share"), ground.fresh("share-store")
    project.mkdir()
    (project / "matrix.yaml").write_text(native_matrix(TARGETS), encoding="utf-8")
    with ground.scene() as (scene, env):
        files = {"ballast/data.bin": os.urandom(BALLAST)}
        ballast = build_wheel(ground.folder / "ballast", "ballast", "1.0", files=files)
        scene.default.add("/simple", ballast, host=scene.files, folder="/packages")
        env |= {"UV_CACHE_DIR": str(ground.fresh("share-cache")), "TORCHMATRIX_CACHE": str(store)}
        cells = [f"py{HERE.replace('.', '')}-stable-{target}" for target in TARGETS]
        run([ground.torchmatrix, "build", "--no-verify", *cells], env=env, cwd=project)
        seen = [one for index in (scene.files, scene.pytorch, scene.default) for one in index.requests]
    # A request with If-None-Match is answered with 304: nothing crosses.
    whole = [one for one in seen if one.method == "GET" and "if-none-match" not in one.headers]
    counts = Counter(one.path for one in whole if one.path.endswith(".whl"))
    often = ", ".join(sorted(path.rpartition("/")[2] for path, count in counts.items() if count > 1))
    note = f"{len(counts)} artifacts" + (f"; more than once: {often}" if often else "")
    yield Row(name=wire, measured=max(counts.values()), allowed=1, unit="x", note=note)
    taken, distinct = disk_use(store / "envs")
    note = f"{taken / 1e6:.1f} MB on disk, {distinct / 1e6:.1f} MB of distinct contents"
    yield Row(name=disk, measured=taken / distinct, allowed=1.2, unit="x", note=note)


def disk_use(folder: Path) -> tuple[int, int]:
    """Bytes below ``folder``, each inode once; and those of distinct contents: the largest and what differs."""
    inodes: dict[tuple[int, int], int] = {}
    contents: dict[bytes, int] = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            inodes[status.st_dev, status.st_ino] = status.st_size
            contents[hashlib.sha256(path.read_bytes()).digest()] = status.st_size
    return sum(inodes.values()), sum(contents.values())
