"""Attacks on where packages come from: hostile copies on every index but the right one, and what was taken of them.

Each `Attack` is run twice: as torchmatrix is, and with the explicit sources taken out of what uv is given
(`without_sources`). The second run must do harm or be caught by a later check, else the attack proves nothing.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tests.cli.project import stage
from tests.support.index import FakeIndex
from tests.support.pytorch import (
    HOSTILE,
    HOSTILE_VERSION,
    LINUX,
    TORCH_CU118,
    TORCHVISION_CU118,
    TRITON,
    TRITON_TAG,
    Scene,
    pytorch_scene,
)
from tests.support.wheels import build_wheel, sha256

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.stage import Stage

CELL = "py311-stable-cu118"
CU118 = """\
version: 1
axes: {python: ["3.11"], channel: [stable], target: [cu118]}
channels: {stable: {torch: "2.7.1"}}
targets: {cu118: {platform: linux-64, accelerator: cu118}}
"""
BESIDE = ("triton", "torchtriton", "pytorch-triton")
COMPANIONS = ("torchvision", "torchaudio", *BESIDE)
STALE_ONES = ("markupsafe", "numpy", "certifi", "requests")
CORP = "sources: {corp: {index: INDEX, packages: [corp-*]}}\n"

_PROGRAM = """
import sys
kind, _, victims = sys.argv.pop(1).partition(" ")
import torchmatrix.backends.uv as uv
project_file, config_file = uv.project_file, uv.config_file


def without(text):
    before, _, names = text.partition("[tool.uv.sources]")
    kept = [line for line in names.splitlines() if victims and line.split(" = ")[0].strip('"') not in victims.split()]
    if kind == "all":
        before = before.replace("explicit = true\\n", "")
    return "\\n".join([before, "[tool.uv.sources]" if names else "", *kept])

uv.project_file = lambda *given: without(project_file(*given))
uv.config_file = lambda *given: without(config_file(*given))
from torchmatrix.cli import main
main()
"""

Mutation = Literal["names", "all"]
"""``names``: packages have no source of their own any more; ``all``: nor is any index explicit, as with pip."""


class Alias(FakeIndex):
    """The same server under another host name; ``localhost`` and ``0.0.0.0`` lead to 127.0.0.1 too."""

    host: str = "localhost"

    @property
    def url(self) -> str:
        """``http://HOST:PORT``."""
        return f"http://{self.host}:{self.port}"


def renamed(address: str, host: str = "localhost") -> str:
    """An address of a fake index under another host name that leads there."""
    return address.replace("127.0.0.1", host)


@dataclass(frozen=True, kw_only=True)
class Arena:
    """The standard scene, an index of a company, and attackers on all of them."""

    scene: Scene
    corp: FakeIndex
    bad: dict[str, str] = field(default_factory=dict)
    """sha256 of what must never be taken, with what it is."""

    def wheel(self, name: str, version: str, *, requires: tuple[str, ...] = (), tag: str = "py3-none-any") -> Path:
        """A wheel of nobody's in particular."""
        return build_wheel(self.scene.wheels / "arena", name, version, tag=tag, requires=requires)

    def evil(self, name: str, version: str, *, tag: str = "py3-none-any") -> Path:
        """An attacker's wheel."""
        files = {f"{name.replace('-', '_')}/__init__.py": "OWNED = True\n"}
        wheel = build_wheel(self.scene.wheels / "evil", name, version, tag=tag, files=files)
        self.bad[sha256(wheel)] = f"{name} {version}"
        return wheel

    def default(self, wheel: Path) -> None:
        """List a wheel on the default index."""
        self.scene.default.add("/simple", wheel, host=self.scene.files, folder="/packages")

    def taken(self, at: Stage) -> list[str]:
        """What of the attackers' is in the lockfiles that were published."""
        found = []
        for path in sorted(at.envs.glob("*/cell.json")):
            artifacts = json.loads(path.read_text(encoding="utf-8"))["artifacts"]
            found += [self.bad[one["sha256"]] for one in artifacts if one["sha256"] in self.bad]
        return found


