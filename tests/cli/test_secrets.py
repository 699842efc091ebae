"""Credentials reach the servers that want them, and nothing else: no output, no file, no command line, no stranger."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import pytest

from tests.cli.project import CELL, SMALL, closed_port, must, stage
from tests.support.backends import CONDA, CONDA_CELL
from tests.support.conda import Channel
from tests.support.conda_scene import modules
from tests.support.index import FakeIndex
from tests.support.stage import SCENE_HAS_IT, native_matrix, write_project

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.conda_scene import CondaScene
    from tests.support.pytorch import Scene
    from tests.support.stage import Stage

USER, PASSWORD = "robot", "Zq7/hunt@er2:%x"
WRONG = "Wr0ng/one@er2:%x"
built = pytest.mark.skipif(not SCENE_HAS_IT, reason="the fake torch has no wheel for the running Python")
WAYS = {
    "pip": ("mirrors", "default index", "pip.conf", "variables", "netrc", "keyring"),
    "conda": ("mirrors", "variables", "netrc", "keyring", "token"),
}
TOKEN = "tk-Zq7hunter2xy"
"""In the address, as conda channels have it: /t/TOKEN/."""
NOT_WRONG = ("token",)
"""A wrong token is an address at which nothing is."""

_WATCHED = """
import sys
from torchmatrix import command
log = sys.argv.pop(1)
def note(started):
    with open(log, "a", encoding="utf-8") as file:
        file.write("\\n".join(started.argv) + "\\n")
command.on_start(note)
from torchmatrix.cli import main
main()
"""
_CRASHES = """
import sys
import torchmatrix.matrix.load as load
address = sys.argv.pop(1)
def crash(path, text=None):
    try:
        raise ValueError("Failed to parse: " + address)
    except ValueError as error:
        raise RuntimeError("what nobody expected about " + address) from error
load.load_matrix = crash
from torchmatrix.cli import main
main()
"""


def each_way(*, only: tuple[str, ...] = (), leave: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Every way of both backends, as far as it is named in ``only``."""
    pairs = [(backend, way) for backend, ways in WAYS.items() for way in ways]
    return pytest.mark.parametrize(
        ("backend", "way"), [pair for pair in pairs if pair[1] in (only or pair) and pair[1] not in leave]
    )


def forms(password: str) -> list[bytes]:
    """How a password may be written down."""
    basic = base64.b64encode(f"{USER}:{password}".encode()).rstrip(b"=")
    alone = base64.b64encode(password.encode()).rstrip(b"=")
    return [password.encode(), quote(password, safe="").encode(), quote(password).encode(), basic, alone]


def with_login(url: str, password: str = PASSWORD) -> str:
    return url.replace("://", f"://{USER}:{quote(password, safe='')}@")


