"""pip's configuration: what torchmatrix reads is what pip itself, asked in the same place, takes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from torchmatrix.errors import UsageError
from torchmatrix.sources.pip_config import Setting, config_files, read_pip_config

if TYPE_CHECKING:
    from collections.abc import Mapping

PIP_ITSELF = """\
import json, os, sys
from pip._internal.commands import create_command
answers = []
for scenario in json.load(sys.stdin):
    for name in [name for name in os.environ if name.startswith(("PIP_", "XDG_"))]:
        del os.environ[name]
    os.environ.update(scenario["env"])
    sys.prefix = scenario["prefix"]
    options = create_command("install").parser.parse_args([])[0]
    answers.append([options.index_url, options.extra_index_urls, options.find_links, options.cert, options.proxy])
print(json.dumps(answers))
"""
"""pip's option parser fills its defaults from files and variables: the very values that `pip install` works with."""

posix_only = pytest.mark.skipif(os.name == "nt", reason="the places are those of POSIX systems")


class Sandbox:
    """A home folder, a prefix and configuration folders below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.prefix = folder, folder / "home", folder / "prefix"
        self.home.mkdir(parents=True)
        self.prefix.mkdir()
        self.env = {"HOME": str(self.home), "XDG_CONFIG_DIRS": f"{folder / 'first'}:{folder / 'second'}"}

    def write(self, place: str, text: str) -> None:
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def scenario(self) -> dict[str, Any]:
        return {"env": self.env, "prefix": str(self.prefix)}

    def ours(self) -> list[object]:
        """In the form of pip's answers."""
        found = read_pip_config(self.env, prefix=self.prefix, home=self.home)
        return [
            found.index_url.value if found.index_url else None,
            [setting.value for setting in found.extra_index_urls],
            [setting.value for setting in found.find_links],
            found.cert.value if found.cert else None,
            found.proxy.value if found.proxy else None,
        ]


def ask_pip(sandboxes: list[Sandbox], home: Path) -> list[Any]:
    env = {"HOME": str(home), "PATH": os.environ.get("PATH", "")}
    done = subprocess.run(
        [sys.executable, "-c", PIP_ITSELF],
        input=json.dumps([one.scenario() for one in sandboxes]),
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


def conf(section: str = "global", **values: str) -> str:
    return f"[{section}]\n" + "".join(f"{name.replace('_', '-')} = {value}\n" for name, value in values.items())


GLOBAL, LATER_GLOBAL = "first/pip/pip.conf", "second/pip/pip.conf"
LEGACY, USER, SITE, NAMED = "home/.pip/pip.conf", "home/.config/pip/pip.conf", "prefix/pip.conf", "named.conf"
CORP, OTHER = "https://corp.example/simple", "https://other.example/simple"

SCENARIOS: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "nothing": ({}, {}),
    "global": ({GLOBAL: conf(index_url=CORP)}, {}),
    "the later global folder": ({GLOBAL: conf(index_url=CORP), LATER_GLOBAL: conf(index_url=OTHER)}, {}),
    "user over global": ({GLOBAL: conf(index_url=CORP), USER: conf(index_url=OTHER)}, {}),
    "user over legacy user": ({LEGACY: conf(index_url=CORP), USER: conf(index_url=OTHER)}, {}),
    "legacy user": ({LEGACY: conf(index_url=CORP), GLOBAL: conf(index_url=OTHER)}, {}),
    "site over user": ({SITE: conf(index_url=CORP), USER: conf(index_url=OTHER)}, {}),
    "named over site": ({NAMED: conf(proxy="a.example:1"), SITE: conf(proxy="b.example:1")},
                        {"PIP_CONFIG_FILE": NAMED}),
    "named hides user": ({NAMED: conf(proxy="a.example:1"), USER: conf(index_url=CORP)}, {"PIP_CONFIG_FILE": NAMED}),
    "named is missing": ({USER: conf(index_url=CORP)}, {"PIP_CONFIG_FILE": "gone.conf"}),
    "no file at all": ({USER: conf(index_url=CORP)}, {"PIP_CONFIG_FILE": os.devnull, "PIP_PROXY": "p.example:1"}),
    "install over global": ({USER: conf(index_url=CORP) + conf("install", index_url=OTHER)}, {}),
    "install in a lower file": ({GLOBAL: conf("install", index_url=CORP), USER: conf(index_url=OTHER)}, {}),
    "another command's section": ({USER: conf("download", index_url=CORP) + conf("list", proxy="p.example:1")}, {}),
    "variable over file": ({SITE: conf("install", index_url=CORP)}, {"PIP_INDEX_URL": OTHER}),
    "empty variable": ({SITE: conf(index_url=CORP)}, {"PIP_INDEX_URL": ""}),
    "variables replace lists": ({SITE: conf(find_links="/a /b")}, {"PIP_FIND_LINKS": "/c"}),
    "taken back": ({GLOBAL: conf(extra_index_url=CORP), USER: conf(extra_index_url="")}, {}),
    "taken back in install": (
        {GLOBAL: conf(index_url=CORP) + conf("install", index_url=OTHER), USER: conf("install", index_url="")},
        {},
    ),
    "underscores": ({USER: f"[global]\nindex_url = {CORP}\nEXTRA_INDEX_URL = {OTHER}\n"}, {}),
    "dashes before": ({USER: f"[global]\n--index-url = {CORP}\n"}, {}),
    "several lines": ({USER: f"[global]\nfind-links =\n    /one\n    {OTHER}\n  \textra-index-url\n"}, {}),
    "several in a variable": ({}, {"PIP_EXTRA_INDEX_URL": f"  {CORP} {OTHER} "}),
    "interpolation is none": ({USER: conf(index_url="https://u%20ser:%(x)s@corp.example/simple")}, {}),
    "comments": ({USER: f"# one\n; two\n[global]\nindex-url = {CORP}\n# index-url = {OTHER}\n"}, {}),
    "certificate": ({USER: conf(cert="/etc/corp.pem", proxy="http://u:p@proxy.example:3128")}, {}),
    "certificate at home": ({USER: conf(cert="~/corp.pem")}, {}),
    "certificate of a variable": ({USER: conf(cert="/etc/corp.pem")}, {"PIP_CERT": "~/corp.pem"}),
    "another config home": ({"moved/pip/pip.conf": conf(index_url=CORP), USER: conf(index_url=OTHER)}, {
        "XDG_CONFIG_HOME": "moved"
    }),
    "empty config home": ({USER: conf(index_url=CORP)}, {"XDG_CONFIG_HOME": ""}),
    "empty config folders": ({GLOBAL: conf(index_url=CORP)}, {"XDG_CONFIG_DIRS": ""}),
}  # fmt: skip


