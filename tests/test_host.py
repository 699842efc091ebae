"""What this machine is: read from made-up roots, so that every kind of machine is tested everywhere."""

from __future__ import annotations

import json
import os
import platform
import plistlib
import subprocess
import sys
from pathlib import Path

import pytest

from torchmatrix import command, host
from torchmatrix.command import Command, Outcome
from torchmatrix.errors import HostError
from torchmatrix.host import Gpu, Host, Interpreter, Kernel, Origin
from torchmatrix.target import Accelerator, Platform, PythonVersion, Target

LINUX = Kernel(system="linux", machine="x86_64", glibc="2.36")
MAC = Kernel(system="darwin", machine="arm64")
RUNNING = Interpreter(path=Path("/base/bin/python3.9"), version=PythonVersion(3, 9), origin=Origin.RUNNING)
posix = pytest.mark.skipif(os.name != "posix", reason="lays out links and modes as POSIX has them")


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def program(path: Path) -> Path:
    write(path, "#!/bin/sh\n").chmod(0o755)
    return path


def mac_root(root: Path, release: str, compatible: str | None = None) -> Path:
    folder = root / "System/Library/CoreServices"
    folder.mkdir(parents=True)
    (folder / "SystemVersion.plist").write_bytes(plistlib.dumps({"ProductVersion": compatible or release}))
    if compatible:
        (folder / ".SystemVersionPlatform.plist").write_bytes(plistlib.dumps({"ProductVersion": release}))
    return root


def target(platform: Platform, accelerator: str = "cpu", **more: str) -> Target:
    return Target(name="t", platform=platform, accelerator=Accelerator.parse(accelerator), **more)


class FakeRun:
    """Answers commands in order and keeps them."""

    def __init__(self, *answers: tuple[int, str, str] | Exception, timed_out: bool = False) -> None:
        self.answers, self.commands, self.timed_out = list(answers), [], timed_out  # type: ignore[var-annotated]

    def __call__(self, asked: Command) -> Outcome:
        self.commands.append(asked)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        code, out, err = answer
        return Outcome(command=asked, returncode=code, stdout=out, stderr=err, timed_out=self.timed_out)


# the machine


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("linux", "x86_64", Platform.LINUX_64),
        ("linux", "aarch64", Platform.LINUX_AARCH64),
        ("linux", "arm64", Platform.LINUX_AARCH64),
        ("darwin", "arm64", Platform.OSX_ARM64),
        ("darwin", "x86_64", Platform.OSX_64),
        ("win32", "AMD64", Platform.WIN_64),
    ],
)
def test_platforms(tmp_path: Path, system: str, machine: str, expected: Platform) -> None:
    found = host.detect_host({}, root=tmp_path, kernel=Kernel(system=system, machine=machine))
    assert (found.platform, found.platform_reason) == (expected, None)


@pytest.mark.parametrize(
    ("system", "machine", "reason"),
    [
        ("linux", "riscv64", "Linux on riscv64 is none of the platforms that torchmatrix knows"),
        ("win32", "ARM64", "Windows on ARM64 is none of the platforms that torchmatrix knows"),
        ("freebsd14", "amd64", "freebsd14 on amd64 is none of the platforms that torchmatrix knows"),
    ],
)
def test_unknown_platform_has_a_reason(tmp_path: Path, system: str, machine: str, reason: str) -> None:
    found = host.detect_host({}, root=tmp_path, kernel=Kernel(system=system, machine=machine))
    listed = " (linux-64, linux-aarch64, osx-arm64, osx-64, win-64)"
    assert (found.platform, found.platform_reason) == (None, reason + listed)
    assert host.why_not_native(found, target(Platform.LINUX_64), True) == reason + listed


def test_this_machine_is_read_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    found = host.detect_host(dict(os.environ))
    assert found.system == sys.platform
    assert found.machine
    assert host.find_interpreters(dict(os.environ), home=Path.home())[0].origin is Origin.RUNNING