@contextmanager
def arena(wheels: Path) -> Iterator[Arena]:
    """Start everything: hostile copies of the family on the default index, stale copies on the PyTorch index."""
    with pytorch_scene(wheels) as scene, FakeIndex() as corp:
        made = Arena(scene=scene, corp=corp)
        for folder in ("hostile", "stale"):
            for wheel in (wheels / folder).glob("*.whl"):
                made.bad[sha256(wheel)] = " ".join(wheel.name.split("-")[:2])
        tag, beside = f"cp311-cp311-{LINUX}", f"cp311-cp311-{TRITON_TAG}"
        torch = (f"torch=={TORCH_CU118}",)
        honest = made.wheel("torchaudio", f"{TORCH_CU118}+cu118", requires=torch, tag=tag)
        scene.pytorch.add("/whl/cu118", honest)
        for wheel in (wheels / "cu118").glob("torchvision-*.whl"):
            scene.pytorch.add("/whl/cu118", wheel)  # with its hash: else uv would not see the index's own pages at all
        for name in ("torchtriton", "pytorch-triton"):
            scene.pytorch.add("/whl/cu118", made.wheel(name, TRITON, tag=beside), folder="/whl")
        # the same release with a local version that sorts higher, and the same version with other bytes
        made.default(made.evil("torch", f"{TORCH_CU118}+zz9", tag=tag))
        made.default(made.evil("torchvision", TORCHVISION_CU118, tag=tag))
        made.default(made.evil("torchaudio", TORCH_CU118, tag=tag))
        for name in BESIDE:
            made.default(made.evil(name, TRITON, tag=beside))
        made.default(made.wheel("carrier", "1.0", requires=HOSTILE))
        made.default(made.wheel("deep", "1.0", requires=("carrier",)))
        made.default(made.wheel("gadget", "1.0", requires=tuple(f'{name}; extra == "gpu"' for name in HOSTILE)))
        for name in HOSTILE:
            made.default(made.wheel(f"wants-{name}", "1.0", requires=(f"{name}>=50",)))
        yield made


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One way to get a wrong copy in. ``code``: how torchmatrix has to end; not at 0 where only wrong ones are left.

    ``victims``: whom it is about; with the sources of these alone taken away no other check can catch it.
    """

    name: str
    matrix: str
    mutation: Mutation = "names"
    victims: tuple[str, ...] = ()
    code: int = 0
    files: dict[str, str] = field(default_factory=dict)
    arrange: Callable[[Arena], None] = lambda arena: None

    def stage(self, folder: Path, ground: Arena) -> Stage:
        """The project that is attacked."""
        self.arrange(ground)
        at = stage(folder, ground.scene, self.matrix.replace("INDEX", f"{ground.corp.url}/simple"))
        for name, text in self.files.items():
            (at.project / name).write_text(text, encoding="utf-8")
        return at


def without_sources(at: Stage, mutation: Mutation, victims: tuple[str, ...] = ()) -> Stage:
    """torchmatrix with the explicit sources, or those of the victims alone, taken out of what it hands to uv."""
    return replace(at, program=(sys.executable, "-c", _PROGRAM, " ".join((mutation, *victims))))


def verdict(outcome: subprocess.CompletedProcess[str], ground: Arena, at: Stage) -> str:
    """What came of an attack, in a few words: ``safe``, ``caught``, or what was taken."""
    if taken := ground.taken(at):
        return f"TAKEN: {', '.join(taken)}"
    if outcome.returncode == 5:
        return "caught by a later check (exit 5)"
    return "safe" if outcome.returncode == 0 else f"safe, refused (exit {outcome.returncode})"


def _packages(*texts: str) -> str:
    return f"packages: {json.dumps(list(texts))}\n"


def _default_lacks(name: str) -> Callable[[Arena], None]:
    def arrange(ground: Arena) -> None:
        pages = ground.scene.default._pages
        for page in [page for page in pages if page.endswith(f"/{name}/")]:
            del pages[page]

    return arrange


def _higher_on_pytorch(ground: Arena) -> None:
    for name in STALE_ONES:
        for prefix in ("/whl", "/whl/cu118"):
            ground.scene.pytorch.add(prefix, ground.evil(name, HOSTILE_VERSION), folder="/whl")


def _corp(ground: Arena) -> None:
    ground.corp.add("/simple", ground.wheel("corp-lib", "1.0"))
    ground.default(ground.evil("corp-lib", HOSTILE_VERSION))
    ground.default(ground.wheel("uses-corp", "1.0", requires=("corp-lib",)))


def _corp_lacks(ground: Arena) -> None:
    ground.corp.add("/simple", ground.wheel("corp-other", "1.0"))
    ground.default(ground.evil("corp-lib", HOSTILE_VERSION))


def _corp_is_hostile(ground: Arena) -> None:
    _corp(ground)
    for name in ("iniconfig", "numpy"):
        ground.corp.add("/simple", ground.evil(name, HOSTILE_VERSION))


def _corp_has_torch(ground: Arena) -> None:
    _corp(ground)
    ground.corp.add("/simple", ground.evil("torch", f"{TORCH_CU118}+zz9", tag=f"cp311-cp311-{LINUX}"))
    ground.corp.add("/simple", ground.evil("torchvision", TORCHVISION_CU118, tag=f"cp311-cp311-{LINUX}"))


_LIMITED = CU118 + _packages("carrier") + "constraints: [limits.txt]\n"
ATTACKS = (
    *(Attack(name=f"{n}, asked for directly", matrix=CU118 + _packages(n), victims=(n,)) for n in COMPANIONS),
    Attack(name="torch itself", matrix=CU118, victims=("torch",)),
    Attack(name="the family below a package", matrix=CU118 + _packages("carrier"), victims=COMPANIONS),
    Attack(name="the family two below a package", matrix=CU118 + _packages("deep"), victims=COMPANIONS),
    Attack(name="the family in an extra", matrix=CU118 + _packages("gadget[gpu]"), victims=COMPANIONS),
    Attack(
        name="the family in a requirements file",
        matrix=CU118 + "requirements: [wanted.txt]\n",
        files={"wanted.txt": "-r more.txt\n", "more.txt": "carrier\ntorchvision\n"},
        victims=COMPANIONS,
    ),
    Attack(
        name="the family loosened in a constraints file",
        matrix=_LIMITED,
        files={"limits.txt": "".join(f"{name}>=0\n" for name in HOSTILE)},
        victims=COMPANIONS,
    ),
    *(
        Attack(
            name=f"{name}, pushed up in a constraints file",
            matrix=_LIMITED,
            files={"limits.txt": f"{name}>=50\n"},
            victims=(name,),
            code=1,
        )
        for name in ("torchvision", "torchtriton")
    ),
    *(
        Attack(name=f"{n}, pushed up by a package", matrix=CU118 + _packages(f"wants-{n}"), victims=(n,), code=1)
        for n in ("torchaudio", "pytorch-triton")
    ),
    Attack(name="stale copies, asked for directly", matrix=CU118 + _packages(*STALE_ONES), mutation="all"),
    Attack(name="stale copies below packages", matrix=CU118 + _packages("jinja2", "torchvision"), mutation="all"),
    Attack(
        name="higher copies on the PyTorch index",
        matrix=CU118 + _packages(*STALE_ONES),
        mutation="all",
        arrange=_higher_on_pytorch,
    ),
    *(
        Attack(
            name=f"a stale {name} that the default index lacks",
            matrix=CU118 + _packages(name),
            mutation="all",
            arrange=_default_lacks(name),
            code=1,
        )
        for name in STALE_ONES
    ),
    Attack(name="a private package", matrix=CU118 + CORP + _packages("corp-lib"), arrange=_corp, victims=("corp-lib",)),
    Attack(
        name="a private package below a public one",
        matrix=CU118 + CORP + _packages("uses-corp"),
        arrange=_corp,
        victims=("corp-lib",),
    ),
    Attack(
        name="a private package that its source lacks",
        matrix=CU118 + CORP + _packages("corp-lib"),
        arrange=_corp_lacks,
        victims=("corp-lib",),
        code=1,
    ),
    Attack(
        name="public packages on a private source",
        matrix=CU118 + CORP + _packages("corp-lib", "iniconfig", "numpy"),
        mutation="all",
        arrange=_corp_is_hostile,
    ),
    Attack(
        name="the family on a private source",
        matrix=CU118 + CORP + _packages("corp-lib", "torchvision"),
        mutation="all",
        arrange=_corp_has_torch,
    ),
)
"""Every attack on what uv resolves."""
