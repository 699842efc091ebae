"""When a lockfile of nightlies stops being installable from its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    from torchmatrix.lock.model import Lockfile

WARN_DAYS = 14
"""How long before it expires a lockfile is warned about."""


def expiry_warning(lockfile: Lockfile | None, today: dt.date) -> str | None:
    """What to say about a lockfile whose nightlies are about to leave the index, ``None`` when that is not near."""
    if lockfile is None or lockfile.expires is None:
        return None
    left = (lockfile.expires - today).days
    if left > WARN_DAYS:
        return None
    when = f"in {left} day{'s' * (left != 1)}, on {lockfile.expires}" if left > 0 else f"since about {lockfile.expires}"
    verb = "will not list" if left > 0 else "may not list"
    pinned = str(lockfile.inputs.get("torch", "")).startswith("nightly ")
    upgrade = f"renew it with `torchmatrix lock {lockfile.cell} --upgrade`"
    renew = "name a later day in matrix.yaml" if pinned else upgrade
    return (
        f"{lockfile.cell}: the index {verb} torch {lockfile.torch} any more {when}; keep it with "
        f"`torchmatrix bundle {lockfile.cell}`, or {renew}"
    )
