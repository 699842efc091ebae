"""Every check by its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict

from .arithmetic import (
    check_autograd,
    check_conv2d,
    check_dtypes,
    check_fft,
    check_matmul,
    check_regression,
    check_svd,
    check_tensor,
)
from .beyond import check_compile, check_dataloader, check_save_load
from .build import check_import, check_variant, check_version
from .devices import GRADERS, check_device
from .digest import check_environment_digest
from .family import check_audio_resample, check_numpy, check_vision_nms, check_vision_transforms
from .installed import check_distributions

if TYPE_CHECKING:
    from .context import Context, Result

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


WITHOUT_TORCH = ("distributions", "environment-digest")
"""Checks that look at files alone. They run first, whatever their place in the spec: before torch touches anything."""
