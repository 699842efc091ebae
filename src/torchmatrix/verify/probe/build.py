"""Which torch this is: its version and what it was built for."""

from __future__ import annotations

from .context import Context, Failed, Result, equal
from .facts import arch_flags, describe_build, mps_built, xpu_compiled
from .installed import canonical


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
        if cuda or hip or not (xpu or xpu_compiled(torch)):
            problem = f"asked was XPU, installed is {actual}"
    elif cuda or hip or xpu:
        problem = f"asked was a CPU build, installed is {actual}"
    elif kind == "mps" and not mps_built(torch):
        problem = f"asked was MPS, installed is a build without it: {actual}"
    if problem is None and asked.get("local") and local != asked["local"]:
        problem = f"the local version is {'+' + local if local else 'absent'}, asked was +{asked['local']}"
    if problem:
        remark = asked.get("remark")
        raise Failed(expected, actual, problem + (f"; {remark}" if remark else ""))
    return expected, actual