class Guarded:
    """A project whose servers want credentials, said in one of the ways; what says it is kept apart."""

    cell, matrix = CELL, SMALL

    def __init__(self, folder: Path, scene: Scene, way: str, *, password: str = PASSWORD, matrix: str = "") -> None:
        self.scene = scene
        self.servers: tuple[FakeIndex, ...] = (scene.pytorch, scene.default)
        env = {"TORCHMATRIX_MIRRORS": f"pytorch={scene.pytorch_url}", "TORCHMATRIX_DEFAULT_INDEX": scene.default_url}
        self._prepare(folder, way, password, matrix, env)

    def _prepare(self, folder: Path, way: str, password: str, matrix: str, env: dict[str, str]) -> None:
        self.folder, self.password = folder / "all", password
        self.own = folder / "own"
        self.own.mkdir()
        self.folder.mkdir()
        for server in self.servers:
            server.auth = (USER, PASSWORD)
        env |= {"UV_HTTP_RETRIES": "0", "NETRC": str(self.own / "netrc"), "PIP_CONFIG_FILE": str(self.own / "pip.conf")}
        getattr(self, "_by_" + way.replace(" ", "_").replace(".", "_"))(env)
        self.at = stage(self.folder, None, matrix or self.matrix, **env)
        if way == "keyring":
            path = f"{self.own}:{self.at.env['PATH']}"
            self.at = replace(self.at, env={**self.at.env, "PATH": path})
        self.said: list[str] = []

    def _by_mirrors(self, env: dict[str, str]) -> None:
        pypi, pytorch = (with_login(url, self.password) for url in (self.scene.default_url, self.scene.pytorch_url))
        env["TORCHMATRIX_MIRRORS"] = f"pytorch={pytorch} pypi={pypi}"

    def _by_default_index(self, env: dict[str, str]) -> None:
        env["TORCHMATRIX_DEFAULT_INDEX"] = with_login(self.scene.default_url, self.password)
        env["TORCHMATRIX_MIRRORS"] = f"pytorch={with_login(self.scene.pytorch_url, self.password)}"

    def _by_pip_conf(self, env: dict[str, str]) -> None:
        del env["TORCHMATRIX_DEFAULT_INDEX"]
        env["TORCHMATRIX_MIRRORS"] = f"pytorch={with_login(self.scene.pytorch_url, self.password)}"
        text = f"[global]\nindex-url = {with_login(self.scene.default_url, self.password)}\n"
        (self.own / "pip.conf").write_text(text, encoding="utf-8")

    names: tuple[str, ...] = ("PYPI", "PYTORCH")

    def _by_variables(self, env: dict[str, str]) -> None:
        for name in self.names:
            env |= {f"UV_INDEX_{name}_USERNAME": USER, f"UV_INDEX_{name}_PASSWORD": self.password}

    def _by_netrc(self, env: dict[str, str]) -> None:
        line = f"machine 127.0.0.1 login {USER} password {self.password}\n"
        (self.own / "netrc").write_text(line, encoding="utf-8")
        assert env["NETRC"]

    def _by_keyring(self, env: dict[str, str]) -> None:
        user = f"://{USER}@"
        for name in ("TORCHMATRIX_DEFAULT_INDEX", "TORCHMATRIX_MIRRORS"):
            if name in env:
                env[name] = env[name].replace("://", user)
        env["UV_KEYRING_PROVIDER"] = "subprocess"
        program = self.own / "keyring"
        program.write_text(f"#!/bin/sh\n[ \"$3\" = {USER} ] && printf '%s\\n' '{self.password}'\n", encoding="utf-8")
        program.chmod(0o755)

    def run(self, *arguments: str, at: Stage | None = None) -> subprocess.CompletedProcess[str]:
        """Run torchmatrix and keep everything it says."""
        outcome = (at or self.at).run(*arguments)
        self.said += [outcome.stdout, outcome.stderr]
        return outcome

    def leaks(self) -> list[str]:
        """Where a form of the password is: in what was said, in a file, or in a file's name."""
        secrets = [form for password in {self.password, PASSWORD} for form in forms(password)]
        found = [f"said: {text}" for text in self.said if any(secret in text.encode() for secret in secrets)]
        for path in sorted(self.folder.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            content = str(path).encode() + path.read_bytes()
            found += [str(path) for secret in secrets if secret in content]
        return found

    def received(self) -> set[str | None]:
        """The logins that the servers were shown."""
        return {login for index in self.servers for login in logins(index)}


class GuardedChannels(Guarded):
    """The same with the conda channels of a scene; the real ones are behind a proxy that there is not."""

    cell, matrix = CONDA_CELL, CONDA
    names = ("CONDA_FORGE", "PYTORCH_CONDA", "NVIDIA")

    def __init__(
        self, folder: Path, conda: CondaScene, way: str, *, password: str = PASSWORD, matrix: str = ""
    ) -> None:
        self.conda, self.servers = conda, (conda.server,)
        dead = f"http://127.0.0.1:{closed_port()}"
        env = {**conda.env, "HTTPS_PROXY": dead, "https_proxy": dead}
        self._prepare(folder, way, TOKEN if way == "token" else password, matrix, env)

    def _by_mirrors(self, env: dict[str, str]) -> None:
        env["TORCHMATRIX_MIRRORS"] = with_login(env["TORCHMATRIX_MIRRORS"], self.password)

    def _by_token(self, env: dict[str, str]) -> None:
        server = self.conda.server
        server.auth = None
        for path in list(server._bodies):
            server.put(f"/t/{TOKEN}{path}", server._bodies[path].content)
            server.drop(path)
        env["TORCHMATRIX_MIRRORS"] = env["TORCHMATRIX_MIRRORS"].replace(server.url, f"{server.url}/t/{TOKEN}")


@pytest.fixture
def guard(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Guarded]:
    """Makes the guarded project of a backend: ``guard(backend, way, password=…, matrix=…)``."""

    def made(backend: str, way: str, **more: str) -> Guarded:
        if backend == "conda":
            return GuardedChannels(tmp_path, request.getfixturevalue("conda_scene"), way, **more)
        return Guarded(tmp_path, request.getfixturevalue("scene"), way, **more)

    return made


def logins(index: FakeIndex) -> set[str | None]:
    """``user:password`` of every request, ``None`` for those without."""
    headers = {request.headers.get("authorization") for request in index.requests}
    return {base64.b64decode(text.removeprefix("Basic ")).decode() if text else None for text in headers}


def shown(way: str) -> str | None:
    """The login that a server sees."""
    return None if way == "token" else f"{USER}:{PASSWORD}"


@each_way()
def test_lock_and_doctor_keep_credentials_to_themselves(guard: Callable[..., Guarded], backend: str, way: str) -> None:
    guarded = guard(backend, way)
    must(guarded.run("-v", "lock"))
    first = guarded.at.published()
    answer = json.loads(must(guarded.run("--json", "lock", "--upgrade")).stdout)
    must(guarded.run("lock", "--check"))
    must(guarded.run("-v", "lock", "--check", "--online"))
    must(guarded.run("--json", "lock", "--check", "--online"))
    must(guarded.run("doctor"))
    must(guarded.run("--json", "doctor"))
    must(guarded.run("list", "--all"))
    for name in ("requirements.txt",) if backend == "pip" else ("explicit", "environment.yml", "conda-lock.yml"):
        must(guarded.run("export", guarded.cell, "--format", name))
    assert answer["cells"][0]["id"] == guarded.cell
    assert guarded.at.published() == first
    assert first, "something was published"
    assert shown(way) in guarded.received(), "all servers want it, so it was sent"
    assert guarded.leaks() == []


@built
@each_way()
def test_build_keeps_credentials_to_itself(guard: Callable[..., Guarded], backend: str, way: str) -> None:
    matrix = native_matrix({"cpuonly": "accelerator: cpu"}, project=True) + f"backend: {backend}\n"
    guarded = guard(backend, way, matrix=matrix)
    write_project(guarded.at.project, matrix)
    if backend == "conda":  # its scene has no requests
        described = guarded.at.project / "pyproject.toml"
        described.write_text(described.read_text().replace("requests", "pyyaml"), encoding="utf-8")
    log = guarded.own / "commands"
    watched = replace(guarded.at, program=(sys.executable, "-c", _WATCHED, str(log)))
    must(guarded.run("-v", "build", "--no-verify", at=watched))
    must(guarded.run("--json", "build", "--no-verify", "--frozen", at=watched))
    must(guarded.run("cache", "gc", "--days", "0"))
    must(guarded.run("--json", "build", "--no-verify", at=watched))
    guarded.run("build")  # what verification says about a fake torch is no matter here
    guarded.run("report")
    assert guarded.leaks() == []
    arguments = log.read_text(encoding="utf-8")
    assert ("sync" if backend == "pip" else "install") in arguments.split()
    assert [secret for secret in forms(guarded.password) if secret.decode() in arguments] == [], "others see them"


@pytest.mark.parametrize("way", ["mirrors", "default index", "pip.conf", "variables"])
def test_another_server_is_shown_nothing(tmp_path: Path, scene: Scene, way: str) -> None:
    guarded = Guarded(tmp_path, scene, way)
    must(guarded.run("lock"))
    assert scene.files.requests, "the pages link to files on another port"
    assert logins(scene.files) == {None}


@each_way(leave=NOT_WRONG)
def test_a_wrong_password_is_refused_without_being_repeated(
    guard: Callable[..., Guarded], backend: str, way: str
) -> None:
    guarded = guard(backend, way, password=WRONG)
    outcome = guarded.run("-v", "lock")
    assert outcome.returncode != 0
    assert "401" in outcome.stderr
    guarded.run("--json", "lock")
    guarded.run("--json", "build")
    guarded.run("doctor")
    assert f"{USER}:{WRONG}" in guarded.received()
    assert not guarded.at.published()
    assert guarded.leaks() == []


@each_way(only=("mirrors", "netrc", "variables", "token"))
@pytest.mark.parametrize("fault", ["404", "500", "reset", "moved"])
def test_a_failing_server_makes_nobody_talk(guard: Callable[..., Guarded], backend: str, way: str, fault: str) -> None:
    guarded = guard(backend, way)
    for index in guarded.servers:
        if fault == "reset":
            index.fail("*", reset=True)
        elif fault == "moved":
            index.fail("*", redirect=with_login(f"{index.url}/nothing/here/"))
        else:
            index.fail("*", status=int(fault))
    assert guarded.run("-v", "lock").returncode != 0
    assert guarded.run("--json", "lock").returncode != 0
    guarded.run("--json", "build")
    guarded.run("doctor")
    assert not guarded.at.published()
    assert guarded.leaks() == []


@each_way(only=("mirrors", "token"))
@pytest.mark.parametrize("fault", ["500", "truncated", "login page"])
def test_packages_that_fail_make_nobody_talk(guard: Callable[..., Guarded], backend: str, way: str, fault: str) -> None:
    """Locked, and then the packages cannot be had."""
    guarded = guard(backend, way)
    must(guarded.run("lock"))
    for index in (*guarded.servers, *((guarded.scene.files,) if backend == "pip" else ())):
        for path in [path for path in index._bodies if path.endswith((".whl", ".conda"))]:
            if fault == "login page":
                index.put(path, b"<!DOCTYPE html><title>Log in</title>", "text/html")
            elif fault == "truncated":
                index.fail(path, truncate=True)
            else:
                index.fail(path, status=500)
    assert guarded.run("-v", "build", "--no-verify").returncode in (4, 5)
    assert guarded.run("--json", "build", "--no-verify").returncode in (4, 5)
    assert guarded.leaks() == []


def test_a_private_source_in_the_matrix_has_its_credentials_elsewhere(tmp_path: Path, scene: Scene) -> None:
    source = f'sources: {{corp: {{index: "{scene.default_url}", packages: [filelock]}}}}\n'
    guarded = Guarded(tmp_path, scene, "variables", matrix=SMALL + source)
    login = {"UV_INDEX_CORP_USERNAME": USER, "UV_INDEX_CORP_PASSWORD": PASSWORD}
    must(guarded.run("-v", "lock", at=replace(guarded.at, env={**guarded.at.env, **login})))
    record = guarded.at.published()[f"{CELL}/cell.json"].decode()
    assert json.loads(record)["inputs"]["sources"]["corp"]["index"] == scene.default_url
    (guarded.at.project / "matrix.yaml").write_text(SMALL + with_login(source), encoding="utf-8")
    try:
        outcome = must(guarded.run("lock"), 2)
        must(guarded.run("--json", "lock"), 2)
        must(guarded.run("doctor"))
    finally:
        (guarded.at.project / "matrix.yaml").unlink()
    assert "matrix.yaml:6:25: sources.corp.index: carries credentials, and this file is committed" in outcome.stderr
    assert "UV_INDEX_<NAME>_PASSWORD" in outcome.stderr
    assert guarded.leaks() == []


def test_a_private_conda_channel_has_its_credentials_elsewhere(tmp_path: Path, conda_scene: CondaScene) -> None:
    channel = Channel(folder=tmp_path / "channel")
    channel.add("corp-lib", "1.0", noarch="python", files=modules("site-packages", "corp-lib", "1.0"))
    channel.index()
    with FakeIndex(auth=(USER, PASSWORD)) as corp:
        address = channel.serve(corp, "/corp")
        source = f'sources: {{corp: {{conda-channel: "{address}", packages: ["corp-*"]}}}}\n'
        matrix = CONDA.replace("[numpy]", "[corp-lib]") + source
        guarded = GuardedChannels(tmp_path, conda_scene, "variables", matrix=matrix)
        assert "127.0.0.1: linux-64/repodata.json.zst answered 401" in must(guarded.run("lock"), 4).stderr
        login = {"UV_INDEX_CORP_USERNAME": USER, "UV_INDEX_CORP_PASSWORD": PASSWORD}
        at = replace(guarded.at, env={**guarded.at.env, **login})
        must(guarded.run("-v", "build", "--no-verify", at=at))
    record = guarded.at.published()[f"{CONDA_CELL}/cell.json"].decode()
    assert json.loads(record)["inputs"]["sources"]["corp"]["conda-channel"] == address
    assert f"{USER}:{PASSWORD}" in logins(corp)
    matrix_file = guarded.at.project / "matrix.yaml"
    try:
        for secret in (with_login(address), address.replace("/corp", f"/t/{TOKEN}/corp")):
            matrix_file.write_text(matrix.replace(address, secret), encoding="utf-8")
            said = must(guarded.run("lock"), 2).stderr
            assert "sources.corp.conda-channel: carries credentials, and this file is committed" in said
            assert TOKEN not in said
            must(guarded.run("doctor"))
    finally:
        matrix_file.unlink()
    assert guarded.leaks() == []


@pytest.mark.parametrize(
    "address", [f"http://{USER}:{PASSWORD}@mirror.example/whl", f"http://{USER}:{quote(PASSWORD, safe='')}@[broken/whl"]
)
@pytest.mark.parametrize("variable", ["TORCHMATRIX_MIRRORS", "TORCHMATRIX_DEFAULT_INDEX", "PIP_INDEX_URL", "PIP_PROXY"])
def test_an_address_that_is_none_is_said_without_its_credentials(
    tmp_path: Path, scene: Scene, variable: str, address: str
) -> None:
    guarded = Guarded(tmp_path, scene, "netrc")
    broken = {variable: f"pytorch={address}" if variable == "TORCHMATRIX_MIRRORS" else address}
    kept = {name: value for name, value in guarded.at.env.items() if name != "TORCHMATRIX_DEFAULT_INDEX"}
    at = replace(guarded.at, env={**kept, **broken})
    assert must(guarded.run("lock", at=at), 2).stderr.startswith("error:")
    must(guarded.run("--json", "lock", at=at), 2)
    guarded.run("doctor", at=at)
    assert guarded.leaks() == []
    assert unquote(address).split("@")[0].split(":")[-1] not in "".join(guarded.said)


def test_a_crash_shows_its_traceback_without_credentials(tmp_path: Path, scene: Scene) -> None:
    guarded = Guarded(tmp_path, scene, "netrc")
    at = replace(guarded.at, program=(sys.executable, "-c", _CRASHES, with_login("https://corp.example/simple")))
    outcome = must(guarded.run("list", at=at), 1)
    assert "Traceback" in outcome.stderr
    assert "RuntimeError: what nobody expected about https://***@corp.example/simple" in outcome.stderr
    assert guarded.leaks() == []


@pytest.mark.skipif(sys.platform == "win32", reason="there, folders of a user are closed by themselves")
def test_scratch_files_are_for_the_user_alone(tmp_path: Path, scene: Scene) -> None:
    guarded = Guarded(tmp_path, scene, "netrc")
    must(guarded.run("lock"))
    scratch = guarded.folder / "store" / "scratch"
    assert scratch.is_dir()
    assert scratch.stat().st_mode & 0o077 == 0
    assert list(scratch.iterdir()) == []
