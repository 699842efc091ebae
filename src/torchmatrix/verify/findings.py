"""What the checks found, as the rest of the program and the JSON contract see it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from torchmatrix.errors import CellError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchmatrix.command import Outcome

TAIL_LINES = 20
"""How much of a process's last words goes into an error or a reason."""

_NO_FACTS = ("passed", "findings", "environment_digest")


class Status(StrEnum):
    """The outcome of a check. Skipped is neither: it could not be done here, and its reason says why."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    check: str
    status: Status
    expected: str | None = None
    actual: str | None = None
    reason: str | None = None
    """Why it failed or was skipped; ``None`` when it passed."""
    seconds: float = 0.0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read one finding of the probe; ``KeyError``, ``TypeError`` or ``ValueError`` when it is none."""
        return cls(
            check=value["check"],
            status=Status(value["status"]),
            expected=value["expected"],
            actual=value["actual"],
            reason=value["reason"],
            seconds=float(value["seconds"]),
        )

    def to_json(self) -> dict[str, object]:
        """The finding with the keys of the JSON contract."""
        return {
            "check": self.check,
            "status": self.status.value,
            "expected": self.expected,
            "actual": self.actual,
            "reason": self.reason,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All findings about one environment, in the order of the checks."""

    findings: tuple[Finding, ...]
    digest: str | None = None
    """Environment digest ``sha256:…``; ``None`` when it was not asked for or could not be taken."""
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """python, machine, torch, devices (grades) and peak_memory (bytes), as the probe saw them."""

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that make a cell red."""
        return self._with(Status.FAILED)

    @property
    def skipped(self) -> tuple[Finding, ...]:
        """The findings about checks that could not be done here."""
        return self._with(Status.SKIPPED)

    def _with(self, status: Status) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.status is status)

    def plus(self, *findings: Finding) -> Verification:
        """The same with more findings at the end (the user's own commands)."""
        return replace(self, findings=(*self.findings, *findings))

    @classmethod
    def from_probe(cls, text: str) -> Self:
        """Read what the probe printed, or `to_json` as text; `CellError` when it is neither."""
        try:
            answer = json.loads(text)
            facts = {key: value for key, value in answer.items() if key not in _NO_FACTS}
            return cls(
                findings=tuple(Finding.from_json(value) for value in answer["findings"]),
                digest=answer["environment_digest"],
                facts=MappingProxyType(facts),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            shown = f"{text.strip()[:200]!r}" if text.strip() else "nothing"
            raise CellError(f"the probe did not answer with findings: it printed {shown}") from error

    def to_json(self) -> dict[str, object]:
        """The verification with the keys of the JSON contract."""
        return {
            "passed": self.passed,
            "environment_digest": self.digest,
            "findings": [finding.to_json() for finding in self.findings],
            **self.facts,
        }


def command_finding(text: str, outcome: Outcome) -> Finding:
    """The finding about one of the user's ``verify: commands``; ``text`` is the command as the matrix has it."""
    passed = outcome.ok
    return Finding(
        check=f"command: {text}",
        status=Status.PASSED if passed else Status.FAILED,
        expected="exit code 0",
        actual=ending(outcome),
        reason=None if passed else tail(outcome) or f"it ended with {ending(outcome)} and printed nothing",
        seconds=round(outcome.seconds, 3),
    )


def ending(outcome: Outcome) -> str:
    """How a process ended, in words."""
    if outcome.timed_out:
        return f"no end within {outcome.command.timeout:g} s" if outcome.command.timeout else "no end in time"
    return f"signal {-outcome.returncode}" if outcome.returncode < 0 else f"exit code {outcome.returncode}"


def tail(outcome: Outcome) -> str:
    """The last lines that a process wrote, those on stderr if there are any; without credentials."""
    from torchmatrix.command import redact

    text = outcome.stderr.strip() or outcome.stdout.strip()
    return redact("\n".join(text.splitlines()[-TAIL_LINES:]))
