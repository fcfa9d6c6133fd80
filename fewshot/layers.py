"""Layers that stay fast under ``torch.func.vmap``, where every task of a meta-batch has weights of its own.

The tasks lie beside one another in the channels: a convolution per task is one convolution with a group per task, and
a batch norm per task is one batch norm. In memory the channels come last, ``[n, H, W, T*C]``, so that every pass is
over contiguous rows. The derivatives are written out to the second order, in as few passes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.grad import conv2d_input, conv2d_weight

Context = Any  # what autograd hands to a Function


def tasks_into(dim: int, x: Tensor, batch_dim: int | None, tasks: int) -> Tensor:
    """Merges the dimension that ``vmap`` hides into the dimension ``dim``: ``[n, C, ...]`` becomes ``[n, T*C, ...]``."""
    x = x.unsqueeze(0).expand(tasks, *x.shape) if batch_dim is None else x.movedim(batch_dim, 0)
    return x.movedim(0, dim).flatten(dim, dim + 1)


class _Convolution(Function):
    """A convolution ``y = x * w`` with ``w`` of shape ``[groups*O, I, kH, kW]``.

    It is linear in ``x`` and in ``w``, and so are its two adjoints below: the derivatives of each of the three are the
    other two. Autograd's own second derivative of a grouped convolution runs group after group instead.
    """

    @staticmethod
    def forward(x: Tensor, w: Tensor, stride: int, padding: int, groups: int) -> Tensor:
        return torch.conv2d(x, w, None, stride, padding, 1, groups)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, w, *ctx.how = inputs
        ctx.save_for_backward(x, w)

    @staticmethod
    def backward(ctx: Context, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        gx = _InputAdjoint.apply(gy, w, x.shape, *ctx.how) if ctx.needs_input_grad[0] else None
        gw = _WeightAdjoint.apply(gy, x, w.shape, *ctx.how) if ctx.needs_input_grad[1] else None
        return gx, gw, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor, w: Tensor, *how: int) -> tuple[Tensor, int]:
        stride, padding, groups = how
        tasks = info.batch_size
        x = tasks_into(1, x, in_dims[0], tasks).contiguous(memory_format=torch.channels_last)
        w = tasks_into(0, w, in_dims[1], tasks).contiguous(memory_format=torch.channels_last)
        return _Convolution.apply(x, w, stride, padding, groups * tasks).unflatten(1, (tasks, -1)), 1


class _InputAdjoint(Function):
    """The gradient of a convolution in its input, as a function of ``gy`` and ``w``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gy: Tensor, w: Tensor, shape: torch.Size, stride: int, padding: int, groups: int) -> Tensor:
        return conv2d_input(shape, w, gy, stride, padding, 1, groups)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
        gy, w, _, *ctx.how = inputs
        ctx.save_for_backward(gy, w)

    @staticmethod
    def backward(ctx: Context, x: Tensor) -> tuple[Tensor | None, ...]:
        gy, w = ctx.saved_tensors
        x = x.contiguous(memory_format=torch.channels_last)
        ggy = _Convolution.apply(x, w, *ctx.how) if ctx.needs_input_grad[0] else None
        gw = _WeightAdjoint.apply(gy, x, w.shape, *ctx.how) if ctx.needs_input_grad[1] else None
        return ggy, gw, None, None, None, None


class _WeightAdjoint(Function):
    """The gradient of a convolution in its weight, as a function of ``gy`` and ``x``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gy: Tensor, x: Tensor, shape: torch.Size, stride: int, padding: int, groups: int) -> Tensor:
        return conv2d_weight(x, shape, gy, stride, padding, 1, groups)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
        gy, x, _, *ctx.how = inputs
        ctx.save_for_backward(gy, x)

    @staticmethod
    def backward(ctx: Context, w: Tensor) -> tuple[Tensor | None, ...]:
        gy, x = ctx.saved_tensors
        w = w.contiguous(memory_format=torch.channels_last)
        ggy = _Convolution.apply(x, w, *ctx.how) if ctx.needs_input_grad[0] else None
        gx = _InputAdjoint.apply(gy, w, x.shape, *ctx.how) if ctx.needs_input_grad[1] else None
        return ggy, gx, None, None, None, None


class Conv2d(nn.Conv2d):
    """A convolution without bias, of square stride and padding; its weights lie channels-last in memory."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Convolves ``[n, C, H, W]``."""
        weight = self.weight
        if torch.is_autocast_enabled(x.device.type):  # here, as autocast does not see into a Function's backward
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
        return _Convolution.apply(x, weight, self.stride[0], self.padding[0], 1)


def over_rows(x: Tensor) -> Tensor:
    """Sums ``[n, C, H, W]`` over all but the channels: ``[1, C, 1, 1]``."""
    return x.sum((0, 2, 3), keepdim=True)


class _Normalization(Function):
    """``w * x̂ + b``, where x̂ is x with mean 0 and variance 1 in every channel; ``w`` and ``b`` are ``[1, C, 1, 1]``."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        scale = x.shape[1] / x.numel()  # one over the number of rows
        x = x - over_rows(x) * scale
        r = torch.rsqrt(over_rows(x * x) * scale + eps)
        x *= r
        return torch.addcmul(b, x, w), x, r

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, w, _, _ = inputs
        _, normalised, r = output
        ctx.mark_non_differentiable(normalised, r)
        ctx.save_for_backward(x, w, normalised, r)

    @staticmethod
    def backward(ctx: Context, gy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        return *_NormalizationGradient.apply(gy, *ctx.saved_tensors)[:3], None

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
    def forward(gy: Tensor, x: Tensor, w: Tensor, normalised: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale = x.shape[1] / x.numel()
        a, c = over_rows(gy), over_rows(gy * normalised)
        gx = torch.addcmul(gy, normalised, c * -scale).sub_(a * scale).mul_(w * r)
        return gx, c, a

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        gy, _, w, normalised, r = inputs
        _, c, a = output
        ctx.save_for_backward(gy, w, normalised, r, c, a)

    @staticmethod
    def backward(ctx: Context, u: Tensor, uw: Tensor, ub: Tensor) -> tuple[Tensor | None, ...]:
        gy, w, normalised, r, c, a = ctx.saved_tensors
        scale = gy.shape[1] / gy.numel()
        p, q, t = over_rows(u), over_rows(u * normalised), over_rows(u * gy)
        # The scalar whose gradients these are is w r k + uw c + ub a, with
        k = t - (a * p + c * q) * scale
        # Its derivative in x̂ is h = alpha gy + beta u; x̂ and r both depend on x.
        alpha, beta = uw - w * r * q * scale, -w * r * c * scale
        ggy = torch.addcmul(w * r * u, normalised, alpha).add_(ub - w * r * p * scale)
        gx = torch.addcmul(gy * alpha, u, beta)
        gx = gx.addcmul_(normalised, -scale * (alpha * c + beta * q + w * k * r))
        gx = gx.sub_((alpha * a + beta * p) * scale).mul_(r)
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
        x = x.to(self.weight.dtype)  # under bf16 autocast, statistics in float32
        weight, bias = self.weight.view(1, -1, 1, 1), self.bias.view(1, -1, 1, 1)
        if support_size is None:
            return _Normalization.apply(x, weight, bias, self.eps)[0]
        variance, mean = torch.var_mean(x[:support_size], dim=(0, 2, 3), correction=0, keepdim=True)
        return torch.addcmul(bias, x - mean, weight * torch.rsqrt(variance + self.eps))
