"""Packages around torch: numpy, torchvision, torchaudio."""

from __future__ import annotations

import importlib
import importlib.util
import math
from typing import Any

from .context import Context, Result, Skipped, equal, error_text, flat, largest_error


def check_numpy(context: Context) -> Result:
    """Arrays and tensors share memory, both ways."""
    numpy = _optional(context, "numpy")
    torch = context.torch
    array = numpy.arange(6.0)
    tensor = torch.from_numpy(array)
    array[0] = 42.0
    largest_error([42.0, 1, 2, 3, 4, 5], flat(tensor), "the tensor over a changed array")
    tensor = torch.arange(3.0)
    array = tensor.numpy()
    tensor[0] = 42.0
    largest_error([42.0, 1, 2], array.tolist(), "the array over a changed tensor")
    return "shares memory both ways", "shares memory both ways"


def check_vision_nms(context: Context) -> Result:
    """torchvision's compiled operator drops the box that overlaps a better one."""
    torch = context.torch
    vision = _optional(context, "torchvision")
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    kept = vision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    equal([0, 2], kept.tolist(), "what torchvision.ops.nms keeps")
    return "keeps boxes 0 and 2 of 3", "keeps boxes 0 and 2 of 3"


def check_vision_transforms(context: Context) -> Result:
    """Crop and normalize an image with known pixels."""
    torch = context.torch
    _optional(context, "torchvision")
    transforms = importlib.import_module("torchvision.transforms")
    image = torch.arange(16.0).reshape(1, 4, 4)
    steps = transforms.Compose([transforms.CenterCrop(2), transforms.Normalize([5.0], [5.0])])
    error = largest_error([0.0, 0.2, 0.8, 1.0], flat(steps(image)), "the cropped and normalized image")
    return "four known pixels", f"cropped and normalized, {error_text(error)}"


def check_audio_resample(context: Context) -> Result:
    """A 440 Hz tone keeps its values when every other sample is dropped, away from the ends."""
    torch = context.torch
    _optional(context, "torchaudio")
    functional = importlib.import_module("torchaudio.functional")
    tone = torch.sin(2 * math.pi * 440 * torch.arange(1600.0) / 16000).unsqueeze(0)
    half = functional.resample(tone, 16000, 8000)
    equal([1, 800], list(half.shape), "the shape of the resampled tone")
    error = largest_error(flat(tone[0, ::2][300:320]), flat(half[0][300:320]), "the resampled tone", 2e-2)
    return "every other sample", f"{error_text(error)} against every other sample"


def _optional(context: Context, name: str) -> Any:
    if context.check.get("optional") and importlib.util.find_spec(name) is None:
        raise Skipped(f"{name} is not installed")
    return importlib.import_module(name)
