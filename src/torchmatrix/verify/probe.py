"""Runs inside an environment and says what it is: ``PY -I probe.py SPEC.json``, or ``-`` for the spec on stdin.

Needs Python 3.8 or later and nothing but the standard library and the torch under test. Prints one JSON object on
stdout, whatever torch prints there. The checks run in a child process that imports torch once; a check that hangs or
crashes costs that child alone: the check is `failed`, and a new child goes on with the next one.
"""

# ruff: noqa: B905, PLW0108 - Python 3.8 has no zip(strict=), and a lambda around a missing attribute must not raise early
from __future__ import annotations

import cmath
import concurrent.futures
import configparser
import contextlib
import csv
import ctypes
import faulthandler
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import queue
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, NoReturn, Sequence, Tuple

SCHEMA = 1
"""Version of the spec and of the answer; checks.py writes the same one."""
BLOCK = 1 << 20
"""Bytes read at a time; hashlib lets other threads run for blocks of this size."""
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
WITHOUT_TORCH = ("distributions", "environment-digest")
"""Checks that look at files alone."""
POLL_SECONDS = 0.1
REASON_CHARACTERS = 1000


class Failed(Exception):  # noqa: N818 - the word of the contract
    """The check looked and found something else."""

    def __init__(self, expected: object, actual: object, reason: str) -> None:
        super().__init__(reason)
        self.expected, self.actual, self.reason = expected, actual, reason


class Skipped(Exception):  # noqa: N818 - the word of the contract
    """The check cannot run here; the message says why."""


class Context:
    """What a check may look at: the spec, its own entry there, a scratch folder, and torch when it asks for it."""

    def __init__(self, spec: Dict[str, Any], folder: str, tell: Callable[[Dict[str, Any]], None]) -> None:
        self.spec, self.folder, self._tell = spec, folder, tell
        self._torch: Any = None
        self.check: Dict[str, Any] = {}
        self.extra: Dict[str, Any] = {}
        self.prefix: str = spec.get("prefix") or sys.prefix

    @property
    def torch(self) -> Any:
        """The torch under test, imported at the first use."""
        if self._torch is None:
            self._torch = importlib.import_module("torch")
            self._tell({"event": "imported", "torch": torch_facts(self._torch)})
        return self._torch

    @property
    def asked(self) -> Dict[str, Any]:
        """What the spec says about torch."""
        asked: Dict[str, Any] = self.spec.get("torch") or {}
        return asked


Result = Tuple[object, object]
"""Expected and actual of a check that passed."""


def equal(expected: object, actual: object, what: str) -> Result:
    """The result of a check on one value; raises `Failed` when it differs."""
    if expected != actual:
        raise Failed(expected, actual, f"{what} is {actual}, expected {expected}")
    return expected, actual


def near(expected: Sequence[float], actual: Sequence[float], what: str, tolerance: float = 1e-4) -> Result:
    """The same for rows of numbers, with an absolute and relative tolerance; NaN is never near."""
    same = len(expected) == len(actual)
    if not same or not all(math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) for a, b in zip(expected, actual)):
        raise Failed(_brief(expected), _brief(actual), f"{what} is wrong")
    return _brief(expected), _brief(actual)


def _brief(values: Sequence[float]) -> str:
    more = ", …" if len(values) > 6 else ""
    return "[" + ", ".join(f"{value:.6g}" for value in values[:6]) + more + "]"


def _flat(tensor: Any) -> List[float]:
    values: List[float] = tensor.reshape(-1).tolist()
    return values


# --- what is installed -----------------------------------------------------------------------------------------------


def normalized(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


_PEP440 = re.compile(
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>alpha|beta|preview|a|b|c|rc|pre)[-_.]?(?P<pre_n>\d*))?"
    r"(?P<post>-(?P<post_i>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_n>\d*))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_n>\d*))?(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?",
    re.IGNORECASE,
)
_PRE = {"alpha": "a", "beta": "b", "preview": "rc", "c": "rc", "pre": "rc"}


def canonical(version: str) -> str:
    """A version in the normal form of PEP 440; unchanged when it is none (conda has others)."""
    match = _PEP440.fullmatch(version.strip())
    if match is None:
        return version
    text = f"{int(match['epoch'])}!" if match["epoch"] and int(match["epoch"]) else ""
    text += ".".join(str(int(part)) for part in match["release"].split("."))
    if match["pre"]:
        pre = match["pre"].lower()
        text += _PRE.get(pre, pre) + str(int(match["pre_n"] or 0))
    if match["post"]:
        text += f".post{int(match['post_i'] or match['post_n'] or 0)}"
    if match["dev"]:
        text += f".dev{int(match['dev_n'] or 0)}"
    if match["local"]:
        parts = re.split(r"[-_.]", match["local"].lower())
        text += "+" + ".".join(str(int(part)) if part.isdigit() else part for part in parts)
    return text


def site_folders(prefix: str) -> List[str]:
    """The environment's own site-packages, those of the base interpreter never."""
    found = [os.path.join(prefix, "Lib", "site-packages")] if os.name == "nt" else []
    for lib in ("lib", "lib64"):
        base = os.path.join(prefix, lib)
        if os.name != "nt" and os.path.isdir(base) and not os.path.islink(base):
            found += [os.path.join(base, name, "site-packages") for name in sorted(os.listdir(base))]
    return [folder for folder in found if os.path.isdir(folder)]


def distributions(prefix: str) -> Iterator[Tuple[str, importlib.metadata.Distribution]]:
    """Normalized name and distribution of everything in the environment's site-packages."""
    for distribution in importlib.metadata.distributions(path=site_folders(prefix)):
        try:
            name = distribution.metadata["Name"]
        except Exception:
            name = None
        yield normalized(name) if name else f"(no metadata in {getattr(distribution, '_path', '?')})", distribution


def conda_records(prefix: str) -> List[Dict[str, Any]]:
    """The records of conda packages, empty outside a conda environment."""
    folder = os.path.join(prefix, "conda-meta")
    if not os.path.isdir(folder):
        return []
    records = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as stream:
                records.append(json.load(stream))
    return records