@posix_only
@pytest.mark.skipif(sys.platform == "darwin", reason="pip's places on macOS do not follow the sandbox's variables")
def test_pip_itself_takes_the_same(tmp_path: Path) -> None:
    sandboxes = {}
    for number, (name, (files, env)) in enumerate(SCENARIOS.items()):
        sandbox = sandboxes[name] = Sandbox(tmp_path / str(number))
        for place, text in files.items():
            sandbox.write(place, text)
        paths = {"PIP_CONFIG_FILE", "XDG_CONFIG_HOME"}
        sandbox.env |= {
            key: str(sandbox.folder / value) if key in paths and value else value for key, value in env.items()
        }
    by_pip = dict(zip(sandboxes, ask_pip(list(sandboxes.values()), tmp_path), strict=True))
    for name, (index, extra, links, cert, proxy) in by_pip.items():
        found = sandboxes[name].ours()
        # pip knows its own default index; here nothing configured is None
        configured = None if index and index.startswith("https://") and ".example/" not in index else index
        assert found == [configured, extra, links, cert, proxy], name
    answered = [answer for answer in by_pip.values() if answer[0] in (CORP, OTHER)]
    assert len(answered) > 10, "the sandbox does not reach pip"


@posix_only
def test_pip_config_list_shows_the_same(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    sandbox.write(USER, conf(index_url=CORP, proxy="a.example:1") + conf("install", find_links="/one /two"))
    sandbox.write(NAMED, conf(proxy="b.example:1"))
    sandbox.env |= {"PIP_EXTRA_INDEX_URL": OTHER, "PATH": os.environ.get("PATH", "")}
    shown: list[dict[str, str]] = []
    for named in ({}, {"PIP_CONFIG_FILE": str(tmp_path / NAMED)}, {"PIP_CONFIG_FILE": os.devnull}):
        env = sandbox.env | named
        done = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], env=env, capture_output=True, text=True, check=True
        )
        listed = dict(line.split("=", 1) for line in done.stdout.splitlines())
        values = {key.split(".", 1)[1]: shlex.split(value)[0] for key, value in listed.items()}
        found = read_pip_config(env, prefix=Path(sys.prefix), home=sandbox.home)
        assert (found.index_url.value if found.index_url else None) == values.get("index-url")
        assert (found.proxy.value if found.proxy else None) == values.get("proxy")
        assert [one.value for one in found.find_links] == values.get("find-links", "").split()
        assert [one.value for one in found.extra_index_urls] == [OTHER] == values["extra-index-url"].split()
        shown.append(values)
    assert [one.get("proxy") for one in shown] == ["a.example:1", "b.example:1", None]


