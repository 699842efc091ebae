"""What torch says about its own build."""

from __future__ import annotations

from typing import Any, Callable, Dict, List


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


def describe_build(torch: Any) -> str:
    """The build in words: ``CPU build (torch 2.13.0+cpu)``."""
    version = f"(torch {torch.__version__})"
    if getattr(torch.version, "cuda", None):
        return f"CUDA {torch.version.cuda} build {version} for {' '.join(arch_flags(torch)) or 'no architecture'}"
    if getattr(torch.version, "hip", None):
        return f"ROCm {torch.version.hip} build {version}"
    if getattr(torch.version, "xpu", None):
        return f"XPU build {version}"
    return f"{'MPS' if mps_built(torch) else 'CPU'} build {version}"


def mps_built(torch: Any) -> bool:
    """Whether MPS is compiled in, on whatever machine this is."""
    mps = getattr(getattr(torch, "backends", None), "mps", None)
    return mps is not None and bool(mps.is_built())


def xpu_compiled(torch: Any) -> bool:
    """Whether XPU is compiled in; older builds say it only in private."""
    compiled = getattr(getattr(torch, "xpu", None), "_is_compiled", None)
    return compiled is not None and bool(compiled())
