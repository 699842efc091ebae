"""Whose files may be on which host: data, what was configured, and the one host that is learned."""

from __future__ import annotations

import pytest

from torchmatrix.errors import IntegrityError
from torchmatrix.sources.config import SourceConfig
from torchmatrix.sources.hosts import FileHosts
from torchmatrix.sources.pip_config import Setting

FILES = [f"https://files.example/packages/{number}.whl" for number in range(3)]
ODD = "https://odd.example/x.whl"


def hosts(
    learned: dict[str, str] | None = None, index: str = "https://index.example/simple", **config: object
) -> FileHosts:
    """What may serve the files of `pypi` at ``index``, and of a PyTorch index that is known."""
    value = SourceConfig(**({"default_index": None} | config))  # type: ignore[arg-type]
    made = FileHosts(value, known={"pytorch": ["whl.example"]}, learned=learned)
    made.allow("pypi", index)
    return made


def test_the_host_of_most_files_is_learned_and_kept() -> None:
    one = hosts()
    one.learn([*FILES, ODD])
    again = hosts(dict(one.learned))
    for made in (one, again):
        assert made.allows(FILES[0], source="pypi")
        assert not made.allows(ODD, source="pypi")
    again.learn([ODD, ODD])
    assert not again.allows(ODD, source="pypi"), "it is learned once"


@pytest.mark.parametrize(
    "urls",
    [[ODD, "https://index.example/a.whl", "https://index.example/b.whl"], [ODD, FILES[0]], [], ["/srv/wheels/x.whl"]],
    ids=["the index serves itself", "half and half", "nothing", "folders"],
)
def test_nothing_is_learned_without_a_majority(urls: list[str]) -> None:
    made = hosts()
    made.learn(urls)
    assert dict(made.learned) == {}


def test_another_index_has_its_own() -> None:
    one = hosts()
    one.learn(FILES)
    other = hosts(dict(one.learned), index="https://corp.example/simple")
    assert not other.allows(FILES[0], source="pypi")


def test_whom_the_learned_host_serves() -> None:
    """Pages of the PyTorch index pass files of the default index on; those of a private source have no reason to."""
    made = hosts()
    made.learn(FILES)
    assert made.allows(FILES[0], source="pytorch")
    assert not made.allows(FILES[0], source="corp")


def test_declared_hosts_end_the_learning() -> None:
    made = hosts(file_hosts={"pypi": ("declared.example",)})
    made.learn(FILES)
    assert made.allows("https://declared.example/x.whl", source="pypi")
    assert not made.allows(FILES[0], source="pypi")


def test_mirrors_and_folders_are_allowed() -> None:
    mirror = Setting(value="https://mirror.example/whl", origin="TORCHMATRIX_MIRRORS")
    made = hosts(mirrors={"pytorch": (mirror,)})
    assert made.allows("https://mirror.example:8443/x.whl", source="pytorch")
    assert not made.allows("https://mirror.example/x.whl", source="pypi")
    assert made.allows("/srv/wheels/x.whl", source="pypi")


def test_the_refusal_names_host_and_remedy() -> None:
    with pytest.raises(IntegrityError) as caught:
        hosts().require("https://evil.example/torch.whl", source="pytorch", named_by="the link to torch.whl")
    assert caught.value.message == (
        "source pytorch: the link to torch.whl leads to evil.example, which is none of its file hosts (whl.example)"
    )
    assert caught.value.hint == (
        'if evil.example is to serve its files, say so: TORCHMATRIX_FILE_HOSTS="pytorch=evil.example"'
    )
