"""Layers that stay fast under ``torch.func.vmap``, where every task of a meta-batch has weights of its own.

The tasks lie beside one another in the channels: a convolution per task is one convolution with a group per task, and
a batch norm per task is one batch norm. In memory the channels come last, ``[n, H, W, T*C]``, so that every pass is
over contiguous rows. The derivatives are written out, in as few passes as it takes, to the second order and for
autograd: not for ``torch.func.grad``.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input, conv2d_weight, conv3d_input

from fewshot.fast.patches import convolved, weight_gradient

Context = Any  # what autograd hands to a Function


def tasks_into(dim: int, x: Tensor, batch_dim: int | None, tasks: int) -> Tensor:
    """Merges the dimension that ``vmap`` hides into dimension ``dim``: at 1, ``[n, C]`` becomes ``[n, T*C]``."""
    x = x.unsqueeze(0).expand(tasks, *x.shape) if batch_dim is None else x.movedim(batch_dim, 0)
    return x.movedim(0, dim).flatten(dim, dim + 1)


class Geometry(NamedTuple):
    """What a convolution is beside its weights: square stride and padding."""

    stride: int
    padding: int

    @property
    def of_volume(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Stride and padding with a third axis, along which the kernel has length one."""
        return (self.stride, self.stride, 1), (self.padding, self.padding, 0)


def shared(w: Tensor) -> bool:
    """Whether the weights ``[T, O, I, kH, kW]`` are those of one task, expanded."""
    return len(w) > 1 and w.stride(0) == 0 and w.shape[2] > 1


def as_volume(x: Tensor, tasks: int) -> Tensor:
    """Views ``[n, T*C, H, W]`` as ``[n, C, H, W, T]``, without a copy where the channels come last in memory."""
    return x.unflatten(1, (tasks, -1)).movedim(1, 4)


def volume_weight(w: Tensor) -> Tensor:
    """The weights ``[O, I, kH, kW]`` of a convolution for volumes, ``[O, I, kH, kW, 1]``, I last in memory."""
    return w.movedim(1, 3).unsqueeze(3).movedim(4, 1)


def as_image(x: Tensor) -> Tensor:
    """Undoes :func:`as_volume`."""
    return x.movedim(4, 1).flatten(1, 2)


def channels_last(x: Tensor) -> Tensor:
    """The same numbers, with the channels last in memory."""
    x = x.contiguous(memory_format=torch.channels_last)
    if x.shape[1] > 1:
        return x
    # Of one channel both orders are the same in memory, and a convolution goes by the strides: they have to say it.
    return x.as_strided(x.shape, (x.shape[2] * x.shape[3], 1, x.shape[3], 1))


class _Convolution(Function):
    """The convolutions ``y = x * w`` of T tasks: ``x`` is ``[n, T*I, H, W]``, ``w`` is ``[T, O, I, kH, kW]``.

    It is linear in ``x`` and in ``w``, and so are its two adjoints below: the derivatives of each of the three are the
    other two. (Autograd's own second derivative of a grouped convolution runs group after group instead.) Where the
    tasks still share their weights, they are the third axis of a volume that the kernel does not reach along.
    """

    @staticmethod
    def forward(x: Tensor, w: Tensor, how: Geometry) -> Tensor:
        if len(w) == x.shape[1] == 1:
            return convolved(x, w[0], *how)
        if shared(w):
            return as_image(torch.conv3d(as_volume(x, len(w)), volume_weight(w[0]), None, *how.of_volume))
        return torch.conv2d(x, channels_last(w.flatten(0, 1)), None, *how, groups=len(w))

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, w, ctx.how = inputs
        ctx.save_for_backward(x, w)

    @staticmethod
    def backward(ctx: Context, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        gy = channels_last(gy)
        gx = _InputAdjoint.apply(gy, w, x.shape, ctx.how) if ctx.needs_input_grad[0] else None
        gw = _WeightAdjoint.apply(gy, x, w.shape, ctx.how) if ctx.needs_input_grad[1] else None
        return gx, gw, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor, w: Tensor, how: Geometry) -> tuple[Tensor, int]:
        tasks = info.batch_size
        x = channels_last(tasks_into(1, x, in_dims[0], tasks))
        y = _Convolution.apply(x, tasks_into(0, w, in_dims[1], tasks), how)
        return y.unflatten(1, (tasks, -1)), 1


