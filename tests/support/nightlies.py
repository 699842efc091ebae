"""Nightlies as the real index has them: 60 days, no hashes, files on a second host, dates that are the storage's.

with nightly_scene(folder, newest=date(2026, 11, 20)) as scene:
    Nightlies(scene).drop("torchvision", date(2026, 11, 20))
"""

from __future__ import annotations

import datetime as dt
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.index import FakeIndex
from tests.support.pytorch import (
    LINUX,
    MACOS,
    ON_LINUX,
    TRITON_TAG,
    Scene,
    place_default,
    torch_wheel,
    torchvision_wheel,
)
from tests.support.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NEWEST = dt.date(2026, 11, 20)
COUNT = 60
STORED = "2026-11-21T03:04:05Z"
"""When the storage last touched every file: no day of any nightly."""
NUMBERS = {"torch": "2.16.0", "torchvision": "0.31.0", "torchaudio": "2.13.0", "pytorch-triton": "3.8.0"}


@dataclass(frozen=True, kw_only=True)
class Nightlies:
    """The nightlies of one accelerator on a scene, for Linux x86_64 and CPython unless another tag is given."""

    scene: Scene
    accelerator: str = "cpu"
    pythons: tuple[str, ...] = ("312",)
    variant: str = "plain"
    """Part of the folder of the wheels: the same names with other bytes need another one."""
    options: dict[str, object] = field(default_factory=dict)
    """Of `FakeIndex.add`."""

    @property
    def prefix(self) -> str:
        """Where the pages are."""
        return f"/whl/nightly/{self.accelerator}"

    @property
    def triton(self) -> str | None:
        """The triton that torch needs."""
        return f"{NUMBERS['pytorch-triton']}+git0123abcd" if self.accelerator.startswith("cu") else None

    def version(self, name: str, day: dt.date, number: str | None = None, *, macos: bool = False) -> str:
        """As the wheel has it; wheels for macOS have no local version."""
        local = "" if macos else f"+{self.accelerator}"
        return f"{number or NUMBERS[name]}.dev{day:%Y%m%d}{local}"

    def wheel(
        self,
        name: str,
        day: dt.date,
        *,
        python: str | None = None,
        number: str | None = None,
        torch: str | None = None,
        triton: str | None = None,
        platform: str = LINUX,
        note: str = "",
    ) -> Path:
        """One wheel. ``torch``: what torchvision needs (default: that day's), ``triton``: what torch needs."""
        python = python or self.pythons[0]
        macos = platform == MACOS
        version = self.version(name, day, number, macos=macos)
        tag = f"cp{python}-{'none' if macos and name == 'torch' else f'cp{python}'}-{platform}"
        parts = [self.variant, note, number, torch, triton]
        folder = self.scene.wheels / "-".join(["window", self.accelerator, *filter(None, parts)])
        path = folder / f"{name}-{version}-{tag}.whl"
        if path.exists():
            return path
        if name == "torch":
            needed = triton or self.triton
            requires = [f"pytorch-triton=={needed}; {ON_LINUX}"] if needed else []
            return torch_wheel(folder, version, tag, requires=requires, note=note)
        if name == "torchvision":
            torch = torch or self.version("torch", day).partition("+")[0]
            return torchvision_wheel(folder, version, tag, torch, note=note)
        return build_wheel(folder, name, version, tag=tag)

    def add(self, name: str, day: dt.date, **options: str | None) -> Path:
        """Build and list a wheel; see `wheel`."""
        wheel = self.wheel(name, day, **options)  # type: ignore[arg-type]
        self.place(wheel)
        return wheel

    def place(self, wheel: Path, *, yanked: str | None = None) -> None:
        """List a wheel as the real index does: no hash, the file on another host."""
        settings = {"hashes": False, "upload_time": STORED, "host": self.scene.files, **self.options}
        self.scene.pytorch.add(self.prefix, wheel, folder=self.prefix, yanked=yanked, **settings)  # type: ignore[arg-type]

    def add_triton(self, version: str | None = None) -> None:
        """List torch's triton: beside the accelerators, on the page of each."""
        for python in self.pythons:
            folder, tag = self.scene.wheels / "window-triton", f"cp{python}-cp{python}-{TRITON_TAG}"
            wheel = build_wheel(folder, "pytorch-triton", version or str(self.triton), tag=tag)
            settings = {"hashes": False, "upload_time": STORED, "host": self.scene.files, **self.options}
            self.scene.pytorch.add(self.prefix, wheel, folder="/whl/nightly", **settings)  # type: ignore[arg-type]

    def fill(self, days: Iterable[dt.date], names: Iterable[str] = ("torch", "torchvision")) -> None:
        """Every package of every day for every Python."""
        names = tuple(names)
        for day in days:
            for name in names:
                for python in self.pythons:
                    self.add(name, day, python=python)

    def drop(self, name: str, day: dt.date, *, python: str | None = None, number: str | None = None) -> None:
        """Take a wheel away."""
        for one in [python] if python else self.pythons:
            version = self.version(name, day, number)
            self.scene.pytorch.remove(self.prefix, f"{name}-{version}-cp{one}-cp{one}-{LINUX}.whl")

    def yank(self, name: str, day: dt.date, reason: str = "broken") -> None:
        """Mark a wheel as yanked."""
        for python in self.pythons:
            self.place(self.wheel(name, day, python=python), yanked=reason)


def last_days(newest: dt.date = NEWEST, count: int = COUNT) -> list[dt.date]:
    """``count`` days up to ``newest``, that one first."""
    return [newest - dt.timedelta(days=back) for back in range(count)]


@contextmanager
def nightly_scene(wheels: Path) -> Iterator[Scene]:
    """The three servers, with the default index filled and nothing on the PyTorch index; S3 has no 404."""
    with (
        FakeIndex(missing=403) as files,
        FakeIndex(missing=403) as pytorch,
        FakeIndex(json=True, links="absolute") as default,
    ):
        scene = Scene(pytorch=pytorch, default=default, files=files, wheels=wheels)
        place_default(scene)
        yield scene
