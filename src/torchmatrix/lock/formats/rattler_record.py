"""An artifact as rattler knows packages. Import it where rattler is needed anyway: that takes a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rattler import RepoDataRecord

    from torchmatrix.lock.model import Artifact


def repodata_record(artifact: Artifact, url: str, channel: str) -> RepoDataRecord:
    """The record of a conda package that is at ``url``; ``channel`` is its conda channel's address, label included.

    A wheel or sdist is a `TypeError`.
    """
    from rattler import NoArchType, PackageRecord, RepoDataRecord
    from rattler.package.build_string import BuildString

    conda = artifact.conda
    if conda is None:
        raise TypeError(f"{artifact.name} {artifact.version} is no conda package")
    noarch = {None: None, "python": NoArchType("python"), "generic": NoArchType("generic")}[conda.noarch]
    package = PackageRecord(
        name=artifact.name,
        version=str(artifact.version),
        build=BuildString.new_unchecked(conda.build),  # old packages break the rules of CEP 26
        build_number=conda.number,
        subdir=conda.subdir,
        noarch=noarch,
        depends=list(conda.depends),
        constrains=list(conda.constrains),
        sha256=bytes.fromhex(artifact.sha256),
        md5=bytes.fromhex(conda.md5) if conda.md5 else None,
        size=artifact.size,
        python_site_packages_path=conda.site_packages,
    )
    return RepoDataRecord(package, artifact.file, url, channel)