def test_each_value_says_where_it_comes_from(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    sandbox.write("named.conf", conf(index_url=CORP, find_links="/one /two"))
    env = {"PIP_CONFIG_FILE": str(tmp_path / "named.conf"), "PIP_PROXY": "p.example:1", "PIP_EXTRA_INDEX_URL": OTHER}
    found = read_pip_config(env, prefix=sandbox.prefix, home=sandbox.home)
    origin = str(tmp_path / "named.conf")
    assert found.index_url == Setting(value=CORP, origin=origin)
    assert found.find_links == (Setting(value="/one", origin=origin), Setting(value="/two", origin=origin))
    assert found.proxy == Setting(value="p.example:1", origin="PIP_PROXY")
    assert found.extra_index_urls == (Setting(value=OTHER, origin="PIP_EXTRA_INDEX_URL"),)


@pytest.mark.parametrize("text", ["index-url = x\n", "[global\n", "[global]\nproxy = 1\nproxy = 2\n"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    sandbox = Sandbox(tmp_path)
    sandbox.write("prefix/pip.conf" if os.name != "nt" else "prefix/pip.ini", text)
    with pytest.raises(UsageError) as caught:
        read_pip_config({}, prefix=sandbox.prefix, home=sandbox.home)
    name = re.escape(str(sandbox.prefix))
    assert re.match(rf"{name}.pip\.(conf|ini): pip's configuration cannot be read: \S", caught.value.message)
    assert "\n" not in caught.value.message
    assert caught.value.hint == "repair the file, or set PIP_CONFIG_FILE to another one"


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    named = tmp_path / "named.conf"
    named.write_bytes(b"[global]\nproxy = \xff\n")
    with pytest.raises(UsageError, match=r"named\.conf: pip's configuration cannot be read: 'utf-8' codec"):
        read_pip_config({"PIP_CONFIG_FILE": str(named)}, prefix=tmp_path, home=tmp_path)


@posix_only
def test_a_folder_in_place_of_a_file_is_no_error(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    (sandbox.prefix / "pip.conf").mkdir()
    (sandbox.home / ".config").write_text("a file where a folder belongs")
    sandbox.env["PIP_INDEX_URL"] = CORP
    assert sandbox.ours()[0] == CORP


@posix_only
def test_places_on_macos(tmp_path: Path) -> None:
    # Source: pip's documentation, "Configuration", macOS
    home, prefix = tmp_path / "home", tmp_path / "prefix"
    env = {"XDG_CONFIG_HOME": "/elsewhere", "XDG_CONFIG_DIRS": "/elsewhere"}

    def places() -> list[Path]:
        return list(config_files(env, prefix=prefix, home=home, system="darwin"))

    shared = Path("/Library/Application Support/pip/pip.conf")
    legacy, site = home / ".pip/pip.conf", prefix / "pip.conf"
    assert places() == [shared, legacy, home / ".config/pip/pip.conf", site]
    support = home / "Library/Application Support/pip"
    support.mkdir(parents=True)
    assert places() == [shared, legacy, support / "pip.conf", site]


def test_places_on_windows(tmp_path: Path) -> None:
    # Source: pip's documentation, "Configuration", Windows
    env = {"PROGRAMDATA": "C:/ProgramData", "APPDATA": "C:/Users/me/AppData/Roaming"}
    assert list(config_files(env, prefix=tmp_path / "prefix", home=Path("C:/Users/me"), system="win32")) == [
        Path("C:/ProgramData/pip/pip.ini"),
        Path("C:/Users/me/pip/pip.ini"),
        Path("C:/Users/me/AppData/Roaming/pip/pip.ini"),
        tmp_path / "prefix/pip.ini",
    ]
