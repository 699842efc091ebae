"""matrix.yaml is committed: credentials in it are a mistake with a place, wherever they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchmatrix.matrix.load import MatrixError, load_matrix

if TYPE_CHECKING:
    from torchmatrix.matrix.model import Matrix
    from torchmatrix.matrix.problems import Problem

HEAD = """\
version: 1
axes: {python: ["3.12"], channel: [stable], target: [cpuonly]}
targets: {cpuonly: {platform: linux-64, accelerator: cpu}}
"""


def load(line: str) -> Matrix:
    return load_matrix(Path("matrix.yaml"), f"{HEAD}{line}\n")


def refused(line: str) -> Problem:
    with pytest.raises(MatrixError) as caught:
        load(line)
    assert "hunter2" not in str(caught.value)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


@pytest.mark.parametrize(
    "address",
    [
        "https://me:hunter2@corp.example/simple",
        "https://hunter2@corp.example/simple",
        "https://:hunter2@corp.example/simple",
        "http://me:hun%74er2%40hunter2@corp.example:8080/simple",
        "https://me:p@hunter2@corp.example/simple",
        "file://me:hunter2@corp.example/simple",
    ],
)
def test_an_index_with_credentials_is_refused_with_its_place_and_where_they_belong(address: str) -> None:
    problem = refused(f'sources: {{corp: {{index: "{address}", packages: [corp]}}}}')
    assert (problem.line, problem.column) == (4, 25)
    assert problem.path == "sources.corp.index"
    assert problem.message == "carries credentials, and this file is committed"
    assert problem.hint == (
        "write the bare URL; keep user and password in ~/.netrc, a keyring, or UV_INDEX_<NAME>_USERNAME and "
        "UV_INDEX_<NAME>_PASSWORD"
    )


@pytest.mark.parametrize(
    ("line", "path", "column"),
    [
        ('exclude: [{python: "3.12", url: "https://me:hunter2@corp.example/1"}]', "exclude[0].url", 33),
        ('exclude: [{python: "3.12", reason: "see https://hunter2@corp.example"}]', "exclude[0].reason", 36),
        ('verify: {commands: ["git clone https://hunter2@corp.example/x"]}', "verify.commands[0]", 21),
        ('verify: {commands: ["curl -x socks5://me:hunter2@proxy.example x"]}', "verify.commands[0]", 21),
    ],
)
def test_what_is_shown_and_kept_may_carry_none_either(line: str, path: str, column: int) -> None:
    problem = refused(line)
    assert (problem.path, problem.line, problem.column) == (path, 4, column)
    assert problem.message == "carries credentials, and this file is committed"
    assert problem.hint


@pytest.mark.parametrize(
    "line",
    [
        'sources: {corp: {index: "https://corp.example/me@simple", packages: [corp]}}',
        'exclude: [{python: "3.12", url: "https://corp.example/@me/1?x=a@b", reason: "ask me@corp.example"}]',
        'verify: {commands: ["git clone git+ssh://git@corp.example/x@v1", "echo a@b"]}',
    ],
)
def test_an_at_sign_alone_is_no_credential(line: str) -> None:
    assert load(line).version == 1
