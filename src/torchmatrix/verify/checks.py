"""What is expected of an environment: the spec that probe/ reads. Pure; the checks themselves are in probe/."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from torchmatrix.errors import CellError
from torchmatrix.matrix.model import Backend
from torchmatrix.target import Accelerator, AcceleratorKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.version import Version

    from torchmatrix.lock.conda_version import CondaVersion
    from torchmatrix.matrix.model import Cell

SCHEMA = 1
"""Version of the spec; the probe refuses any other."""
MIN_DRIVERS: Mapping[str, str] = MappingProxyType({"11": "450.80", "12": "525.60", "13": "580"})
"""Oldest NVIDIA driver by major version of CUDA (NVIDIA's minor version compatibility), where no other is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check of the probe and the seconds it may take; generous, since they only guard against hanging."""

    id: str
    limit: float
    package: str | None = None
    """Distribution without which the check has no object."""


CHECKS: tuple[Check, ...] = (
    Check(id="import", limit=300),
    Check(id="version", limit=30),
    Check(id="variant", limit=30),
    Check(id="distributions", limit=60),
    Check(id="tensor", limit=60),
    Check(id="matmul", limit=60),
    Check(id="autograd", limit=60),
    Check(id="regression", limit=120),
    Check(id="dtypes", limit=60),
    Check(id="conv2d", limit=60),
    Check(id="svd", limit=60),
    Check(id="fft", limit=60),
    Check(id="save-load", limit=60),
    Check(id="dataloader", limit=120),
    Check(id="compile", limit=600),
    Check(id="numpy", limit=60, package="numpy"),
    Check(id="vision-nms", limit=120, package="torchvision"),
    Check(id="vision-transforms", limit=120, package="torchvision"),
    Check(id="audio-resample", limit=120, package="torchaudio"),
    Check(id="environment-digest", limit=300),
)
"""In the order they are shown and run; but the two that look at files alone run first, before torch touches anything.
Devices (see `device_check`) come last, since a CUDA context does not survive the forks of the data loader."""
LOCKED_ONLY = ("distributions", "version", "variant")
"""Checks that compare with a lockfile."""
NOT_LOCKED = "nothing is locked for this interpreter"
DEVICE_LIMIT = 180.0
"""Seconds for a device: the first CUDA context may compile PTX."""


def device_check(device: str) -> str:
    """The id of the check that grades a device: cpu, cuda, mps, rocm or xpu."""
    return f"device-{device}"


def expectations(
    cell: Cell,
    distributions: Mapping[str, Version | CondaVersion],
    *,
    expected_local: str | None,
    min_driver: str | None = None,
    min_macos: str | None = None,
    pypi_accelerator: Accelerator | None = None,
    project_names: Iterable[str] = (),
    environment_digest: str | None = None,
) -> dict[str, object]:
    """The spec for a cell built from a lockfile with ``distributions``.

    ``expected_local``: local version that ``torch.__version__`` must have, ``None`` where the build has none or it is
    not known. ``min_driver`` / ``min_macos``: oldest NVIDIA driver / macOS for the cell's accelerator, from the
    catalog. ``pypi_accelerator``: which build PyPI carries for this release and platform, when that is the cell's
    source; it explains a wrong variant. ``project_names``: distributions of the project under test, left out of
    ``distributions`` and the digest. ``environment_digest``: compare with it. Raises `CellError` when the lockfile
    has no torch.
    """
    torch = distributions.get("torch") or distributions.get("pytorch")
    if torch is None:
        raise CellError(f"{cell.id}: its lockfile has no torch, so there is nothing to verify")
    accelerator = cell.target.accelerator
    devices = dict.fromkeys(("cpu", accelerator.kind.value))
    return {
        "schema": SCHEMA,
        "torch": {
            "version": str(torch),
            "local": expected_local,
            "accelerator": str(accelerator),
            "kind": accelerator.kind.value,
            "release": accelerator.version,
            "conda": cell.backend is Backend.CONDA,
            "remark": _pypi_remark(cell, pypi_accelerator),
        },
        "distributions": {name: str(version) for name, version in sorted(distributions.items())},
        "project": sorted(project_names),
        "environment_digest": environment_digest,
        "min_drivers": _min_drivers(accelerator, min_driver),
        "min_macos": min_macos or (cell.target.macos_floor if cell.target.platform.is_macos else None),
        "checks": [
            *({"id": check.id, "limit": check.limit} for check in CHECKS if _concerns(check, distributions)),
            *({"id": device_check(device), "limit": DEVICE_LIMIT, "required": True} for device in devices),
        ],
    }


def generic_expectations() -> dict[str, object]:
    """The spec for any interpreter (``verify --python``): what needs a lockfile is skipped, every device is graded."""
    checks: list[dict[str, object]] = []
    for check in CHECKS:
        entry: dict[str, object] = {"id": check.id, "limit": check.limit}
        if check.id in LOCKED_ONLY:
            entry["skip"] = NOT_LOCKED
        if check.package:
            entry["optional"] = True
        checks.append(entry)
    checks += [{"id": device_check(kind.value), "limit": DEVICE_LIMIT} for kind in AcceleratorKind]
    return {
        "schema": SCHEMA,
        "torch": {},
        "distributions": {},
        "project": [],
        "environment_digest": None,
        "min_drivers": dict(MIN_DRIVERS),
        "min_macos": None,
        "checks": checks,
    }


def time_limit(spec: Mapping[str, object]) -> float:
    """Seconds after which a probe of ``spec`` is stuck itself: each check, torch imported anew for it, and a minute."""
    checks = spec["checks"]
    if not isinstance(checks, list):
        raise TypeError(f"the checks of a spec are a list, not {checks!r}")
    limits = {str(check["id"]): float(check["limit"]) for check in checks}
    return sum(limits.values()) + len(limits) * limits.get("import", 0.0) + 60.0


def _concerns(check: Check, distributions: Mapping[str, Version | CondaVersion]) -> bool:
    return check.package is None or check.package in distributions


def _min_drivers(accelerator: Accelerator, min_driver: str | None) -> dict[str, str]:
    drivers = dict(MIN_DRIVERS)
    if min_driver and accelerator.kind is AcceleratorKind.CUDA and accelerator.version:
        drivers[accelerator.version.partition(".")[0]] = min_driver
    return drivers


def _pypi_remark(cell: Cell, carried: Accelerator | None) -> str | None:
    if carried is None or carried.label == cell.target.accelerator.label:
        return None
    return (
        f"PyPI carries the {carried} build for {cell.target.platform}: `source: pytorch` has {cell.target.accelerator}"
    )