class _InputAdjoint(Function):
    """The gradient of a convolution in its input, as a function of ``gy`` and ``w``."""

    @staticmethod
    def forward(ctx: Context, gy: Tensor, w: Tensor, shape: torch.Size, how: Geometry) -> Tensor:
        ctx.save_for_backward(gy, w)
        ctx.how = how
        if shared(w):
            n, channels, *size = shape
            volume = torch.Size([n, channels // len(w), *size, len(w)])
            return as_image(conv3d_input(volume, volume_weight(w[0]), as_volume(gy, len(w)), *how.of_volume))
        return conv2d_input(shape, channels_last(w.flatten(0, 1)), gy, *how, groups=len(w))

    @staticmethod
    def backward(ctx: Context, x: Tensor) -> tuple[Tensor | None, ...]:
        gy, w = ctx.saved_tensors
        x = channels_last(x)
        ggy = _Convolution.apply(x, w, ctx.how) if ctx.needs_input_grad[0] else None
        gw = _WeightAdjoint.apply(gy, x, w.shape, ctx.how) if ctx.needs_input_grad[1] else None
        return ggy, gw, None, None


class _WeightAdjoint(Function):
    """The gradient of a convolution in its weight, as a function of ``gy`` and ``x``: that of each task."""

    @staticmethod
    def forward(ctx: Context, gy: Tensor, x: Tensor, shape: torch.Size, how: Geometry) -> Tensor:
        ctx.save_for_backward(gy, x)
        ctx.how = how
        if shape[0] == x.shape[1] == 1:
            return weight_gradient(gy, x, shape[1:], *how).unsqueeze(0)
        flat = torch.Size([shape[0] * shape[1], *shape[2:]])
        return conv2d_weight(x, flat, gy, *how, groups=shape[0]).unflatten(0, shape[:2])

    @staticmethod
    def backward(ctx: Context, w: Tensor) -> tuple[Tensor | None, ...]:
        gy, x = ctx.saved_tensors
        ggy = _Convolution.apply(x, w, ctx.how) if ctx.needs_input_grad[0] else None
        gx = _InputAdjoint.apply(gy, w, x.shape, ctx.how) if ctx.needs_input_grad[1] else None
        return ggy, gx, None, None


class Conv2d(nn.Conv2d):
    """A convolution without bias, of square stride and padding; its weights lie channels-last in memory."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.geometry = Geometry(stride, padding)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Convolves ``[n, C, H, W]``."""
        weight = self.weight
        if torch.is_autocast_enabled(x.device.type):  # here, as autocast does not see into a Function's backward
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
        return _Convolution.apply(x, weight.unsqueeze(0), self.geometry)


def row_sums(gy: Tensor, x: Tensor, mean: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over all but the channels, ``[1, C, 1, 1]``: of ``gy``, and of ``gy * (x - mean) * r``.

    It is the reduction within torch's batch norm: one pass, and float32 sums of bfloat16.
    """
    mask = [False, True, True]
    _, c, a = torch.ops.aten.native_batch_norm_backward(
        gy, x, None, None, None, mean.flatten(), r.flatten(), True, 0.0, mask
    )
    return a.view_as(mean), c.view_as(mean)


def combined(constant: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
    """The sum of a constant and of terms times factors; constant and factors, ``[1, C, 1, 1]``, are for a channel."""
    (x, factor), *others = terms
    y = torch.addcmul(constant.to(x.dtype), x, factor.to(x.dtype))
    for x, factor in others:
        y.addcmul_(x, factor.to(x.dtype))
    return y


class _Normalization(Function):
    """``y = w * x̂ + b``, where x̂ is x with mean 0 and variance 1 in each channel; ``w`` and ``b`` are ``[1, C, 1, 1]``.

    Beside y it returns what its derivatives need: the mean, and r, so that x̂ = r (x - mean). With x in bfloat16 these,
    ``w`` and ``b`` may be in float32.
    """

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        y, mean, r = torch.native_batch_norm(x, w.flatten(), b.flatten(), None, None, True, 0.0, eps)
        return y, mean.view_as(w), r.view_as(w)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, w, _, _ = inputs
        _, mean, r = output
        ctx.mark_non_differentiable(mean, r)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, w, mean, r)

    @staticmethod
    def backward(ctx: Context, gy: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        if gy is None:
            return None, None, None, None
        return *_NormalizationGradient.apply(gy, *ctx.saved_tensors), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        tasks = info.batch_size
        merged = (tasks_into(1, x, dim, tasks) for x, dim in zip(inputs[:3], in_dims))
        outputs = _Normalization.apply(*merged, inputs[3])
        return tuple(output.unflatten(1, (tasks, -1)) for output in outputs), (1, 1, 1)


class _NormalizationGradient(Function):
    """The gradients of a normalisation in ``x``, ``w`` and ``b``, as functions of ``gy``, ``x`` and ``w``.

    With the sums a = Σ gy and c = Σ gy x̂ over M rows: ∂x = w r (gy - a/M - x̂ c/M), ∂w = c, ∂b = a.
    """

    @staticmethod
    def forward(
        ctx: Context, gy: Tensor, x: Tensor, w: Tensor, mean: Tensor, r: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        gx, c, a = torch.ops.aten.native_batch_norm_backward(
            gy, x, w.flatten(), None, None, mean.flatten(), r.flatten(), True, 0.0, [True] * 3
        )
        c, a = c.view_as(w), a.view_as(w)
        ctx.save_for_backward(gy, x, w, mean, r, c, a)
        return gx, c, a

    @staticmethod
    @once_differentiable  # third derivatives are not written out
    def backward(ctx: Context, u: Tensor, uw: Tensor, ub: Tensor) -> tuple[Tensor | None, ...]:
        gy, x, w, mean, r, c, a = ctx.saved_tensors
        scale = gy.shape[1] / gy.numel()  # one over the number of rows
        p, q = row_sums(u, x, mean, r)
        _, t = row_sums(u, gy, torch.zeros_like(mean), torch.ones_like(r))
        wr = w * r
        # These are the derivatives of w r k + uw c + ub a, where k is
        k = t - (a * p + c * q) * scale
        # In x̂ that is alpha gy + beta u; both x̂ and r depend on x.
        alpha, beta = uw - wr * q * scale, -wr * c * scale
        ggy = combined(ub - wr * p * scale - mean * alpha * r, (u, wr), (x, alpha * r))
        gamma = (alpha * c + beta * q + wr * k) * r * r * scale
        gx = combined(mean * gamma - (alpha * a + beta * p) * r * scale, (gy, alpha * r), (u, beta * r), (x, -gamma))
        return ggy, gx, r * k, None, None


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation of tasks: without running statistics it normalises by the batch at hand.

    By all of it, or by its first ``support_size`` rows alone, in training and in evaluation alike. With running
    statistics it is ``nn.BatchNorm2d``.

    Ioffe and Szegedy, 2015, Batch Normalization, https://arxiv.org/abs/1502.03167.
    """

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Normalises ``x`` of shape ``[n, C, H, W]``."""
        if self.track_running_stats:
            return super().forward(x)
        return batch_norm(x, self.weight, self.bias, self.eps, support_size)


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, support_size: int | None = None) -> Tensor:
    """Normalises ``[n, C, H, W]`` by its own statistics, or those of its first ``support_size`` rows."""
    if support_size is not None or not torch.is_autocast_enabled(x.device.type):
        x = x.to(weight.dtype)  # what autocast leaves in bfloat16 may stay so: the statistics are in float32 anyway
    weight, bias = weight.view(1, -1, 1, 1), bias.view(1, -1, 1, 1)
    if support_size is None:
        return _Normalization.apply(x, weight, bias, eps)[0]
    variance, mean = torch.var_mean(x[:support_size], dim=(0, 2, 3), correction=0, keepdim=True)
    return torch.addcmul(bias, x - mean, weight * torch.rsqrt(variance + eps))
