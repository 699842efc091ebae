"""The standard scene of each backend, for tests that hold for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.backends import CondaScenario, PipScenario

if TYPE_CHECKING:
    from tests.support.backends import Scenario


@pytest.fixture(params=["pip", "conda"])
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """A cell of the backend with its servers, fresh for the test."""
    if request.param == "conda":
        return CondaScenario(scene=request.getfixturevalue("conda_scene"))
    return PipScenario(scene=request.getfixturevalue("scene"))