def installed(prefix: str) -> Dict[str, List[str]]:
    """Name and versions (more than one when metadata was left behind) of everything in the environment.

    In a conda environment these are conda's packages, and besides them what something else put into site-packages.
    """
    found: Dict[str, List[str]] = {}
    records = conda_records(prefix)
    owned: set[str] = set()
    for record in records:
        found.setdefault(record["name"], []).append(str(record["version"]))
        owned.update(path for path in record.get("files", ()) if path.endswith(("METADATA", "PKG-INFO", ".egg-info")))
    folders = {os.path.dirname(path) for path in owned} | owned
    for name, distribution in distributions(prefix):
        path = os.path.relpath(str(getattr(distribution, "_path", "")), prefix).replace(os.sep, "/")
        if path not in folders:
            version = distribution.version or "no version"
            found.setdefault(name, []).append(version)
    return found


def check_distributions(context: Context) -> Result:
    """Every locked distribution at its version, and nothing else."""
    locked: Dict[str, str] = context.spec["distributions"]
    project = {normalized(name) for name in context.spec.get("project", ())}
    present = {name: versions for name, versions in installed(context.prefix).items() if name not in project}
    problems = []
    for name, version in sorted(locked.items()):
        versions = present.get(name)
        if versions is None:
            problems.append(f"{name} {version} is locked and not installed")
        elif [canonical(text) for text in versions] != [canonical(version)]:
            problems.append(f"{name} is {' and '.join(versions)}, locked is {version}")
    extra = sorted(set(present) - set(locked))
    problems += [f"{name} {' and '.join(present[name])} is installed and not locked" for name in extra]
    if problems:
        raise Failed(f"{len(locked)} locked distributions", f"{len(present)} installed", "; ".join(problems))
    return f"{len(locked)} locked distributions", f"{len(present)} installed, each at its version"


# --- environment digest ----------------------------------------------------------------------------------------------

_INSTALLER_FILES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
_VENV_ROOT = {"pyvenv.cfg", ".gitignore", "CACHEDIR.TAG", ".lock", "lib64"}
_VENV_SCRIPT = re.compile(
    r"(?i)(?:python|𝜋thon|pypy)w?[\d.]*t?(?:\.exe)?|(?:de)?activate(?:[._].*)?|pydoc\.bat|venvw?(?:launcher)?\.exe"
)
_SCRIPT_FOLDERS = ("bin", "Scripts")


def environment_digest(prefix: str, skip_dists: Sequence[str] = ()) -> str:
    """``sha256:…`` over the files of the environment at ``prefix``: for each, sorted, its path, NUL, its own sha256.

    Equal for two folders, whatever tool made and filled them. Left out: bytecode, what installers note down for
    themselves, what belongs to the venv and not to a package, and the files of ``skip_dists``.
    """
    prefix = os.path.realpath(prefix)
    skip = {normalized(name) for name in skip_dists}
    left_out, scripts = _files_and_scripts(prefix, skip)
    blanked = {path for record in conda_records(prefix) for path in _relocated(record)}
    paths = [path for path in _walk(prefix) if path not in left_out]

    def hash_one(path: str) -> str:
        return _hash_entry(prefix, path, scripts, path in blanked)

    # The largest first: libtorch alone is half of an environment, and nobody should wait for it at the end.
    order = sorted(paths, key=lambda path: -os.lstat(os.path.join(prefix, path)).st_size)
    with concurrent.futures.ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        hashes = dict(zip(order, pool.map(hash_one, order, chunksize=1)))
    total = hashlib.sha256()
    for path in sorted(os.fsencode(name) for name in paths):
        total.update(path + b"\0" + hashes[os.fsdecode(path)].encode() + b"\n")
    return "sha256:" + total.hexdigest()


def _walk(prefix: str) -> Iterator[str]:
    """Paths below ``prefix`` with slashes, files and links, those that never count left out."""
    venv = os.path.isfile(os.path.join(prefix, "pyvenv.cfg"))
    stack = [""]
    while stack:
        folder = stack.pop()
        with os.scandir(os.path.join(prefix, folder)) as entries:
            for entry in entries:
                path = folder + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__" and path != "conda-meta":
                        stack.append(path + "/")
                elif entry.name.endswith((".pyc", ".pyo")) or (venv and _of_venv(folder, entry.name)):
                    continue
                elif not (folder.endswith(".dist-info/") and entry.name in _INSTALLER_FILES):
                    yield path


def _of_venv(folder: str, name: str) -> bool:
    if folder == "":
        return name in _VENV_ROOT
    if folder.rstrip("/") in _SCRIPT_FOLDERS:
        return _VENV_SCRIPT.fullmatch(name) is not None
    return folder.endswith("/site-packages/") and name in ("_virtualenv.py", "_virtualenv.pth")


