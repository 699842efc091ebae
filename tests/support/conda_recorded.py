"""The recorded conda channels, laid out as their servers do. Records only: there are no packages behind them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import zstandard

from tests.support.conda import EMPTY_NOARCH, Absent, write_repodata

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "channels"
SUMMARY = "summary.json"


def recorded_channels(folder: Path, recorded: Path = RECORDED) -> Path:
    """Unpack them below ``folder``, both repodata.json and repodata.json.zst; raises `Absent` where there are none.

    ``conda-forge/linux-64/…``, ``nvidia/label/cuda-11.8.0/linux-64/…``; a noarch that was not recorded is empty.
    """
    if not (recorded / SUMMARY).is_file():
        raise Absent(f"there are no recorded conda channels in {recorded.name}/ beside the checkout")
    channels = set()
    for packed in sorted(recorded.rglob("repodata.json.zst")):
        subdir = folder / packed.relative_to(recorded).parent
        subdir.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(packed, subdir / packed.name)
        with packed.open("rb") as stream, (subdir / "repodata.json").open("wb") as out:
            zstandard.ZstdDecompressor().copy_stream(stream, out)
        channels.add(subdir.parent)
    for channel in channels:
        if not (channel / "noarch" / "repodata.json").exists():
            write_repodata(channel / "noarch", EMPTY_NOARCH)
    return folder


def counted(folder: Path) -> dict[str, int]:
    """How many records each subdir below the folder has, by ``channel/subdir``."""
    found = {}
    for path in sorted(folder.rglob("repodata.json")):
        said = json.loads(path.read_bytes())
        found[path.parent.relative_to(folder).as_posix()] = len(said["packages"]) + len(said["packages.conda"])
    return found
