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
    with pytest.raises(FewShotError, match="at least 16 x 16 pixels, and the data have 14 x 20"):
        Conv4(downsample="pool")(torch.rand(5, 1, 14, 20))


def test_cells_keep_places_apart():
    whole, places = (Conv4(channels=8, running_statistics=True, cells=cells).eval() for cells in (1, 2))
    places.load_state_dict(whole.state_dict())
    images = torch.rand(5, 1, 28, 28)
    features = places(images)
    assert features.shape == (5, places.out_features) == (5, 32)
    assert (whole.feature_shape, places.feature_shape) == ((8, 1, 1), (8, 2, 2))
    assert places(torch.rand(5, 1, 84, 84)).shape == (5, 32)
    # 28 pixels are halved to 2 x 2 places, whose mean is the feature of a network of one cell.
    torch.testing.assert_close(features.view(5, 8, 4).mean(-1), whole(images))
    with pytest.raises(FewShotError, match=r"^1 x 1 places are left of the images, fewer than cells \(2\): lower"):
        Conv4(channels=8, downsample="pool", cells=2)(images)
    with pytest.raises(FewShotError, match=r"^cells must be at least 1, not 0$"):
        Conv4(cells=0)


def test_the_first_layer_of_one_channel_leaves_the_channels_last_in_memory():
    """Else every layer behind it would turn them round, or crawl."""
    first = Conv4().convolutions[0](torch.rand(5, 1, 28, 28))
    assert first.is_contiguous(memory_format=torch.channels_last)