def test_importing_the_package_needs_neither_torch_nor_subprocess() -> None:
    code = "import sys, torchmatrix.host; print([m for m in ('torch', 'subprocess', 'ctypes') if m in sys.modules])"
    source = str(Path(host.__file__).parents[2])
    env = dict(os.environ) | {"PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_musl_is_told_from_glibc(tmp_path: Path) -> None:
    write(tmp_path / "lib/ld-musl-x86_64.so.1")
    musl = host.detect_host({}, root=tmp_path, kernel=Kernel(system="linux", machine="x86_64"))
    assert (musl.musl, musl.glibc, musl.platform) == (True, None, Platform.LINUX_64)
    assert musl.label == "Linux x86_64, musl"
    both = host.detect_host({}, root=tmp_path, kernel=LINUX)  # glibc machine with musl installed beside
    assert (both.musl, both.glibc, both.label) == (False, "2.36", "Linux x86_64, glibc 2.36")


def test_macos_release_is_the_true_one(tmp_path: Path) -> None:
    found = host.detect_host({}, root=mac_root(tmp_path, "15.1", compatible="10.16"), kernel=MAC)
    assert (found.macos, found.label) == ("15.1", "macOS 15.1 arm64")
    assert host.detect_host({}, root=tmp_path / "empty", kernel=MAC).macos is None


def test_macos_release_of_old_systems_and_broken_files(tmp_path: Path) -> None:
    assert host.detect_host({}, root=mac_root(tmp_path / "old", "10.15.7"), kernel=MAC).macos == "10.15.7"
    write(tmp_path / "bad/System/Library/CoreServices/SystemVersion.plist", "<plist><dict>")
    assert host.detect_host({}, root=tmp_path / "bad", kernel=MAC).macos is None


@pytest.mark.parametrize(
    ("file", "text", "driver"),
    [
        ("sys/module/nvidia/version", "550.54.15\n", "550.54.15"),
        (
            "proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct 27 21:21:55 UTC 2021\nGCC version: …\n",
            "470.82.01",
        ),
        (
            "proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n",
            "580.65.06",
        ),
        ("proc/driver/nvidia/version", "something else\n", None),
    ],
)
def test_driver_from_files(tmp_path: Path, file: str, text: str, driver: str | None) -> None:
    write(tmp_path / file, text)
    assert host.detect_host({}, root=tmp_path, kernel=LINUX).nvidia_driver == driver


def test_device_nodes(tmp_path: Path) -> None:
    bare = host.detect_host({}, root=tmp_path, kernel=LINUX)
    assert (bare.nvidia_nodes, bare.amd_node, bare.intel_gpu, bare.wsl) == (False, False, False, False)
    write(tmp_path / "dev/nvidiactl")
    assert not host.detect_host({}, root=tmp_path, kernel=LINUX).nvidia_nodes
    write(tmp_path / "dev/nvidia0")
    write(tmp_path / "dev/kfd")
    write(tmp_path / "sys/class/drm/renderD128/device/vendor", "0x8086\n")
    full = host.detect_host({}, root=tmp_path, kernel=LINUX)
    assert (full.nvidia_nodes, full.amd_node, full.intel_gpu, full.wsl) == (True, True, True, False)
    write(tmp_path / "wsl/dev/dxg")
    wsl = host.detect_host({}, root=tmp_path / "wsl", kernel=LINUX)
    assert (wsl.wsl, wsl.nvidia_nodes) == (True, True)


@posix
def test_devices_from_nvidia_smi(tmp_path: Path) -> None:
    smi = program(tmp_path / "bin/nvidia-smi")
    env = {"PATH": str(smi.parent)}
    bare = host.detect_host(env, root=tmp_path, kernel=LINUX)
    run = FakeRun((0, "NVIDIA H200, 570.86.15, 9.0\nNVIDIA H200, 570.86.15, 9.0\n", ""))
    found = host.detect_devices(bare, env, root=tmp_path, run=run)
    assert found.gpus == (Gpu(name="NVIDIA H200", capability="9.0"),) * 2
    assert found.nvidia_driver == "570.86.15"
    assert run.commands[0].argv[1:] == ("--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")
    assert run.commands[0].timeout == 5


@posix
def test_old_nvidia_smi_is_asked_without_the_capability(tmp_path: Path) -> None:
    env = {"PATH": str(program(tmp_path / "bin/nvidia-smi").parent)}
    bare = host.detect_host(env, root=tmp_path, kernel=LINUX)
    run = FakeRun((2, 'Field "compute_cap" is not a valid field to query.\n', ""), (0, "Tesla K80, 450.80.02\n", ""))
    found = host.detect_devices(bare, env, root=tmp_path, run=run)
    assert (found.gpus, found.nvidia_driver) == ((Gpu(name="Tesla K80"),), "450.80.02")


@posix
def test_nvidia_smi_that_fails_or_hangs_is_quoted(tmp_path: Path) -> None:
    env = {"PATH": str(program(tmp_path / "bin/nvidia-smi").parent)}
    bare = host.detect_host(env, root=tmp_path, kernel=LINUX)
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    failed = host.detect_devices(bare, env, root=tmp_path, run=FakeRun((9, said + "\n\n", ""), (9, said, "")))
    assert (failed.gpus, failed.smi) == ((), said)
    cuda = Accelerator.parse("cu126")
    assert host.accelerator_usable(failed, cuda, None) == (False, f"nvidia-smi found no driver: {said}")
    hung = host.detect_devices(bare, env, root=tmp_path, run=FakeRun((-15, "", ""), timed_out=True))
    assert hung.smi == "no answer within 5 s"
    gone = host.detect_devices(bare, env, root=tmp_path, run=FakeRun(HostError("cannot run it")))
    assert gone.smi == "cannot run it"


def test_without_nvidia_smi_nothing_is_run(tmp_path: Path) -> None:
    bare = host.detect_host({}, root=tmp_path, kernel=LINUX)
    assert host.detect_devices(bare, {"PATH": str(tmp_path)}, root=tmp_path, run=FakeRun()) is bare
    mac = host.detect_host({}, root=tmp_path, kernel=MAC)
    assert host.detect_devices(mac, {"PATH": str(tmp_path)}, root=tmp_path, run=FakeRun()) is mac


def test_wsl_finds_nvidia_smi_off_path(tmp_path: Path) -> None:
    write(tmp_path / "dev/dxg")
    smi = write(tmp_path / "usr/lib/wsl/lib/nvidia-smi")
    bare = host.detect_host({}, root=tmp_path, kernel=LINUX)
    run = FakeRun((0, "NVIDIA GeForce RTX 4090, 560.94, 8.9\n", ""))
    found = host.detect_devices(bare, {"PATH": ""}, root=tmp_path, run=run)
    assert run.commands[0].argv[0] == str(smi)
    assert host.accelerator_usable(found, Accelerator.parse("cu126"), "525.60.13") == (
        True,
        "NVIDIA driver 560.94, NVIDIA GeForce RTX 4090",
    )


def test_free_disk_of_a_folder_that_is_yet_to_be_made(tmp_path: Path) -> None:
    assert host.free_disk(tmp_path / "a/b/c") > 0


# verdicts


def linux(**more: object) -> Host:
    values = {"system": "linux", "machine": "x86_64", "platform": Platform.LINUX_64, "glibc": "2.36"} | more
    return Host(**values)  # type: ignore[arg-type]


def mac(**more: object) -> Host:
    values = {"system": "darwin", "machine": "arm64", "platform": Platform.OSX_ARM64, "macos": "15.1"} | more
    return Host(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machine", "wanted", "reason"),
    [
        (linux(), target(Platform.LINUX_64, "cu118"), None),
        (linux(), target(Platform.OSX_ARM64), "this host is linux-64, the cell is for osx-arm64"),
        (linux(glibc="2.17"), target(Platform.LINUX_64), "glibc 2.17 is older than the 2.28 the target asks for"),
        (linux(glibc="2.17"), target(Platform.LINUX_64, glibc="2.17"), None),
        (
            linux(glibc="2.9"),
            target(Platform.LINUX_64, glibc="2.17"),
            "glibc 2.9 is older than the 2.17 the target asks for",
        ),
        (
            linux(glibc=None, musl=True),
            target(Platform.LINUX_64),
            "this host has musl, the wheels of the cell need glibc 2.28",
        ),
        (mac(), target(Platform.OSX_ARM64, "mps"), None),
        (mac(macos="14"), target(Platform.OSX_ARM64), None),
        (mac(macos="13.6.1"), target(Platform.OSX_ARM64), "macOS 13.6.1 is older than the 14.0 the target asks for"),
        (mac(macos="13.6.1"), target(Platform.OSX_ARM64, macos="12.3"), None),
        (
            mac(machine="x86_64", platform=Platform.OSX_64, rosetta=True),
            target(Platform.OSX_ARM64),
            (
                "the running Python is an x86_64 build under Rosetta, the cell is for osx-arm64: "
                "start torchmatrix with an arm64 Python"
            ),
        ),
    ],
)
def test_why_not_native(machine: Host, wanted: Target, reason: str | None) -> None:
    assert host.why_not_native(machine, wanted, True) == reason


def test_missing_interpreter_names_the_command() -> None:
    wanted = target(Platform.LINUX_64)
    python = PythonVersion.parse("3.12")
    assert host.why_not_native(linux(), wanted, False, python=python) == (
        "no Python 3.12 was found: uv python install 3.12"
    )
    assert host.why_not_native(linux(), wanted, False) == "no Python of that version was found"


@pytest.mark.parametrize(
    ("machine", "accelerator", "oldest", "usable", "words"),
    [
        (linux(), "cpu", None, True, "every machine has a CPU"),
        (linux(), "cu126", "525.60.13", False, "no NVIDIA driver is loaded"),
        (
            linux(nvidia_driver="470.82.01", nvidia_nodes=True),
            "cu126",
            "525.60.13",
            False,
            "the NVIDIA driver is too old for CUDA 12.6: has 470.82.01, needs >= 525.60.13",
        ),
        (linux(nvidia_driver="450.80.02", nvidia_nodes=True), "cu118", "450.80.2", True, "NVIDIA driver 450.80.02"),
        (linux(nvidia_driver="580.65.06", nvidia_nodes=True), "cu130", "580", True, "NVIDIA driver 580.65.06"),
        (
            linux(nvidia_driver="550.54.15"),
            "cu126",
            "525.60.13",
            False,
            (
                "NVIDIA driver 550.54.15 is loaded but there is no /dev/nvidia0: "
                "a container needs the GPU passed in (docker run --gpus all)"
            ),
        ),
        (mac(), "cu126", None, False, "there is no CUDA on macOS"),
        (linux(), "mps", None, False, "MPS exists on macOS only"),
        (mac(), "mps", None, True, "Apple silicon, macOS 15.1"),
        (mac(macos="12.2"), "mps", None, False, "macOS 12.2 is too old for MPS: needs >= 12.3"),
        (
            mac(machine="x86_64", platform=Platform.OSX_64),
            "mps",
            None,
            False,
            "MPS needs Apple silicon; this Mac has an Intel processor",
        ),
        (
            mac(machine="x86_64", platform=Platform.OSX_64, rosetta=True),
            "mps",
            None,
            False,
            "the running Python is an x86_64 build under Rosetta; MPS needs an arm64 Python",
        ),
        (
            mac(virtual=True),
            "mps",
            None,
            True,
            "Apple silicon in a virtual machine: MPS may report itself available and fail to allocate",
        ),
        (linux(), "rocm6.4", None, False, "no AMD GPU for computing: /dev/kfd does not exist"),
        (linux(amd_node=True), "rocm6.4", None, True, "AMD's compute driver is loaded (/dev/kfd)"),
        (mac(), "rocm6.4", None, False, "torch's ROCm builds are for Linux"),
        (linux(), "xpu", None, False, "no Intel GPU was found"),
        (
            linux(intel_gpu=True),
            "xpu",
            None,
            False,
            "an Intel GPU was found, but only torch itself can tell whether it supports this one",
        ),
    ],
)
def test_accelerator_usable(machine: Host, accelerator: str, oldest: str | None, usable: bool, words: str) -> None:
    assert host.accelerator_usable(machine, Accelerator.parse(accelerator), oldest) == (usable, words)


# interpreters


def found_in(home: Path, root: Path | None = None, *, system: str = "linux", **env: str) -> list[Interpreter]:
    everything = host.find_interpreters(env, home=home, root=root or home, system=system, running=RUNNING)
    assert everything[0] is RUNNING
    return list(everything[1:])


def words(found: list[Interpreter], below: Path) -> list[str]:
    return [f"{one.origin} {one.full or one.version} {one.path.relative_to(below)}" for one in found]


@posix
def test_path_in_its_order_and_each_file_once(tmp_path: Path) -> None:
    program(tmp_path / "one/python3.11")
    (tmp_path / "one/python3").symlink_to("python3.11")
    (tmp_path / "one/python").symlink_to("python3.11")
    program(tmp_path / "one/python3.13t")
    program(tmp_path / "one/python3.9-config")
    program(tmp_path / "one/python2.7")
    write(tmp_path / "one/python3.8")  # no program
    program(tmp_path / "two/python3.11")
    (tmp_path / "three").mkdir()
    (tmp_path / "three/python3.11").symlink_to(tmp_path / "one/python3.11")
    path = ":".join([f"{tmp_path}/one", "", "relative", f"{tmp_path}/absent", f"{tmp_path}/two", f"{tmp_path}/three"])
    found = found_in(tmp_path, PATH=path)
    assert words(found, tmp_path) == [
        "PATH 3.13t one/python3.13t",
        "PATH 3.11 one/python3.11",
        "PATH 3.11 two/python3.11",
    ]
    assert host.pick_interpreter(PythonVersion(3, 11), found).path == tmp_path / "one/python3.11"


@posix
def test_a_plain_python_is_known_by_its_library(tmp_path: Path) -> None:
    program(tmp_path / "alone/bin/python")
    write(tmp_path / "alone/lib/python3.12/os.py")
    program(tmp_path / "unclear/bin/python")
    write(tmp_path / "unclear/lib/python3.12/os.py")
    write(tmp_path / "unclear/lib/python3.13/os.py")
    found = found_in(tmp_path, PATH=f"{tmp_path}/alone/bin:{tmp_path}/unclear/bin")
    assert words(found, tmp_path) == ["PATH 3.12 alone/bin/python"]


@posix
def test_a_virtual_environment_stands_for_its_base(tmp_path: Path) -> None:
    base = program(tmp_path / "base/bin/python3.12")
    for name, settings in {
        "stdlib": f"home = {base.parent}\nversion = 3.12.4\nexecutable = {base}\n",
        "uv": f"home = {base.parent}\nimplementation = CPython\nversion_info = 3.12.4\n",
        "gone": f"home = {tmp_path}/removed\nversion = 3.12.4\n",
    }.items():
        write(tmp_path / name / "pyvenv.cfg", settings)
        (tmp_path / name / "bin").mkdir()
        (tmp_path / name / "bin/python3").symlink_to(base)
    for name in ("stdlib", "uv"):
        found = found_in(tmp_path, PATH=f"{tmp_path}/{name}/bin")
        assert [one.path for one in found] == [base]
    assert found_in(tmp_path, PATH=f"{tmp_path}/gone/bin") == []


@posix
def test_an_environment_made_from_an_environment(tmp_path: Path) -> None:
    base = program(tmp_path / "base/bin/python3.12")
    for name, home in {"inner": base.parent, "outer": tmp_path / "inner/bin"}.items():
        write(tmp_path / name / "pyvenv.cfg", f"home = {home}\nversion = 3.12.4\n")
        (tmp_path / name / "bin").mkdir()
        (tmp_path / name / "bin/python3.12").symlink_to(base)
    assert [one.path for one in found_in(tmp_path, PATH=f"{tmp_path}/outer/bin")] == [base]


@posix
def test_shims_are_skipped_and_pyenv_versions_found(tmp_path: Path) -> None:
    program(tmp_path / ".pyenv/shims/python3.12")
    for version, name in {
        "3.12.1": "python3.12",
        "3.12.10": "python3.12",
        "3.13.0t": "python3.13t",
        "3.14-dev": "python3.14",
        "2.7.18": "python2.7",
    }.items():
        program(tmp_path / f".pyenv/versions/{version}/bin/{name}")
    (tmp_path / ".pyenv/versions/3.12").symlink_to("3.12.10")
    pypy = program(tmp_path / ".pyenv/versions/pypy3.10-7.3.17/bin/pypy3.10")
    (pypy.parent / "python3.10").symlink_to("pypy3.10")
    found = found_in(tmp_path, PATH=f"{tmp_path}/.pyenv/shims")
    assert sorted(f"{one.implementation} {one}" for one in found) == [
        f"cpython 3.12.1 (pyenv, {tmp_path}/.pyenv/versions/3.12.1/bin/python3.12)",
        f"cpython 3.12.10 (pyenv, {tmp_path}/.pyenv/versions/3.12.10/bin/python3.12)",
        f"cpython 3.13.0t (pyenv, {tmp_path}/.pyenv/versions/3.13.0t/bin/python3.13t)",
        f"cpython 3.14 (pyenv, {tmp_path}/.pyenv/versions/3.14-dev/bin/python3.14)",
        f"pypy 3.10 (pyenv, {tmp_path}/.pyenv/versions/pypy3.10-7.3.17/bin/python3.10)",
    ]
    assert str(host.pick_interpreter(PythonVersion(3, 12), found).full) == "3.12.10"
    with pytest.raises(HostError, match=r"no CPython 3\.10 was found"):
        host.pick_interpreter(PythonVersion(3, 10), found)


@posix
def test_pyenv_root_is_heeded(tmp_path: Path) -> None:
    program(tmp_path / "elsewhere/versions/3.12.1/bin/python3.12")
    assert words(found_in(tmp_path / "home", PYENV_ROOT=f"{tmp_path}/elsewhere"), tmp_path) == [
        "pyenv 3.12.1 elsewhere/versions/3.12.1/bin/python3.12"
    ]


@posix
@pytest.mark.parametrize("place", ["default", "xdg", "given"])
def test_uv_managed(tmp_path: Path, place: str) -> None:
    places: dict[str, tuple[Path, dict[str, str]]] = {
        "default": (tmp_path / ".local/share/uv/python", {}),
        "xdg": (tmp_path / "data/uv/python", {"XDG_DATA_HOME": f"{tmp_path}/data"}),
        "given": (tmp_path / "here", {"UV_PYTHON_INSTALL_DIR": f"{tmp_path}/here"}),
    }
    store, env = places[place]
    for folder, name in {
        "cpython-3.12.11-linux-x86_64-gnu": "python3.12",
        "cpython-3.12.9-linux-x86_64-gnu": "python3.12",
        "cpython-3.13.5+freethreaded-linux-x86_64-gnu": "python3.13t",
        "cpython-3.13.5+debug-linux-x86_64-gnu": "python3.13",
        "cpython-3.11.13-linux-x86_64-musl": "python3.11",
        "cpython-3.14.0rc1-macos-aarch64-none": "python3.14",
        "pypy-3.10.16-linux-x86_64-gnu": "python3.10",
    }.items():
        program(store / folder / "bin" / name)
    (store / "cpython-3.12-linux-x86_64-gnu").symlink_to("cpython-3.12.11-linux-x86_64-gnu")
    found = found_in(tmp_path, None, **env)
    assert sorted((str(one.version), str(one.full), one.machine) for one in found) == [
        ("3.12", "3.12.11", "x86_64"),
        ("3.12", "3.12.9", "x86_64"),
        ("3.13t", "3.13.5", "x86_64"),
        ("3.14", "3.14.0rc1", "aarch64"),
    ]
    assert str(host.pick_interpreter(PythonVersion(3, 12), found).full) == "3.12.11"
    assert host.pick_interpreter(PythonVersion(3, 14), found, machine="arm64").machine == "aarch64"
    with pytest.raises(HostError, match=r"no CPython 3\.14 for x86_64 was found"):
        host.pick_interpreter(PythonVersion(3, 14), found, machine="x86_64")


def test_uv_managed_on_windows(tmp_path: Path) -> None:
    path = program(tmp_path / "Roaming/uv/python/cpython-3.12.8-windows-x86_64-none/python.exe")
    found = found_in(tmp_path, system="win32", APPDATA=f"{tmp_path}/Roaming")
    assert [(one.path, str(one.full), one.origin) for one in found] == [(path, "3.12.8", Origin.UV)]


@posix
def test_conda_prefixes(tmp_path: Path) -> None:
    for prefix, record in {
        "active": "python-3.11.9-h955ad1f_0.json",
        "listed": "python-3.12.4-h194c7f8_0_cpython.json",
        "miniforge3": "python-3.10.14-hd12c33a_0_cpython.json",
        "miniforge3/envs/nogil": "python-3.13.1-h9a34b6e_5_cp313t.json",
        "miniforge3/envs/pp": "python-3.9.18-1_73_pypy.json",
    }.items():
        program(tmp_path / prefix / "bin/python")
        write(tmp_path / prefix / "conda-meta" / record, "{}")
    program(tmp_path / "miniforge3/envs/without/bin/python")
    write(tmp_path / ".conda/environments.txt", f"{tmp_path}/listed\n{tmp_path}/removed\n\n")
    found = found_in(tmp_path, CONDA_PREFIX=f"{tmp_path}/active")
    assert [f"{one.implementation} {one.origin} {one.full} {one.version}" for one in found] == [
        "cpython conda 3.11.9 3.11",
        "cpython conda 3.12.4 3.12",
        "cpython conda 3.10.14 3.10",
        "cpython conda 3.13.1 3.13t",
        "pypy conda 3.9.18 3.9",
    ]


@posix
def test_macos_frameworks(tmp_path: Path) -> None:
    versions = tmp_path / "Library/Frameworks/Python.framework/Versions"
    program(versions / "3.12/bin/python3.12")
    (versions / "Current").symlink_to("3.12")
    program(tmp_path / "Library/Frameworks/PythonT.framework/Versions/3.13/bin/python3.13t")
    found = found_in(tmp_path / "home", tmp_path, system="darwin")
    assert [f"{one.origin} {one.version}" for one in found] == ["framework 3.12", "framework 3.13t"]


def test_the_store_aliases_of_windows_are_left_out(tmp_path: Path) -> None:
    program(tmp_path / "WindowsApps/python3.exe")
    program(tmp_path / "Python312/python.exe")
    write(tmp_path / "Python312/python312.dll")
    write(tmp_path / "Python312/python3.dll")
    path = f"{tmp_path}/WindowsApps;{tmp_path}/Python312"
    found = found_in(tmp_path / "home", system="win32", PATH=path)
    assert [str(one) for one in found] == [f"3.12 (PATH, {tmp_path / 'Python312' / 'python.exe'})"]


def test_the_running_interpreter_is_no_virtual_environment() -> None:
    running = host.running_interpreter()
    facts = host.inspect_interpreter(running.path, dict(os.environ))
    assert not facts.in_venv
    assert facts.version.startswith(f"{running.version.release}.")
    assert facts.free_threaded == running.version.free_threaded
    assert facts.implementation == sys.implementation.name == running.implementation


def one(version: str, origin: Origin, full: str | None = None) -> Interpreter:
    from packaging.version import Version

    parsed = PythonVersion.parse(version)
    return Interpreter(
        path=Path(f"/{origin}/{full}"), version=parsed, origin=origin, full=Version(full) if full else None
    )


def test_pick_prefers_the_place_then_the_newest_patch() -> None:
    newest = one("3.12", Origin.CONDA, "3.12.11")
    choices = [newest, one("3.12", Origin.UV, "3.12.9"), one("3.12", Origin.UV, "3.12.10"), one("3.13t", Origin.PATH)]
    assert str(host.pick_interpreter(PythonVersion.parse("3.12"), choices).full) == "3.12.10"
    assert host.pick_interpreter(PythonVersion.parse("3.12"), [newest]) is newest
    final, candidate = one("3.14", Origin.UV, "3.14.0"), one("3.14", Origin.UV, "3.14.0rc3")
    assert host.pick_interpreter(PythonVersion.parse("3.14"), [candidate, final]) is final


def test_pick_that_finds_nothing_says_what_there_is_and_what_to_do() -> None:
    with pytest.raises(HostError) as caught:
        host.pick_interpreter(
            PythonVersion.parse("3.12"), [one("3.11", Origin.PYENV, "3.11.7"), one("3.13t", Origin.PATH)]
        )
    assert caught.value.exit_code == 6
    assert str(caught.value) == (
        f"no CPython 3.12 was found on this host; found: 3.11.7 (pyenv, {Path('/pyenv/3.11.7')}), "
        f"3.13t (PATH, {Path('/PATH/None')})\n"
        "hint: uv python install 3.12 (or: pyenv install 3.12, or apt install python3.12 (Debian, Ubuntu))"
    )
    with pytest.raises(HostError) as caught:
        host.pick_interpreter(PythonVersion.parse("3.13t"), [])
    assert str(caught.value) == (
        "no CPython 3.13t was found on this host; there is no other one either\n"
        "hint: uv python install 3.13t (or: pyenv install 3.13t)"
    )


# asking one


def test_facts_of_this_python() -> None:
    facts = host.inspect_interpreter(Path(sys.executable), dict(os.environ))
    assert facts.version == platform.python_version()
    assert facts.bits == (64 if sys.maxsize > 2**32 else 32)
    assert facts.base_prefix == sys.base_prefix
    assert facts.in_venv == (sys.prefix != sys.base_prefix)


def test_memo_spares_the_process_until_the_file_changes(tmp_path: Path) -> None:
    python, memo = program(tmp_path / "python3.12"), tmp_path / "cache/interpreters.json"
    facts = host.inspect_interpreter(Path(sys.executable), dict(os.environ), memo=memo)
    said = json.loads(memo.read_text(encoding="utf-8"))[str(Path(sys.executable).absolute())]["facts"]
    assert said["version"] == facts.version
    run = FakeRun(*((0, json.dumps(said), ""),) * 3)
    first = host.inspect_interpreter(python, {}, run=run, memo=memo)
    assert host.inspect_interpreter(python, {}, run=run, memo=memo) == first
    assert len(run.commands) == 1
    write(python, "#!/bin/sh\n# another one\n")
    host.inspect_interpreter(python, {}, run=run, memo=memo)
    assert len(run.commands) == 2
    memo.write_text("{broken", encoding="utf-8")
    host.inspect_interpreter(python, {}, run=run, memo=memo)
    assert len(run.commands) == 3
    assert list(json.loads(memo.read_text(encoding="utf-8"))) == [str(python)]


def test_the_question_is_asked_isolated_and_without_leaks(tmp_path: Path) -> None:
    python = program(tmp_path / "python3.12")
    run = FakeRun((1, "", ""))
    with pytest.raises(HostError):
        host.inspect_interpreter(python, {"__PYVENV_LAUNCHER__": "x", "LANG": "C"}, run=run)
    assert run.commands[0].argv[:3] == (str(python), "-I", "-c")
    assert run.commands[0].env == {"LANG": "C"}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            (127, "", "x: error while loading shared libraries: y.so\n"),
            "does not run: x: error while loading shared libraries: y.so",
        ),
        ((1, "", ""), "does not run: exit code 1"),
        ((0, "", ""), "did not answer as a Python 3 does"),
        ((0, "hello\n", ""), "did not answer as a Python 3 does"),
        ((0, "{}\n", ""), "did not answer as a Python 3 does"),
    ],
)
def test_broken_interpreters(tmp_path: Path, answer: tuple[int, str, str], message: str) -> None:
    python = program(tmp_path / "python3.12")
    with pytest.raises(HostError) as caught:
        host.inspect_interpreter(python, {}, run=FakeRun(answer))
    assert caught.value.message.startswith(f"the interpreter {python} {message}")
    assert caught.value.hint is not None


def test_hanging_and_absent_interpreters(tmp_path: Path) -> None:
    python = program(tmp_path / "python3.12")
    with pytest.raises(HostError, match="did not answer within 20 s"):
        host.inspect_interpreter(python, {}, run=FakeRun((-15, "", ""), timed_out=True))
    with pytest.raises(HostError, match=r"there is no interpreter at .*absent: No such file or directory"):
        host.inspect_interpreter(tmp_path / "absent", {}, run=command.run)
