"""The network of the first papers."""

import pytest
import torch

from fewshot.errors import FewShotError
from fewshot.networks import Conv4


@pytest.mark.parametrize("downsample", ["stride", "pool"])
def test_conv4_embeds_images_of_any_size(downsample):
    network = Conv4(channels=8, in_channels=3, downsample=downsample)
    for size in (28, 32):
        assert network(torch.rand(5, 3, size, size)).shape == (5, network.out_features) == (5, 8)


def test_images_of_other_channels_and_numbers_are_refused_with_the_way_out():
    message = (
        r"takes images of 1 channels, and the data have examples of shape \[3, 28, 28\]: --model.network.in_channels 3"
    )
    with pytest.raises(FewShotError, match=message):
        Conv4()(torch.rand(5, 3, 28, 28))
    with pytest.raises(FewShotError, match=r"images of 1 channels, .* shape \[1\]: choose another --model.network"):
        Conv4()(torch.rand(5, 1))
