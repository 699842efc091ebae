"""Does it compute: small sums on the CPU against Python's own."""

from __future__ import annotations

import cmath
import importlib

from .context import Context, Failed, Result, brief, equal, error_text, flat, largest_error

STEPS = 300
"""Of the regression; with a rate of 0.1 weight and bias are then right to seven digits."""


def check_tensor(context: Context) -> Result:
    """``torch.rand(5, 3)``, PyTorch's own first check: its shape, its range, not all the same."""
    x = context.torch.rand(5, 3)
    equal([5, 3], list(x.shape), "the shape of torch.rand(5, 3)")
    values = flat(x)
    if not all(0 <= value < 1 for value in values) or len(set(values)) < 2:
        raise Failed("15 numbers in [0, 1)", brief(values), "torch.rand gave other numbers")
    return "5 x 3, all in [0, 1)", "5 x 3, all in [0, 1)"


def check_matmul(context: Context) -> Result:
    """``x @ x.T`` against Python's own double precision."""
    context.torch.manual_seed(0)
    x = context.torch.rand(5, 3)
    rows = x.tolist()
    expected = [sum(a * b for a, b in zip(p, q)) for p in rows for q in rows]
    error = largest_error(expected, flat(x @ x.T), "x @ x.T")
    return "x @ x.T in float64", f"{error_text(error)} against float64"


def check_autograd(context: Context) -> Result:
    """The gradient of sum(x ** 3) is 3 x ** 2."""
    values = [-2.0, -0.5, 0.0, 1.0, 3.0]
    x = context.torch.tensor(values, requires_grad=True)
    (x**3).sum().backward()
    largest_error([3 * value * value for value in values], flat(x.grad), "the gradient of x ** 3")
    return "the gradients 3 x ** 2", "gradients equal to the analytic ones"


def check_regression(context: Context) -> Result:
    """y = 3 x + 2 learnt by SGD."""
    torch = context.torch
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    y = 3 * x + 2
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    weight, bias = model.weight.item(), model.bias.item()
    largest_error([3.0, 2.0], [weight, bias], "weight and bias after SGD on y = 3x + 2", 1e-3)
    return "weight 3, bias 2", f"weight {weight:.4f}, bias {bias:.4f} after {STEPS} steps"


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
    error = largest_error(expected, flat(torch.nn.functional.conv2d(image, kernel)), "conv2d")
    return "the sums of loops in float64", f"{error_text(error)} against loops in float64"


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
        raise Failed("descending singular values", brief(values), "the singular values are not in order")
    back = [sum(left[i][k] * values[k] * right[k][j] for k in range(3)) for i in range(4) for j in range(3)]
    error = largest_error(flat(a), back, "U S V^T")
    return "U S V^T is the matrix", f"U S V^T is the matrix, {error_text(error)}"


def check_fft(context: Context) -> Result:
    """An FFT of eight numbers against the sum that defines it."""
    torch = context.torch
    torch.manual_seed(0)
    x = torch.rand(8, dtype=torch.float64)
    values, n = x.tolist(), 8
    expected = [sum(v * cmath.exp(-2j * cmath.pi * k * i / n) for i, v in enumerate(values)) for k in range(n)]
    spectrum = importlib.import_module("torch.fft").fft(x)
    parts = [part for z in expected for part in (z.real, z.imag)]
    error = largest_error(parts, flat(torch.view_as_real(spectrum)), "torch.fft.fft")
    largest_error(values, flat(importlib.import_module("torch.fft").ifft(spectrum).real), "the inverse FFT")
    return "the sum that defines it", f"{error_text(error)} against the sum that defines it"
