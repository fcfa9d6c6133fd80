"""Images of one channel, whose convolution is a product: torch's own, and finite differences."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import conv2d

from fewshot.fast.layers import Conv2d
from fewshot.fast.patches import patches


def test_patches_by_hand():
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    rows = patches(image, (2, 2), stride=1, padding=0)
    assert rows[..., :4].flatten(0, 2).tolist() == [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]
    assert rows.shape == (1, 2, 2, 16)
    assert not rows[..., 4:].any()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(5, 5), (6, 7)])
def test_it_is_torchs_own_to_the_second_derivative_with_the_channels_last(stride, size):
    layer = Conv2d(1, 3, kernel_size=3, stride=stride, padding=1).double()
    x = torch.randn(2, 1, *size, dtype=torch.float64)
    ours = layer(x)
    torch.testing.assert_close(ours, conv2d(x, layer.weight, stride=stride, padding=1))
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert gradcheck(layer, x.requires_grad_())
    assert gradgradcheck(lambda images, weight: torch.func.functional_call(layer, {"weight": weight}, (images,)),
                         (x, layer.weight))  # fmt: skip
