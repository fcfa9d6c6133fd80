"""The convolution of images of one channel as a product of their patches with the kernels.

oneDNN's takes two to three times as long, as its kernels go by blocks of channels. With the patches as rows the result
comes out with the channels last in memory.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 16  # numbers in a vector register: products of nine take three times as long in float32 as those of 16


def patches(x: Tensor, kernel: Sequence[int], stride: int, padding: int) -> Tensor:
    """The patches under a kernel of ``[n, 1, H, W]`` as rows, ``[n, H', W', kH*kW]``, filled up to a block with 0."""
    windows = F.pad(x[:, 0], [padding] * 4).unfold(1, kernel[0], stride).unfold(2, kernel[1], stride)
    rows = windows.flatten(3)
    return F.pad(rows, (0, -rows.shape[-1] % BLOCK))


def convolved(x: Tensor, w: Tensor, stride: int, padding: int) -> Tensor:
    """Convolves ``[n, 1, H, W]`` with ``[O, 1, kH, kW]``: ``[n, O, H', W']``, the channels last in memory."""
    rows = patches(x, w.shape[2:], stride, padding)
    kernels = F.pad(w.flatten(1), (0, rows.shape[-1] - w[0].numel()))
    return (rows @ kernels.T).permute(0, 3, 1, 2)


def weight_gradient(gy: Tensor, x: Tensor, shape: torch.Size, stride: int, padding: int) -> Tensor:
    """The gradient of :func:`convolved` in its weights of ``shape``, where that in its outputs is ``gy``."""
    rows = patches(x, shape[2:], stride, padding).flatten(0, 2)
    gradient = gy.permute(0, 2, 3, 1).flatten(0, 2).T @ rows  # [O, block]
    return gradient[:, : shape[2] * shape[3]].reshape(shape)