def _files_and_scripts(prefix: str, skip: set[str]) -> Tuple[set[str], Dict[str, set[str]]]:
    """Files of the distributions to skip, and the entry points of each script name."""
    left_out = set()
    scripts: Dict[str, set[str]] = {}
    for name, distribution in distributions(prefix):
        if name in skip:
            for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
                full = os.path.normpath(os.path.join(str(distribution.locate_file("")), *row[0].split("/")))
                left_out.add(os.path.relpath(full, prefix).replace(os.sep, "/"))
            continue
        parser = configparser.ConfigParser(delimiters=("=",), strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # script names keep their case
        with contextlib.suppress(configparser.Error):
            parser.read_string(distribution.read_text("entry_points.txt") or "")
        for section in ("console_scripts", "gui_scripts"):
            for script, target in parser.items(section) if parser.has_section(section) else ():
                scripts.setdefault(script, set()).add(re.sub(r"\s|\[.*", "", target))
    return left_out, scripts


def _relocated(record: Mapping[str, Any]) -> Iterator[str]:
    for path in (record.get("paths_data") or {}).get("paths", ()):
        if path.get("prefix_placeholder"):
            yield path["_path"]


def _hash_entry(prefix: str, path: str, scripts: Mapping[str, set[str]], blank: bool) -> str:
    full = os.path.join(prefix, path)
    if os.path.islink(full):
        target = os.path.realpath(full)
        if target.startswith(prefix + os.sep) or not os.path.isfile(target):
            link = os.readlink(full)
            inside = os.path.isabs(link) and target.startswith(prefix + os.sep)
            text = os.path.relpath(link, os.path.dirname(full)) if inside else link
            return hashlib.sha256(b"link:" + os.fsencode(text.replace(os.sep, "/"))).hexdigest()
    folder, _, name = path.rpartition("/")
    if folder in _SCRIPT_FOLDERS:
        return hashlib.sha256(_script_bytes(full, name, scripts, prefix if blank else None)).hexdigest()
    if blank:
        with open(full, "rb") as stream:
            return hashlib.sha256(_without_prefix(stream.read(), prefix)).hexdigest()
    return _hash_file(full)


def _hash_file(full: str) -> str:
    digest = hashlib.sha256()
    with open(full, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        buffer = memoryview(bytearray(max(1, min(size + 1, BLOCK))))
        while True:
            count = stream.readinto(buffer)
            if not count:
                return digest.hexdigest()
            digest.update(buffer[:count])


def _script_bytes(full: str, name: str, scripts: Mapping[str, set[str]], prefix: str | None) -> bytes:
    """What a script counts as: its entry point when an installer wrote it, else its text below the shebang."""
    with open(full, "rb") as stream:
        content = stream.read()
    stem = re.sub(r"(?:-script\.pyw?|\.exe)$", "", name)
    for script in (stem, re.sub(r"-?\d+(?:\.\d+)*$", "", stem)):  # pip3.11 has no entry point of its own
        for target in sorted(scripts.get(script, ())):
            module, _, attribute = target.partition(":")
            # The text on disk must really call it: a script that somebody changed counts as what it is.
            if name.endswith(".exe") or f"from {module} import {attribute.split('.')[0]}".encode() in content:
                return target.encode()
    if content.startswith(b"#!/bin/sh\n'''exec'"):  # a shebang too long for the kernel takes three lines
        return b"\n" + content.split(b"\n", 3)[-1]
    if content.startswith(b"#!"):
        content = b"\n" + content.partition(b"\n")[2]
    return content if prefix is None else _without_prefix(content, prefix)


def _without_prefix(content: bytes, prefix: str) -> bytes:
    """``content`` as if conda had installed it into a folder without a name: binaries keep their length."""
    own = os.fsencode(prefix)
    if b"\0" not in content:
        return content.replace(own, b"")

    def pad(match: re.Match[bytes]) -> bytes:
        short = match[0].replace(own, b"")
        return short + b"\0" * (len(match[0]) - len(short))

    return re.sub(re.escape(own) + rb"[^\0]*", pad, content)


def check_environment_digest(context: Context) -> Result:
    """The digest of the files; compared when the spec names one."""
    if not os.path.isfile(os.path.join(context.prefix, "pyvenv.cfg")) and not conda_records(context.prefix):
        raise Skipped(f"{context.prefix} is no environment of its own but a whole Python installation")
    digest = environment_digest(context.prefix, context.spec.get("project", ()))
    context.extra["environment_digest"] = digest
    expected = context.spec.get("environment_digest")
    if expected and expected != digest:
        raise Failed(expected, digest, "files of the environment are not those that were verified")
    return expected, digest


# --- which torch this is ---------------------------------------------------------------------------------------------


def arch_flags(torch: Any) -> List[str]:
    """GPU architectures compiled in, without asking a GPU; empty for a CPU build."""
    flags = getattr(torch._C, "_cuda_getArchFlags", None)  # noqa: SLF001 - the public function asks a GPU
    text = flags() if flags is not None else None
    return text.split() if text else []


def torch_facts(torch: Any) -> Dict[str, Any]:
    """What torch says about its own build; a fact that it does not know is null."""

    def ask(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except Exception:
            return None

    return {
        "version": ask(lambda: str(torch.__version__)),
        "cuda": ask(lambda: torch.version.cuda),
        "hip": ask(lambda: torch.version.hip),
        "xpu": ask(lambda: torch.version.xpu),
        "git": ask(lambda: torch.version.git_version),
        "arch_flags": ask(lambda: arch_flags(torch)),
        "config": ask(lambda: torch.__config__.show()),
        "threads": ask(lambda: torch.get_num_threads()),
        "parallel": ask(lambda: torch.__config__.parallel_info()),
    }


def check_import(context: Context) -> Result:
    """``import torch`` works."""
    return "import torch", f"torch {context.torch.__version__}"


def check_version(context: Context) -> Result:
    """``torch.__version__`` is the locked one; the local part only when the lockfile has it (PyPI's has none)."""
    expected = context.asked["version"]
    actual = canonical(str(context.torch.__version__))
    own = actual if "+" in expected else actual.partition("+")[0]
    if context.asked.get("conda"):  # conda-forge builds torch with its build number as post release
        own = own.partition("+")[0].partition(".post")[0]
        equal(canonical(expected).partition("+")[0].partition(".post")[0], own, "torch.__version__")
    else:
        equal(canonical(expected), own, "torch.__version__")
    return expected, actual


def check_variant(context: Context) -> Result:
    """The build is the one asked for: local version, CUDA or ROCm release, architectures."""
    torch, asked = context.torch, context.asked
    kind, release = asked["kind"], asked.get("release")
    actual = describe_build(torch)
    expected = asked["accelerator"] + (f" (CUDA {release})" if kind == "cuda" else "")
    cuda, hip = getattr(torch.version, "cuda", None), getattr(torch.version, "hip", None)
    xpu = getattr(torch.version, "xpu", None)
    local = canonical(str(torch.__version__)).partition("+")[2]
    flags = arch_flags(torch)
    problem = None
    if kind == "cuda":
        if cuda is None or ".".join(cuda.split(".")[:2]) != release:
            problem = f"asked was CUDA {release}, installed is {actual}"
        elif not flags:
            problem = f"torch says CUDA {cuda} but no GPU architecture is compiled in"
    elif kind == "rocm":
        if hip is None or not (hip + ".").startswith(f"{release}."):
            problem = f"asked was ROCm {release}, installed is {actual}"
    elif kind == "xpu":
        if cuda or hip or not (xpu or _xpu_compiled(torch)):
            problem = f"asked was XPU, installed is {actual}"
    elif cuda or hip or xpu:
        problem = f"asked was a CPU build, installed is {actual}"
    elif kind == "mps" and not _mps_built(torch):
        problem = f"asked was MPS, installed is a build without it: {actual}"
    if problem is None and asked.get("local") and local != asked["local"]:
        problem = f"the local version is {'+' + local if local else 'absent'}, asked was +{asked['local']}"
    if problem:
        remark = asked.get("remark")
        raise Failed(expected, actual, problem + (f"; {remark}" if remark else ""))
    return expected, actual


def describe_build(torch: Any) -> str:
    """The build in words: ``CPU build (torch 2.13.0+cpu)``."""
    version = f"(torch {torch.__version__})"
    if getattr(torch.version, "cuda", None):
        return f"CUDA {torch.version.cuda} build {version} for {' '.join(arch_flags(torch)) or 'no architecture'}"
    if getattr(torch.version, "hip", None):
        return f"ROCm {torch.version.hip} build {version}"
    if getattr(torch.version, "xpu", None):
        return f"XPU build {version}"
    return f"{'MPS' if _mps_built(torch) else 'CPU'} build {version}"


def _mps_built(torch: Any) -> bool:
    mps = getattr(getattr(torch, "backends", None), "mps", None)
    return mps is not None and bool(mps.is_built())


def _xpu_compiled(torch: Any) -> bool:
    compiled = getattr(getattr(torch, "xpu", None), "_is_compiled", None)
    return compiled is not None and bool(compiled())


# --- does it compute -------------------------------------------------------------------------------------------------


def check_tensor(context: Context) -> Result:
    """``torch.rand(5, 3)``, PyTorch's own first check: its shape, its range, not all the same."""
    x = context.torch.rand(5, 3)
    equal([5, 3], list(x.shape), "the shape of torch.rand(5, 3)")
    values = _flat(x)
    if not all(0 <= value < 1 for value in values) or len(set(values)) < 2:
        raise Failed("15 numbers in [0, 1)", _brief(values), "torch.rand gave other numbers")
    return "15 numbers in [0, 1)", _brief(values)


def check_matmul(context: Context) -> Result:
    """``x @ x.T`` against Python's own double precision."""
    context.torch.manual_seed(0)
    x = context.torch.rand(5, 3)
    rows = x.tolist()
    return near([sum(a * b for a, b in zip(p, q)) for p in rows for q in rows], _flat(x @ x.T), "x @ x.T")


def check_autograd(context: Context) -> Result:
    """The gradient of sum(x ** 3) is 3 x ** 2."""
    values = [-2.0, -0.5, 0.0, 1.0, 3.0]
    x = context.torch.tensor(values, requires_grad=True)
    (x**3).sum().backward()
    return near([3 * value * value for value in values], _flat(x.grad), "the gradient of x ** 3")


def check_regression(context: Context) -> Result:
    """y = 3 x + 2 learnt by SGD."""
    torch = context.torch
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    y = 3 * x + 2
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    return near([3.0, 2.0], [model.weight.item(), model.bias.item()], "weight and bias after SGD on y = 3x + 2", 1e-3)


def check_dtypes(context: Context) -> Result:
    """Each dtype keeps small numbers, has its width, and rounds as its mantissa says."""
    torch = context.torch
    widths = {"bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "bfloat16": 2}
    widths.update(float32=4, float64=8, complex64=8, complex128=16)
    for name, width in widths.items():
        tensor = torch.tensor([0, 1]).to(getattr(torch, name))
        equal(width, tensor.element_size(), f"the width of {name}")
        equal([0, 1], [complex(value).real for value in tensor.tolist()], f"[0, 1] as {name}")
    for name, bits in (("bfloat16", 7), ("float16", 10), ("float32", 23), ("float64", 52)):
        pair = torch.tensor([1 + 2.0**-bits, 1 + 2.0 ** -(bits + 2)], dtype=torch.float64).to(getattr(torch, name))
        equal([1 + 2.0**-bits, 1.0], pair.to(torch.float64).tolist(), f"rounding to {name}")
    return f"{len(widths)} dtypes", " ".join(widths)


def check_conv2d(context: Context) -> Result:
    """A 3x3 convolution of a 5x5 image against loops."""
    torch = context.torch
    torch.manual_seed(0)
    image, kernel = torch.rand(1, 1, 5, 5), torch.rand(1, 1, 3, 3)
    a, k = image[0, 0].tolist(), kernel[0, 0].tolist()
    places = [(i, j) for i in range(3) for j in range(3)]
    expected = [sum(a[r + i][c + j] * k[i][j] for i, j in places) for r, c in places]
    return near(expected, _flat(torch.nn.functional.conv2d(image, kernel)), "conv2d")


def check_svd(context: Context) -> Result:
    """The factors of a 4x3 matrix give it back, and the singular values are ordered."""
    torch = context.torch
    torch.manual_seed(0)
    a = torch.rand(4, 3, dtype=torch.float64)
    if hasattr(torch, "linalg") and hasattr(torch.linalg, "svd"):
        u, s, vh = torch.linalg.svd(a, full_matrices=False)
    else:
        u, s, v = torch.svd(a)
        vh = v.t()
    left, values, right = u.tolist(), s.tolist(), vh.tolist()
    if sorted(values, reverse=True) != values or values[-1] < 0:
        raise Failed("descending singular values", _brief(values), "the singular values are not in order")
    back = [sum(left[i][k] * values[k] * right[k][j] for k in range(3)) for i in range(4) for j in range(3)]
    return near(_flat(a), back, "U S V^T")


def check_fft(context: Context) -> Result:
    """An FFT of eight numbers against the sum that defines it."""
    torch = context.torch
    torch.manual_seed(0)
    x = torch.rand(8, dtype=torch.float64)
    values, n = x.tolist(), 8
    expected = [sum(v * cmath.exp(-2j * cmath.pi * k * i / n) for i, v in enumerate(values)) for k in range(n)]
    spectrum = importlib.import_module("torch.fft").fft(x)
    near([part for z in expected for part in (z.real, z.imag)], _flat(torch.view_as_real(spectrum)), "torch.fft.fft")
    return near(values, _flat(importlib.import_module("torch.fft").ifft(spectrum).real), "the inverse FFT")


def check_save_load(context: Context) -> Result:
    """What torch.save wrote comes back from the disk."""
    torch = context.torch
    path = os.path.join(context.folder, "saved.pt")
    torch.save({"weights": torch.arange(12.0).reshape(3, 4), "epoch": 7}, path)
    try:
        loaded = torch.load(path, weights_only=True)
    except TypeError:  # before torch 1.13
        loaded = torch.load(path)
    equal(7, loaded["epoch"], "the saved epoch")
    equal([3, 4], list(loaded["weights"].shape), "the shape of the saved tensor")
    return near([float(i) for i in range(12)], _flat(loaded["weights"]), "the saved tensor")


class Squares:
    """A data set that worker processes can unpickle."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> int:
        if index >= 32:
            raise IndexError(index)
        return index * index


def check_dataloader(context: Context) -> Result:
    """Two worker processes deliver every item once, in order."""
    context.torch.manual_seed(0)
    data = importlib.import_module("torch.utils.data")
    batches = list(data.DataLoader(Squares(), batch_size=8, num_workers=2))
    return near([float(i * i) for i in range(32)], [v for batch in batches for v in _flat(batch)], "the loaded data")


def _wave(x: Any) -> Any:
    return (x.sin() + x.cos() ** 2).sum(dim=1)


def check_compile(context: Context) -> Result:
    """torch.compile gives the numbers of the eager function; needs a C++ compiler and Python's headers."""
    torch = context.torch
    if not hasattr(torch, "compile"):
        raise Skipped(f"torch {torch.__version__} has no torch.compile")
    names = [os.environ.get("CXX") or "", "cl"] if os.name == "nt" else [os.environ.get("CXX") or "", "g++", "clang++"]
    if not any(name and shutil.which(name.split()[0]) for name in names):
        raise Skipped(f"no C++ compiler on PATH (looked for {', '.join(filter(None, names))})")
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.isfile(header):
        raise Skipped("Python.h is not installed beside this Python, and compiled code needs it")
    torch.manual_seed(0)
    x = torch.rand(8, 16)
    try:
        actual = _flat(torch.compile(_wave)(x))
    except Exception as error:
        if re.search(r"not (yet )?supported (on|for|with) (Python|Windows)|Python 3\.\d+\+? *(is|not)", str(error)):
            raise Skipped(_first_lines(str(error), 1)) from error
        raise
    return near(_flat(_wave(x)), actual, "the compiled function")


def check_numpy(context: Context) -> Result:
    """Arrays and tensors share memory, both ways."""
    numpy = _optional(context, "numpy")
    torch = context.torch
    array = numpy.arange(6.0)
    tensor = torch.from_numpy(array)
    array[0] = 42.0
    near([42.0, 1, 2, 3, 4, 5], _flat(tensor), "the tensor over a changed array")
    return near([0.0, 1, 2], torch.arange(3.0).numpy().tolist(), "the array of a tensor")


def check_vision_nms(context: Context) -> Result:
    """torchvision's compiled operator drops the box that overlaps a better one."""
    torch = context.torch
    vision = _optional(context, "torchvision")
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    kept = vision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    return equal([0, 2], kept.tolist(), "what torchvision.ops.nms keeps")


def check_vision_transforms(context: Context) -> Result:
    """Crop and normalize an image with known pixels."""
    torch = context.torch
    _optional(context, "torchvision")
    transforms = importlib.import_module("torchvision.transforms")
    image = torch.arange(16.0).reshape(1, 4, 4)
    steps = transforms.Compose([transforms.CenterCrop(2), transforms.Normalize([5.0], [5.0])])
    return near([0.0, 0.2, 0.8, 1.0], _flat(steps(image)), "the cropped and normalized image")


def check_audio_resample(context: Context) -> Result:
    """A 440 Hz tone keeps its values when every other sample is dropped, away from the ends."""
    torch = context.torch
    _optional(context, "torchaudio")
    functional = importlib.import_module("torchaudio.functional")
    tone = torch.sin(2 * math.pi * 440 * torch.arange(1600.0) / 16000).unsqueeze(0)
    half = functional.resample(tone, 16000, 8000)
    equal([1, 800], list(half.shape), "the shape of the resampled tone")
    return near(_flat(tone[0, ::2][300:320]), _flat(half[0][300:320]), "the resampled tone", 2e-2)


def _optional(context: Context, name: str) -> Any:
    if context.check.get("optional") and importlib.util.find_spec(name) is None:
        raise Skipped(f"{name} is not installed")
    return importlib.import_module(name)


# --- devices ---------------------------------------------------------------------------------------------------------


class Grade(NamedTuple):
    """How far a device goes: ``not built`` < ``built`` < ``present`` < ``usable``; ``wrong``: it computes nonsense."""

    grade: str
    reason: str


def compute_on(torch: Any, device: str) -> str | None:
    """Allocate on the device, multiply there, compare with Python's own sums; what is wrong, or ``None``."""
    torch.manual_seed(0)
    x = torch.rand(16, 16)
    rows, there = x.tolist(), x.to(device)
    actual = _flat((there @ there.t()).cpu())
    expected = [sum(a * b for a, b in zip(p, q)) for p in rows for q in rows]
    # Tensor cores round to ten bits of mantissa (TF32): sums of 16 products below 1 stay well within 0.05.
    difference = max(abs(a - b) for a, b in zip(actual, expected))
    return None if difference < 0.05 else f"x @ x.T on {device} is wrong by {difference:.3g}"


def grade_cpu(torch: Any, _spec: Mapping[str, Any]) -> Grade:
    """The CPU: always there."""
    wrong = compute_on(torch, "cpu")
    return Grade("wrong", wrong) if wrong else Grade("usable", platform.machine() or "CPU")


def grade_cuda(torch: Any, spec: Mapping[str, Any]) -> Grade:
    """CUDA: build, driver, device, architecture, allocation, in this order."""
    cuda = getattr(torch.version, "cuda", None)
    if cuda is None:
        return Grade("not built", f"{describe_build(torch)} installed")
    driver = nvidia_driver()
    reason = why_no_cuda(driver, cuda, (spec.get("min_drivers") or {}).get(cuda.split(".")[0]))
    if reason is None and not torch.cuda.is_available():
        reason = f"NVIDIA driver {driver.version or 'of unknown version'} is loaded, but torch finds no CUDA device"
    if reason:
        return Grade("built", reason)
    name, capability = torch.cuda.get_device_name(0), tuple(torch.cuda.get_device_capability(0))
    flags = arch_flags(torch)
    if not arch_covers(flags, capability):
        return Grade("present", f"{name} is sm_{capability[0]}{capability[1]}, compiled in are {' '.join(flags)}")
    return _try_device(torch, "cuda", f"{name} (sm_{capability[0]}{capability[1]}), driver {driver.version}")


def arch_covers(flags: Sequence[str], capability: tuple[int, ...]) -> bool:
    """Whether one of the architectures runs on a device: same major and no later minor, or PTX of an earlier one."""
    for flag in flags:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", flag)
        if match is None:
            continue
        built = (int(match[2]), int(match[3]))
        if built == capability or (not match[4] and match[1] == "compute" and built <= capability):
            return True
        if not match[4] and built[0] == capability[0] and built <= capability:
            return True
    return False


class Driver(NamedTuple):
    """The NVIDIA driver of the machine; ``problem`` says in words why it cannot be used."""

    version: str | None = None
    devices: int = 0
    problem: str | None = None


def why_no_cuda(driver: Driver, cuda: str, oldest: str | None) -> str | None:
    """Why torch built for ``cuda`` cannot reach a device with this driver; ``None`` when nothing speaks against it."""
    if sys.platform == "darwin":
        return "there is no CUDA on macOS"
    if oldest and driver.version and _numbers(driver.version) < _numbers(oldest):
        return f"NVIDIA driver {driver.version} is too old for CUDA {cuda}: needs >= {oldest}"
    if driver.problem:
        return driver.problem
    if driver.devices == 0:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        return "CUDA_VISIBLE_DEVICES hides every device" if hidden else "the NVIDIA driver reports no device"
    return None


def _numbers(text: str) -> List[int]:
    numbers = [int(part) for part in re.findall(r"\d+", text)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def nvidia_driver() -> Driver:
    """Ask the driver library itself; nothing of torch is involved."""
    library = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    version = _driver_version()
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        if version:
            return Driver(
                version, 0, f"NVIDIA driver {version} is loaded, but {library} is missing (in a container: --gpus all)"
            )
        return Driver(None, 0, f"no NVIDIA driver on this machine ({library} and nvidia-smi are missing)")
    code = cuda.cuInit(0)
    count = ctypes.c_int(0)
    if code == 0:
        code = cuda.cuDeviceGetCount(ctypes.byref(count))
    if code not in (0, 100):  # 100 is CUDA_ERROR_NO_DEVICE, which a count of 0 says as well
        return Driver(version, 0, f"the NVIDIA driver {version or ''} does not start: error {code} of cuInit")
    return Driver(version, count.value)


def _driver_version() -> str | None:
    with contextlib.suppress(OSError), open("/proc/driver/nvidia/version", encoding="utf-8") as stream:
        match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", stream.read())
        if match:
            return match[1]
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return None
    argv = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(rb"\d+\.\d+(?:\.\d+)?", answer.stdout)
    return found[0].decode() if found else None


def grade_rocm(torch: Any, _spec: Mapping[str, Any]) -> Grade:
    """ROCm: torch speaks to it under the name cuda."""
    if getattr(torch.version, "hip", None) is None:
        return Grade("not built", f"{describe_build(torch)} installed")
    if not os.path.exists("/dev/kfd"):
        return Grade("built", "no AMD GPU for computing: /dev/kfd does not exist")
    if not torch.cuda.is_available():
        return Grade("built", "/dev/kfd exists, but torch finds no ROCm device")
    return _try_device(torch, "cuda", str(torch.cuda.get_device_name(0)))


def grade_xpu(torch: Any, _spec: Mapping[str, Any]) -> Grade:
    """Intel GPUs."""
    if not getattr(torch.version, "xpu", None) and not _xpu_compiled(torch):
        return Grade("not built", f"{describe_build(torch)} installed")
    if not torch.xpu.is_available():
        return Grade("built", "torch finds no Intel GPU")
    return _try_device(torch, "xpu", str(torch.xpu.get_device_name(0)))


def grade_mps(torch: Any, spec: Mapping[str, Any]) -> Grade:
    """Apple's GPUs."""
    if not _mps_built(torch):
        return Grade(
            "not built",
            why_no_mps(sys.platform, platform.machine(), _sysctl("sysctl.proc_translated"))
            or f"{describe_build(torch)} installed",
        )
    reason = why_no_mps(sys.platform, platform.machine(), _sysctl("sysctl.proc_translated"))
    macos, oldest = platform.mac_ver()[0], spec.get("min_macos") or "12.3"
    if reason is None and macos and _numbers(macos) < _numbers(oldest):
        reason = f"macOS {macos} is too old for MPS in this torch: needs >= {oldest}"
    if reason is None and not torch.backends.mps.is_available():
        reason = "torch finds no MPS device"
    if reason:
        return Grade("built", reason)
    grade = _try_device(torch, "mps", f"Apple silicon, macOS {macos}")
    if grade.grade == "present" and _sysctl("kern.hv_vmm_present") == "1":
        return Grade("present", f"a virtual machine reports MPS and fails to allocate: {grade.reason}")
    return grade


def why_no_mps(system: str, machine: str, translated: str | None) -> str | None:
    """Why this process could never reach MPS, whatever torch is installed."""
    if system != "darwin":
        return "there is no MPS but on macOS"
    if translated == "1":
        return "this Python is an x86_64 build under Rosetta; MPS needs an arm64 Python"
    return None if machine == "arm64" else "MPS needs Apple silicon; this Mac has an Intel processor"


def _sysctl(name: str) -> str | None:
    if sys.platform != "darwin":
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.check_output(["/usr/sbin/sysctl", "-n", name], timeout=10).decode().strip()
    return None


def _try_device(torch: Any, device: str, name: str) -> Grade:
    try:
        wrong = compute_on(torch, device)
    except Exception as error:
        return Grade("present", f"{name}: {_first_lines(str(error), 2)}")
    return Grade("wrong", f"{name}: {wrong}") if wrong else Grade("usable", name)


GRADERS: Dict[str, Callable[[Any, Mapping[str, Any]], Grade]] = {
    "cpu": grade_cpu,
    "cuda": grade_cuda,
    "mps": grade_mps,
    "rocm": grade_rocm,
    "xpu": grade_xpu,
}


def check_device(context: Context) -> Result:
    """Passed only when the device computes; skipped, in words, when this machine is the obstacle."""
    device = context.check["id"].partition("-")[2]
    grade, reason = GRADERS[device](context.torch, context.spec)
    context.extra["device"] = {"device": device, "grade": grade, "reason": reason}
    if grade == "wrong":
        raise Failed("usable", "computes wrong numbers", reason)
    if grade == "not built":
        if context.check.get("required"):
            raise Failed(f"built for {device}", "not built", reason)
        raise Skipped(f"not built for {device}: {reason}")
    if grade != "usable":
        raise Skipped(f"built, not run on a GPU: {reason}")
    return "usable", f"usable: {reason}"


CHECKS: Dict[str, Callable[[Context], Result]] = {
    "import": check_import,
    "version": check_version,
    "variant": check_variant,
    "tensor": check_tensor,
    "matmul": check_matmul,
    "autograd": check_autograd,
    "regression": check_regression,
    "dtypes": check_dtypes,
    "conv2d": check_conv2d,
    "svd": check_svd,
    "fft": check_fft,
    "save-load": check_save_load,
    "dataloader": check_dataloader,
    "compile": check_compile,
    "numpy": check_numpy,
    "vision-nms": check_vision_nms,
    "vision-transforms": check_vision_transforms,
    "audio-resample": check_audio_resample,
    "distributions": check_distributions,
    "environment-digest": check_environment_digest,
}
CHECKS.update({f"device-{device}": check_device for device in GRADERS})


# --- the child: one torch, checks in order ---------------------------------------------------------------------------


def child() -> NoReturn:
    """Read the request on stdin, answer with a line for each finished check on the stdout that it was given."""
    stream = os.fdopen(_take_stdout(), "wb", buffering=0)
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    faulthandler.enable()

    def tell(message: Dict[str, Any]) -> None:
        stream.write(json.dumps(message).encode() + b"\n")

    context = Context(request["spec"], request["folder"], tell)
    for check in request["checks"]:
        context.check, context.extra = check, {}
        started = time.monotonic()
        finding = perform(context)
        finding["seconds"] = round(time.monotonic() - started, 3)
        tell({"event": "finding", "finding": finding, "extra": context.extra})
    os._exit(0)  # no atexit hook of torch may hang or crash what is already told


def perform(context: Context) -> Dict[str, Any]:
    """One check as a finding; whatever it raises is a result."""
    name = context.check["id"]
    if name not in CHECKS:
        return make_finding(name, FAILED, reason=f"this probe has no check {name!r}")
    try:
        expected, actual = CHECKS[name](context)
    except Skipped as error:
        return make_finding(name, SKIPPED, reason=str(error))
    except Failed as error:
        return make_finding(name, FAILED, error.expected, error.actual, error.reason)
    except BaseException as error:  # SystemExit of a broken package must not end the other checks
        reason = f"{type(error).__name__}: {_first_lines(str(error), 12)}"
        return make_finding(name, FAILED, context.check.get("expected"), None, reason)
    return make_finding(name, PASSED, expected, actual)


def make_finding(
    check: str,
    status: str,
    expected: object = None,
    actual: object = None,
    reason: str | None = None,
    seconds: float = 0,
) -> Dict[str, Any]:
    """A finding as JSON has it; seconds are filled in by whoever watched the clock."""
    return {
        "check": check,
        "status": status,
        "expected": None if expected is None else str(expected),
        "actual": None if actual is None else str(actual),
        "reason": reason,
        "seconds": round(seconds, 3),
    }


def _first_lines(text: str, count: int) -> str:
    return "\n".join(text.strip().splitlines()[:count])[:REASON_CHARACTERS]


def _take_stdout() -> int:
    """The descriptor of the real stdout; what anybody else prints from now on goes to stderr."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return own


def _end_with_parent() -> None:
    # The parent holds the other end of stdin and never writes again: end of file means that it is gone. Read without
    # Python's buffer: its lock would be held in every forked worker, which then hangs when it closes its stdin.
    os.read(0, 1)
    if hasattr(os, "killpg"):
        os.killpg(os.getpgid(0), signal.SIGKILL)
    os._exit(1)


# --- the parent: clocks, crashes, the answer -------------------------------------------------------------------------


class Ended(Exception):  # noqa: N818 - no error
    """A signal asked the probe to end."""


class Child:
    """A running child and the lines that it sends."""

    def __init__(self, spec: Mapping[str, Any], checks: Sequence[Mapping[str, Any]], folder: str) -> None:
        environ = dict(os.environ, TORCHINDUCTOR_CACHE_DIR=os.path.join(folder, "inductor"))
        environ.update(TRITON_CACHE_DIR=os.path.join(folder, "triton"), TORCHINDUCTOR_COMPILE_THREADS="1")
        self.lines: queue.Queue[Dict[str, Any] | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-I", os.path.abspath(__file__), "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            start_new_session=os.name != "nt",  # its workers are then one group that ends with one signal
        )
        request = {"spec": spec, "checks": checks, "folder": folder}
        threading.Thread(target=self._read, args=(json.dumps(request).encode() + b"\n",), daemon=True).start()

    def _read(self, request: bytes) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(request)
            self.process.stdin.flush()
            for line in self.process.stdout:
                self.lines.put(json.loads(line))
        self.lines.put(None)

    def next(self, deadline: float) -> Dict[str, Any] | None:
        """The next message, ``None`` when the child has ended; ``queue.Empty`` when the deadline is over."""
        while True:
            ended = self.process.poll() is not None  # a worker may hold the pipe open after the child has died
            try:
                return self.lines.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if ended:
                    return None
                if time.monotonic() >= deadline:
                    raise

    def exit_code(self) -> int | None:
        """How it ended by itself, ``None`` when it did not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        return self.process.poll()

    def end(self) -> None:
        """Kill it with everything that it started."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()


class Supervisor:
    """Runs the checks of a spec through as many children as it takes."""

    def __init__(self, spec: Dict[str, Any], folder: str) -> None:
        self.spec, self.folder = spec, folder
        self.limits = {check["id"]: float(check["limit"]) for check in spec["checks"]}
        self.findings: Dict[str, Dict[str, Any]] = {}
        self.answer: Dict[str, Any] = {"torch": None, "devices": [], "environment_digest": None}
        self.child: Child | None = None

    def run(self) -> None:
        """Every check has a finding afterwards."""
        for check in self.spec["checks"]:
            if check.get("skip"):
                self._note(make_finding(check["id"], SKIPPED, reason=check["skip"]))
        while True:
            broken = self.findings.get("import", {}).get("status") == FAILED
            for check in self.spec["checks"] if broken else ():
                if check["id"] not in self.findings and check["id"] not in WITHOUT_TORCH:
                    self._note(make_finding(check["id"], SKIPPED, reason="not run: torch cannot be imported"))
            pending = [check for check in self.spec["checks"] if check["id"] not in self.findings]
            if not pending:
                return
            self.child = Child(self.spec, pending, self.folder)
            try:
                self._follow(self.child, pending)
            finally:
                self.end()

    def end(self) -> None:
        """Nothing that was started is left."""
        if self.child is not None:
            self.child.end()
            self.child = None

    def _note(self, finding: Dict[str, Any]) -> None:
        self.findings[finding["check"]] = finding

    def _follow(self, child: Child, pending: List[Dict[str, Any]]) -> None:
        """Take findings until the child is through, or one check has to be given up, or torch turns out broken."""
        imported = False
        for check in pending:
            name = check["id"]
            started, limit = time.monotonic(), self.limits[name]
            if not imported and name not in ("import", *WITHOUT_TORCH):
                limit += self.limits.get("import", 0)  # after a crash torch has to be imported once more
            while name not in self.findings:
                try:
                    message = child.next(started + limit)
                except queue.Empty:
                    reason = f"no result within {limit:g} s; the check was ended"
                    self._give_up(name, "a result", "no result", reason, started)
                    return
                if message is None:
                    self._give_up(name, "a result", "a crash", how_ended(child.exit_code()), started)
                    return
                if message["event"] == "imported":
                    imported, self.answer["torch"] = True, message["torch"]
                else:
                    self._take(message)
            if name == "import" and self.findings[name]["status"] == FAILED:
                return

    def _give_up(self, name: str, expected: str, actual: str, reason: str, started: float) -> None:
        self._note(make_finding(name, FAILED, expected, actual, reason, time.monotonic() - started))

    def _take(self, message: Dict[str, Any]) -> None:
        self._note(message["finding"])
        extra = message["extra"]
        if "device" in extra:
            self.answer["devices"].append(extra["device"])
        if "environment_digest" in extra:
            self.answer["environment_digest"] = extra["environment_digest"]


def how_ended(code: int | None) -> str:
    """The end of a process in words."""
    if code is None:
        return "the process closed its pipe without a result"
    if code >= 0:
        return f"the process exited with code {code}"
    with contextlib.suppress(ValueError):
        return f"the process was ended by {signal.Signals(-code).name} (signal {-code})"
    return f"the process was ended by signal {-code}"


def peak_memory() -> int | None:
    """Bytes of the largest process that has ended, ``None`` on Windows."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def probe(spec: Dict[str, Any]) -> Dict[str, Any]:
    """Run the spec; the whole answer."""
    if spec.get("schema") != SCHEMA:
        raise SystemExit(f"this probe reads specs of schema {SCHEMA}, not {spec.get('schema')!r}")
    folder = tempfile.mkdtemp(prefix="torchmatrix-probe-")
    supervisor = Supervisor(spec, folder)
    try:
        supervisor.run()
    finally:
        supervisor.end()
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "schema": SCHEMA,
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "full": sys.version,
        },
        "machine": {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count()},
        "findings": [supervisor.findings[check["id"]] for check in spec["checks"]],
        "peak_memory": peak_memory(),
        **supervisor.answer,
    }


def _on_signal(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
    raise Ended(128 + number)


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    if len(arguments) != 1:
        sys.stderr.write("usage: PY -I probe.py SPEC.json, or - for the spec on stdin\n")
        return 2
    if arguments[0] == "--child":
        child()
    own = _take_stdout()
    for number in (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, _on_signal)
    try:
        if arguments[0] == "-":
            spec = json.load(sys.stdin)
        else:
            with open(arguments[0], encoding="utf-8") as stream:
                spec = json.load(stream)
        answer = json.dumps(probe(spec)) + "\n"
    except Ended as ended:
        return int(ended.args[0])
    with os.fdopen(own, "wb") as stream_out:
        stream_out.write(answer.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
