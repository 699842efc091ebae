"""Where user and password come from, and to whom they never go."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchmatrix.command import Command, Outcome
from torchmatrix.errors import HostError
from torchmatrix.sources.config import SourceConfig
from torchmatrix.sources.credentials import Credentials, without_userinfo
from torchmatrix.sources.pip_config import Setting, read_pip_config

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "https://corp.example/simple"
KEYRING = {"UV_KEYRING_PROVIDER": "subprocess"}


def setting(value: str) -> Setting:
    return Setting(value=value, origin="a test")


def config(index: str | None = None, mirrors: dict[str, str] | None = None, **more: Any) -> SourceConfig:
    """A configuration with a default index and one mirror a source; further fields as they are."""
    return SourceConfig(
        default_index=setting(index) if index else None,
        mirrors={name: (setting(value),) for name, value in (mirrors or {}).items()},
        **more,
    )


class Keyring:
    """Stands for the command: answers from a dictionary, keeps what it was asked."""

    def __init__(self, known: dict[tuple[str, str], str] | None = None) -> None:
        self.known = known or {}
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, command: Command) -> Outcome:
        self.asked.append(command.argv)
        password = self.known.get((command.argv[2], command.argv[3]))
        text = "" if password is None else f"{password}\n"
        return Outcome(command=command, returncode=0 if password else 1, stdout=text, stderr="")


def unused(_command: Command) -> Outcome:
    raise AssertionError("keyring is asked without need")


def look(home: Path, config: SourceConfig, run: Any = unused, **more: Any) -> Credentials:
    return Credentials(config, home=home, run=run, **more)


def netrc(home: Path, text: str, name: str = ".netrc") -> Path:
    path = home / name
    path.write_text(text, encoding="utf-8")
    return path


# The address itself


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://me:secret@corp.example/simple", ("me", "secret")),
        ("https://m%40e:se%3Acr%2Fet%25@corp.example/simple", ("m@e", "se:cr/et%")),
        ("https://me:p@ss@corp.example/simple", ("me", "p@ss")),
        ("https://token@corp.example/simple", ("token", "")),
        ("https://token:@corp.example/simple", ("token", "")),
        ("https://:secret@corp.example/simple", ("", "secret")),
        ("https://@corp.example/simple", None),
        ("https://corp.example/me@simple", None),
        ("https://corp.example/simple", None),
        ("/srv/wheels", None),
        ("file://me:secret@corp.example/wheels", None),
        ("https://me:secret@corp.example:99999/", None),
        ("https://me:secret@[corp/", None),
    ],
)
def test_credentials_in_the_address(tmp_path: Path, url: str, found: tuple[str, str] | None) -> None:
    assert look(tmp_path, config()).for_url(url) == found


def test_those_in_the_address_go_before_all_others(tmp_path: Path) -> None:
    netrc(tmp_path, "machine corp.example login n password n")
    env = {"UV_INDEX_PYPI_USERNAME": "e", "UV_INDEX_PYPI_PASSWORD": "e"}
    found = look(tmp_path, config("https://c:c@corp.example/simple", child_env=env))
    assert found.for_url("https://me:secret@corp.example/simple", source="pypi") == ("me", "secret")


# The order of the others


def test_the_order_is_environment_configuration_netrc(tmp_path: Path) -> None:
    netrc(tmp_path, "machine corp.example login n password n")
    env = {"UV_INDEX_PYPI_USERNAME": "e", "UV_INDEX_PYPI_PASSWORD": "e"}
    with_url = "https://c:c@corp.example/simple"
    assert look(tmp_path, config(with_url, child_env=env)).for_url(INDEX, source="pypi") == ("e", "e")
    assert look(tmp_path, config(with_url)).for_url(INDEX, source="pypi") == ("c", "c")
    assert look(tmp_path, config(INDEX)).for_url(INDEX, source="pypi") == ("n", "n")
    assert look(tmp_path / "empty", config(INDEX)).for_url(INDEX, source="pypi") is None


def test_a_user_in_the_address_chooses_among_them(tmp_path: Path) -> None:
    netrc(tmp_path, "machine corp.example login n password n-pass")
    env = {"UV_INDEX_PYPI_USERNAME": "e", "UV_INDEX_PYPI_PASSWORD": "e-pass"}
    found = look(tmp_path, config("https://c:c-pass@corp.example/simple", child_env=env))
    for user in "ecn":
        assert found.for_url(f"https://{user}@corp.example/simple") == (user, f"{user}-pass")
    assert found.for_url("https://other@corp.example/simple") == ("other", "")


# The environment


@pytest.mark.parametrize(("name", "variable"), [("corp", "CORP"), ("corp-x", "CORP_X"), ("9-lives", "9_LIVES")])
def test_variables_of_a_private_source(tmp_path: Path, name: str, variable: str) -> None:
    env = {f"UV_INDEX_{variable}_USERNAME": "me", f"UV_INDEX_{variable}_PASSWORD": "se:cr%65t"}
    found = look(tmp_path, config(child_env=env), private={name: INDEX})
    assert found.for_url(INDEX + "/pkg/", source=name) == ("me", "se:cr%65t")
    assert found.for_url("https://corp.example/files/pkg.whl") == ("me", "se:cr%65t"), "a file of the same server"


def test_variables_of_a_source_are_for_its_mirrors_too(tmp_path: Path) -> None:
    env = {"UV_INDEX_PYTORCH_USERNAME": "me", "UV_INDEX_PYTORCH_PASSWORD": "secret"}
    found = look(tmp_path, config(mirrors={"pytorch": "https://mirror.example/whl"}, child_env=env))
    assert found.for_url("https://mirror.example/whl/cpu/torch/", source="pytorch") == ("me", "secret")
    assert found.for_url("https://download.pytorch.org/whl/cpu/torch/", source="pytorch") is None
    assert look(tmp_path, config(child_env=env)).for_url("https://download.pytorch.org/whl", source="pytorch") is None


def test_a_stand_in_gets_nothing_of_the_source_that_it_stands_for(tmp_path: Path) -> None:
    env = {"UV_INDEX_PYPI_USERNAME": "me", "UV_INDEX_PYPI_PASSWORD": "secret"}
    found = look(tmp_path, config(INDEX, extra_indexes=(setting("https://other.example/simple"),), child_env=env))
    assert found.for_url("https://other.example/simple/numpy/", source="pypi") is None


def test_only_a_password_or_only_a_user_in_the_environment(tmp_path: Path) -> None:
    netrc(tmp_path, "machine corp.example login me password from-netrc")
    user = look(tmp_path, config(INDEX, child_env={"UV_INDEX_PYPI_USERNAME": "me"}))
    assert user.for_url(INDEX) == ("me", "from-netrc")
    password = look(tmp_path, config("https://me@corp.example/simple", child_env={"UV_INDEX_PYPI_PASSWORD": "secret"}))
    assert password.for_url(INDEX) == ("me", "secret")


# Configured addresses


@pytest.mark.parametrize("place", ["default_index", "extra_indexes", "find_links", "mirrors", "private"])
def test_a_file_gets_the_credentials_of_the_index_on_its_server(tmp_path: Path, place: str) -> None:
    address = "https://me:secret@corp.example:8443/simple"
    configured = {
        "default_index": config(address),
        "extra_indexes": config(extra_indexes=(setting(address),)),
        "find_links": config(find_links=(setting(address),)),
        "mirrors": config(mirrors={"pytorch": address}),
        "private": config(),
    }[place]
    found = look(tmp_path, configured, private={"corp": address} if place == "private" else {})
    assert found.for_url("https://CORP.example:8443/files/a.whl") == ("me", "secret")


@pytest.mark.parametrize(
    "url",
    [
        "http://corp.example/simple",
        "http://corp.example:443/simple",
        "https://corp.example:8443/simple",
        "https://files.corp.example/simple",
        "https://example/simple",
        "https://corp.example.evil.example/simple",
        "https://evil.example/https://corp.example/simple",
        "https://evil.example\\@corp.example/simple",
        "https://evil.example\\.corp.example@corp.example/simple",
        "https://evil.example\t@corp.example/simple",
        "https://corp.example \n.evil.example/simple",
        "//corp.example/simple",
        "ftp://corp.example/simple",
    ],
)
def test_credentials_go_to_no_other_server(tmp_path: Path, url: str) -> None:
    env = {"UV_INDEX_CORP_USERNAME": "me", "UV_INDEX_CORP_PASSWORD": "secret"} | KEYRING
    keyring = Keyring({(INDEX, "me"): "secret", ("corp.example", "me"): "secret"})
    found = look(
        tmp_path, config("https://me:secret@corp.example/simple", child_env=env), keyring, private={"corp": INDEX}
    )
    for source in (None, "pypi", "corp"):
        assert found.for_url(url, source=source, refused=True) is None
    assert keyring.asked == []


def test_the_usual_port_may_be_written_or_not(tmp_path: Path) -> None:
    found = look(tmp_path, config("https://me:secret@corp.example:443/simple"))
    assert found.for_url(INDEX) == ("me", "secret")


def test_between_indexes_of_one_server_the_source_decides_then_the_path(tmp_path: Path) -> None:
    private = {name: f"https://{name}:{name}-pass@corp.example/{name}/simple" for name in ("one", "two")}
    found = look(tmp_path, config(), private=private)
    assert found.for_url("https://corp.example/two/files/a.whl") == ("two", "two-pass")
    assert found.for_url("https://corp.example/two/files/a.whl", source="one") == ("one", "one-pass")
    assert found.for_url("https://corp.example/twofold/a.whl") == ("one", "one-pass"), "no segment alike: the first"


# netrc


def test_netrc_is_where_its_variable_says(tmp_path: Path) -> None:
    netrc(tmp_path, "machine corp.example login home password home")
    other = netrc(tmp_path, "machine corp.example login other password other", "other")
    assert look(tmp_path, config()).for_url(INDEX) == ("home", "home")
    for named in (str(other), "~/other"):
        assert look(tmp_path, config(child_env={"NETRC": named})).for_url(INDEX) == ("other", "other")


def test_the_name_of_netrc_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc(tmp_path, "machine corp.example login me password secret", "_netrc")
    assert look(tmp_path, config()).for_url(INDEX) is None
    monkeypatch.setattr("torchmatrix.sources.credentials.sys.platform", "win32")
    assert look(tmp_path, config()).for_url(INDEX) == ("me", "secret")


def test_the_default_of_netrc_only_after_a_refusal(tmp_path: Path) -> None:
    netrc(tmp_path, "machine corp.example login me password secret\ndefault login any password where")
    found = look(tmp_path, config())
    assert found.for_url(INDEX) == ("me", "secret")
    assert found.for_url("https://cdn.example/a.whl") is None
    assert found.for_url("https://cdn.example/a.whl", refused=True) == ("any", "where")


@pytest.mark.parametrize("text", ["machine corp.example login me passwort hunter2", "hunter2", "machine"])
def test_a_broken_netrc_is_a_remark_without_its_content(tmp_path: Path, text: str) -> None:
    path = netrc(tmp_path, text)
    found = look(tmp_path, config())
    assert found.for_url(INDEX, refused=True) is None
    assert found.for_url(INDEX) is None
    assert len(found.remarks) == 1
    assert str(path) in found.remarks[0]
    assert "no credentials are taken from it" in found.remarks[0]
    assert "hunter2" not in found.remarks[0]


def test_a_netrc_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".netrc").mkdir()
    found = look(tmp_path, config())
    assert found.for_url(INDEX) is None
    assert "cannot be read" in found.remarks[0]
    (tmp_path / "bytes").write_bytes(b"machine corp.example login me password \xff\xfe\n")
    other = look(tmp_path, config(child_env={"NETRC": str(tmp_path / "bytes")}))
    other.for_url(INDEX)  # what the bytes mean depends on the locale; it may not be an error
    missing = look(tmp_path, config(child_env={"NETRC": str(tmp_path / "gone")}))
    assert missing.for_url(INDEX) is None
    assert missing.remarks == (f"{tmp_path / 'gone'} (from NETRC) does not exist",)


def test_no_netrc_is_no_remark(tmp_path: Path) -> None:
    found = look(tmp_path, config())
    assert found.for_url(INDEX) is None
    assert found.remarks == ()


# keyring


def test_keyring_is_asked_for_the_index_then_for_its_host(tmp_path: Path) -> None:
    keyring = Keyring({("corp.example:8443", "me"): "secret"})
    found = look(tmp_path, config("https://me@corp.example:8443/simple/", child_env=KEYRING), keyring)
    file = "https://corp.example:8443/files/a.whl"
    assert found.for_url(file) == ("me", ""), "not before the server refused"
    assert keyring.asked == []
    assert found.for_url(file, refused=True) == ("me", "secret")
    assert keyring.asked == [
        ("keyring", "get", "https://corp.example:8443/simple", "me"),
        ("keyring", "get", "corp.example:8443", "me"),
    ]
    assert found.for_url("https://corp.example:8443/simple/other/") == ("me", "secret"), "once known it is used"
    assert found.for_url("https://corp.example:8443/simple/", refused=True) == ("me", "secret")
    assert len(keyring.asked) == 2


def test_what_keyring_does_not_know_is_asked_once(tmp_path: Path) -> None:
    keyring = Keyring()
    found = look(tmp_path, config(child_env=KEYRING), keyring)
    for _ in range(3):
        assert found.for_url("https://me@corp.example/simple", refused=True) == ("me", "")
    assert keyring.asked == [("keyring", "get", "corp.example", "me")]


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({}, "https://me@corp.example/simple"),
        ({"UV_KEYRING_PROVIDER": "disabled"}, "https://me@corp.example/simple"),
        (KEYRING, INDEX),
        (KEYRING, "https://me:secret@corp.example/simple"),
    ],
    ids=["not configured", "switched off", "no user", "nothing left to ask"],
)
def test_when_keyring_is_not_asked(tmp_path: Path, env: dict[str, str], url: str) -> None:
    keyring = Keyring({("corp.example", "me"): "from keyring"})
    found = look(tmp_path, config(child_env=env), keyring).for_url(url, refused=True)
    assert keyring.asked == []
    assert found != ("me", "from keyring")


def test_netrc_goes_before_keyring(tmp_path: Path) -> None:
    netrc(tmp_path, "machine corp.example login me password secret")
    found = look(tmp_path, config(child_env=KEYRING))
    assert found.for_url("https://me@corp.example/simple", refused=True) == ("me", "secret")


def test_without_the_keyring_command_there_is_nothing(tmp_path: Path) -> None:
    asked = []

    def missing(command: Command) -> Outcome:
        asked.append(command)
        raise HostError("cannot run keyring: No such file or directory")

    found = look(tmp_path, config(child_env=KEYRING), missing)
    for host in ("one", "two"):
        assert found.for_url(f"https://me@{host}.example/simple", refused=True) == ("me", "")
    assert len(asked) == 1


def test_the_real_command_gets_the_cleaned_environment(tmp_path: Path) -> None:
    program = tmp_path / "keyring"
    program.write_text('#!/bin/sh\nprintf "%s %s\\n" "$MARK" "$*"\n', encoding="utf-8")
    program.chmod(0o755)
    found = Credentials(config(child_env=KEYRING | {"PATH": str(tmp_path), "MARK": "x"}), home=tmp_path)
    assert found.for_url("https://me@corp.example/simple", refused=True) == ("me", "x get corp.example me")


def test_threads_ask_keyring_once(tmp_path: Path) -> None:
    keyring, barrier = Keyring({("corp.example", "me"): "secret"}), threading.Barrier(8)
    found = look(tmp_path, config(child_env=KEYRING), keyring)
    answers: list[tuple[str, str] | None] = []

    def ask() -> None:
        barrier.wait()
        answers.append(found.for_url("https://me@corp.example/simple", refused=True))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [("me", "secret")] * 8
    assert len(keyring.asked) == 1


# For uv


def test_uv_gets_credentials_by_variables_and_only_those_of_its_places(tmp_path: Path) -> None:
    env = {
        "PATH": "/bin",
        "UV_INDEX_PYPI_USERNAME": "me",
        "UV_INDEX_PYPI_PASSWORD": "secret",
        "UV_INDEX_CORP_PASSWORD": "unused",
    }
    found = look(tmp_path, config(INDEX, mirrors={"pytorch": "https://token@mirror.example/whl"}, child_env=env))
    places = {"pypi": INDEX, "pytorch": "https://token@mirror.example/whl/cpu", "other-0": "https://other.example"}
    assert found.uv_environment(places) == {
        "PATH": "/bin",
        "UV_INDEX_PYPI_USERNAME": "me",
        "UV_INDEX_PYPI_PASSWORD": "secret",
        "UV_INDEX_PYTORCH_USERNAME": "token",
    }
    stand_in = found.uv_environment({"pypi": "https://other.example/simple"})
    assert stand_in == {"PATH": "/bin"}, "a stand-in goes by the name of its source"


# Addresses without


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://me:secret@corp.example:81/a?b=c#d", "https://corp.example:81/a?b=c#d"),
        ("https://me:p@ss@corp.example", "https://corp.example"),
        ("https://token@corp.example/me@x?a@b", "https://corp.example/me@x?a@b"),
        ("https://corp.example/simple/?", "https://corp.example/simple/?"),
        ("file:///srv/me@x", "file:///srv/me@x"),
        ("/srv/me:x@y", "/srv/me:x@y"),
        ("git+ssh://git@corp.example/x", "git+ssh://corp.example/x"),
    ],
)
def test_an_address_without_credentials(url: str, bare: str) -> None:
    assert without_userinfo(url) == bare
    assert without_userinfo(bare) == bare


texts = st.text("ab1!$&'()*+,;=:%~._-", max_size=12)


@given(texts, texts, st.sampled_from(["", ":81"]), st.sampled_from(["", "/", "/simple/a@b", "?x=@"]))
def test_nothing_but_the_user_info_is_taken_away(user: str, password: str, port: str, rest: str) -> None:
    assert (
        without_userinfo(f"https://{user}:{password}@corp.example{port}{rest}") == f"https://corp.example{port}{rest}"
    )


# Never shown


def test_no_repr_shows_a_password(tmp_path: Path) -> None:
    env = {"UV_INDEX_PYPI_USERNAME": "me", "UV_INDEX_PYPI_PASSWORD": "hunter2"}
    found = look(tmp_path, config("https://me:hunter2@corp.example/simple", child_env=env))
    assert found.for_url(INDEX) == ("me", "hunter2")
    assert "hunter2" not in repr(found) + repr(found._known) + repr(Command(argv=("uv",), env=env))


# pip's name for it


@pytest.mark.parametrize("value", ["auto", "disabled", "import", "subprocess"])
def test_pips_keyring_provider(tmp_path: Path, value: str) -> None:
    (tmp_path / "pip.conf").write_text(f"[global]\nkeyring-provider = {value}\n", encoding="utf-8")
    said = read_pip_config({"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}, prefix=tmp_path / "x", home=tmp_path)
    assert said.keyring_provider == Setting(value=value, origin=str(tmp_path / "pip.conf"))
    environ = {"PIP_CONFIG_FILE": "/dev/null", "PIP_KEYRING_PROVIDER": value}
    said = read_pip_config(environ, prefix=tmp_path / "x", home=tmp_path)
    assert said.keyring_provider == Setting(value=value, origin="PIP_KEYRING_PROVIDER")
