"""What a process inside a conda environment sees: the variables that activating the environment leaves behind.

As ``conda run`` has it, without conda: the environment's own variables, then its activation scripts in a shell that
writes down its variables before and after them. Only the difference is taken over, so nothing that a shell or an
interpreter adds by itself gets in. rattler's activation script is not used: it writes values between double quotes,
where a ``$`` in a folder's name means something else.
"""

from __future__ import annotations

import json
import ntpath
import os
import posixpath
import re
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torchmatrix.command import Command, redact
from torchmatrix.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torchmatrix.command import Outcome

LIMIT_SECONDS = 60.0
"""How long all activation scripts of an environment may take together."""

_UNSET = "***unset***"
"""What conda writes into its state for a variable that was taken back."""
_INTERPRETER = {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT"}
"""Of another Python environment, as the native sandbox drops them."""
_ACTIVE = re.compile(
    r"CONDA_(?:PREFIX|DEFAULT_ENV|PROMPT_MODIFIER|SHLVL|PREFIX_\d+|STACKED_\d+)|__CONDA_SHLVL_\d+_.*", re.DOTALL
)
"""What conda keeps of the environments that are active, and of what their activation replaced."""
_AT_START = {"BASH_ENV", "SHELLOPTS", "BASHOPTS"}
"""Would have our shell run something else first, or set its options."""
_OF_SHELL = {"PWD", "OLDPWD", "SHLVL", "_", "SHELLOPTS", "BASHOPTS"}
"""Say where and how a shell runs, not what it was told to pass on."""
_TAIL_LINES = 6

# Whatever Python the environment has runs it, so it keeps to what Python 3.4 knows. The second argument is what the
# shell has for LC_CTYPE: an interpreter started in the C locale sets that variable for itself.
_DUMP = """\
import os, sys
if os.supports_bytes_environ:
    found = dict(os.environb)
    if sys.argv[2:] and sys.argv[2]:
        found[b"LC_CTYPE"] = os.fsencode(sys.argv[2])
    else:
        found.pop(b"LC_CTYPE", None)
else:
    found = {k.encode("utf-8", "surrogatepass"): v.encode("utf-8", "surrogatepass") for k, v in os.environ.items()}
with open(sys.argv[1] + ".part", "wb") as file:
    file.write(b"\\0".join(k + b"=" + v for k, v in found.items()))
os.replace(sys.argv[1] + ".part", sys.argv[1])
"""


def activated(
    prefix: Path,
    base: Mapping[str, str],
    run: Callable[[Command], Outcome],
    *,
    windows: bool = os.name == "nt",
    limit: float = LIMIT_SECONDS,
) -> dict[str, str]:
    """The variables of a process inside the conda environment at ``prefix`` (absolute), started by one with ``base``.

    Environments that are active in ``base`` count as deactivated; what their scripts set stays, since only running
    their deactivation scripts would tell. ``run`` is called only where the environment has activation scripts, which
    get ``limit`` seconds. Raises `HostError` when one of them ends or blocks the shell, and when a file that holds
    variables is damaged.
    """
    env = _deactivated({name.upper() if windows else name: value for name, value in base.items()}, windows=windows)
    path = env.get("PATH", os.defpath)
    env["PATH"] = (";" if windows else ":").join([*_path_entries(prefix, windows=windows), *([path] if path else [])])
    env["CONDA_PREFIX"] = env["CONDA_DEFAULT_ENV"] = str(prefix)
    env["CONDA_SHLVL"] = "1"
    for name, value in _declared(prefix).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    scripts = _scripts(prefix, ".bat" if windows else ".sh")
    if not scripts:
        return env
    python, shell = _python(prefix, windows=windows), _shell(base, windows=windows)
    with tempfile.TemporaryDirectory(prefix="conda-activate-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        activation = _Activation(prefix=prefix, scripts=scripts, python=python, folder=folder, windows=windows)
        return activation.result(env, run, shell, limit)


def _path_entries(prefix: Path | str, *, windows: bool) -> list[str]:
    """What activating ``prefix`` puts in front of PATH, in conda's order."""
    if not windows:
        return [posixpath.join(prefix, "bin")]
    below = (r"Library\mingw-w64\bin", r"Library\usr\bin", r"Library\bin", "Scripts", "bin")
    return [str(prefix).rstrip("\\"), *(ntpath.join(prefix, folder) for folder in below)]


def _deactivated(base: Mapping[str, str], *, windows: bool) -> dict[str, str]:
    """``base`` before any environment was activated, as far as conda and the environments themselves tell."""
    env = {name: value for name, value in base.items() if name not in _INTERPRETER and not _ACTIVE.fullmatch(name)}
    dropped: set[str] = set()

    def normal(entry: str) -> str:
        return ntpath.normcase(ntpath.normpath(entry)) if windows else posixpath.normpath(entry)

    for level, prefix in _active(base):
        dropped.update(normal(entry) for entry in _path_entries(prefix, windows=windows))
        try:
            names = _declared(Path(prefix))
        except HostError:  # another environment's trouble
            continue
        for name in names:
            if replaced := base.get(f"__CONDA_SHLVL_{level - 1}_{name}"):
                env[name] = replaced
            else:
                env.pop(name, None)
    if dropped and "PATH" in env:
        separator = ";" if windows else ":"
        kept = [entry for entry in env["PATH"].split(separator) if normal(entry) not in dropped]
        env["PATH"] = separator.join(kept)
    return env


def _active(base: Mapping[str, str]) -> list[tuple[int, str]]:
    """Level and folder of every active environment, the last activated first."""
    found = {int(name[13:]): value for name, value in base.items() if re.fullmatch(r"CONDA_PREFIX_[1-9]\d{0,3}", name)}
    if prefix := base.get("CONDA_PREFIX"):
        level = base.get("CONDA_SHLVL", "").strip()
        found[int(level) if re.fullmatch(r"[1-9]\d{0,3}", level) else max(found, default=0) + 1] = prefix
    return sorted(((level, prefix) for level, prefix in found.items() if prefix), reverse=True)


# variables that files declare


def _declared(prefix: Path) -> dict[str, str | None]:
    """The environment's own variables: its packages' in order of file names, then those of its state; ``None`` unsets.

    Names are in capitals, as conda's default is.
    """
    found: dict[str, str | None] = {}
    for file in sorted(one for one in (prefix / "etc" / "conda" / "env_vars.d").glob("*.json") if one.is_file()):
        found.update(_variables(file, _object(file)))
    state = prefix / "conda-meta" / "state"
    if state.is_file():
        content = _object(state).get("env_vars", {})
        if not isinstance(content, dict):
            raise _damaged(state, "its env_vars are not a JSON object")
        found.update(_variables(state, content))
    return {name: value for name, value in found.items() if value != _UNSET}


def _object(file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise HostError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"it is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise _damaged(file, "it is not a JSON object")
    return content


def _variables(file: Path, content: dict[str, object]) -> Iterator[tuple[str, str | None]]:
    for name, value in content.items():
        if value is not None and not isinstance(value, (str, int, float)):
            raise _damaged(file, f"the value of {name} is not text")
        text = None if value is None else str(value)
        try:
            usable = name and b"=" not in os.fsencode(name) and b"\0" not in os.fsencode(f"{name}{text}")
        except UnicodeEncodeError:
            usable = False
        if not usable:
            raise _damaged(file, f"{name!r} cannot be an environment variable with that value")
        yield name.upper(), text


def _damaged(file: Path, why: str) -> HostError:
    return HostError(
        f"{file}: cannot take the environment's variables from it: {why}",
        hint="remove the environment and build it again; if the file comes back like this, its package is at fault",
    )


# scripts


def _scripts(prefix: Path, extension: str) -> list[Path]:
    folder = prefix / "etc" / "conda" / "activate.d"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.endswith(extension) and path.is_file())


def _python(prefix: Path, *, windows: bool) -> str:
    own = prefix / "python.exe" if windows else prefix / "bin" / "python"
    return str(own) if own.is_file() else sys.executable


def _shell(base: Mapping[str, str], *, windows: bool) -> str:
    """Activation scripts are written for bash, whatever they say."""
    if windows:
        return next((value for name, value in base.items() if name.upper() == "COMSPEC" and value), "cmd.exe")
    path = base.get("PATH", os.defpath)
    return shutil.which("bash", path=path) or shutil.which("sh", path=path) or "/bin/sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Activation:
    """One run of an environment's activation scripts; everything it writes is in ``folder``."""

    prefix: Path
    scripts: list[Path]
    python: str
    folder: Path
    windows: bool

    def result(
        self, env: Mapping[str, str], run: Callable[[Command], Outcome], shell: str, limit: float
    ) -> dict[str, str]:
        """``env`` with what the scripts changed."""
        (self.folder / "dump.py").write_text(_DUMP, encoding="ascii")
        driver = self.folder / ("activate.bat" if self.windows else "activate.sh")
        if self.windows:
            driver.write_bytes(_batch(self).encode("utf-8", "surrogatepass"))
        else:
            driver.write_bytes(os.fsencode(_posix(self)))
        argv = (shell, "/d", "/c", str(driver)) if self.windows else (shell, str(driver))
        started = {name: value for name, value in env.items() if name not in _AT_START}
        outcome = run(Command(argv=argv, env=started, timeout=limit))
        if not all((self.folder / name).is_file() for name in ("before", "after")):
            raise self._trouble(outcome, limit)
        return self._changed(env)

    def _changed(self, env: Mapping[str, str]) -> dict[str, str]:
        before, after = self._dumped("before"), self._dumped("after")
        changed = dict(env)
        for name in before.keys() | after.keys():
            of_bash = name.startswith("BASH_") and not name.startswith("BASH_FUNC_") and name not in env
            if name in _OF_SHELL or of_bash or before.get(name) == after.get(name):
                continue
            if name in after:
                changed[name] = after[name]
            else:
                changed.pop(name, None)
        return changed

    def _dumped(self, name: str) -> dict[str, str]:
        found = {}
        for entry in filter(None, (self.folder / name).read_bytes().split(b"\0")):
            text = entry.decode("utf-8", "surrogatepass") if self.windows else os.fsdecode(entry)
            key, _, value = text.partition("=")
            found[key] = value
        return found

    def _trouble(self, outcome: Outcome, limit: float) -> HostError:
        begun = [script for number, script in enumerate(self.scripts) if (self.folder / f"script-{number}").exists()]
        hint = None
        if begun and not (self.folder / "done").exists():
            ended = f"did not end within {limit:g} s" if outcome.timed_out else _ended(outcome.returncode)
            why = f"its activation script {begun[-1]} {ended}"
            hint = "see what the script does and what it expects; another build of its package may do without it"
        elif outcome.timed_out:
            why = f"{outcome.command.argv[0]} or {self.python} did not end within {limit:g} s"
        else:
            when = "after its activation scripts " if (self.folder / "before").exists() else ""
            why = f"{when}{self.python} cannot be run to read the variables"
        log = self.folder / "log"
        said = (log.read_text(encoding="utf-8", errors="replace") if log.is_file() else "") + outcome.stderr
        lines = [line.rstrip() for line in redact(said).splitlines() if line.strip()][-_TAIL_LINES:]
        detail = "".join(f"\n  {line}" for line in lines)
        return HostError(f"cannot activate the conda environment {self.prefix}: {why}{detail}", hint=hint)


def _ended(code: int) -> str:
    return f"ended the shell with exit code {code}" if code >= 0 else f"ended the shell with signal {-code}"


def _posix(activation: _Activation) -> str:
    """The shell script for bash and sh. Whatever options a script leaves behind, the rest must still run."""

    def at(name: str) -> str:
        return shlex.quote(str(activation.folder / name))

    dump = f'{shlex.quote(activation.python)} -I -S -B {at("dump.py")} %s "${{LC_CTYPE-}}"'
    settle = "set +efuvxC"
    # Into a file, not a pipe: what a script leaves running in the background would keep a pipe open.
    lines = [f"exec >{at('log')} 2>&1 </dev/null", dump % at("before")]
    for number, script in enumerate(activation.scripts):
        # A bare dot ends every shell but bash when the file has a syntax error.
        lines += [settle, f">{at(f'script-{number}')}", f"command . {shlex.quote(str(script))}"]
    lines += [settle, f">{at('done')}", dump % at("after")]
    return "\n".join([*lines, ""])


def _batch(activation: _Activation) -> str:
    """The same for cmd.exe."""

    def quoted(path: Path | str) -> str:
        return '"' + str(path).replace("%", "%%") + '"'

    log = f">>{quoted(activation.folder / 'log')} 2>&1"

    def dump(name: str) -> str:
        files = f"{quoted(activation.folder / 'dump.py')} {quoted(activation.folder / name)}"
        return f"@{quoted(activation.python)} -I -S -B {files} {log}"

    lines = ["@ECHO OFF", dump("before")]
    for number, script in enumerate(activation.scripts):
        # CALL reads its line a second time.
        called = quoted(script).replace("%", "%%")
        lines += [f"@TYPE NUL >{quoted(activation.folder / f'script-{number}')}", f"@CALL {called} {log}"]
    lines += [f"@TYPE NUL >{quoted(activation.folder / 'done')}", dump("after")]
    if not all(line.isascii() for line in lines):
        lines.insert(1, "@CHCP 65001 >NUL")
    return "\r\n".join([*lines, ""])
