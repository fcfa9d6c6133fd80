"""The batch norm that is written out, and the network on top of it."""

import pytest
import torch
from torch import nn

from fewshot.networks import BatchNorm, Conv4


def test_batch_norm_without_running_statistics_is_torchs():
    ours = BatchNorm(3, track_running_stats=False).double()
    nn.init.uniform_(ours.weight), nn.init.uniform_(ours.bias)
    theirs = nn.BatchNorm2d(3, track_running_stats=False).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))
    assert torch.equal(ours.eval()(x), ours.train()(x))


def test_the_support_sets_statistics_serve_for_the_queries():
    norm = BatchNorm(1, track_running_stats=False, eps=0)
    support = torch.tensor([0.0, 2.0, 4.0, 6.0]).reshape(4, 1, 1, 1)  # mean 3, variance 5
    normalised = norm(torch.cat([support, torch.tensor([[[[8.0]]]])]), support_size=4)
    torch.testing.assert_close(normalised[4].flatten(), torch.tensor([5 / 5**0.5]))


def test_running_statistics_are_torchs():
    norm = BatchNorm(2, track_running_stats=True)
    x = torch.randn(8, 2, 3, 3) + 5
    norm(x)
    torch.testing.assert_close(norm.running_mean, 0.1 * x.mean((0, 2, 3)))
    single = norm.eval()(x[:1])
    assert torch.equal(single, norm(x)[:1])  # in evaluation, each image on its own


@pytest.mark.parametrize("downsample", ["stride", "pool"])
def test_conv4_embeds_images_of_any_size(downsample):
    network = Conv4(channels=8, in_channels=3, downsample=downsample)
    for size in (28, 32):
        assert network(torch.rand(5, 3, size, size)).shape == (5, network.out_features) == (5, 8)
