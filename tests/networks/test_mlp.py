"""The network of linear layers."""

import pytest
import torch
from helpers import REPOSITORY, TINY

from fewshot.errors import FewShotError
from fewshot.networks import MLP


def test_the_network_is_linear_layers_with_relus():
    network = MLP(widths=(4, 3))
    first, second = network.layers
    x = torch.randn(6, 1)
    torch.testing.assert_close(network(x), second(first(x).relu()).relu())
    assert (network.out_features, sum(p.numel() for p in network.parameters())) == (3, 2 * 4 + 5 * 3)
    assert MLP(in_features=9)(torch.randn(2, 1, 3, 3)).shape == (2, 40)  # images are flattened


@pytest.mark.parametrize("options", [{"widths": ()}, {"widths": (3, 0)}, {"in_features": 0}])
def test_a_network_without_units_is_refused(options):
    with pytest.raises(FewShotError, match="must be at least 1"):
        MLP(**options)


def test_examples_of_another_length_are_refused_with_the_option_to_set(fails, tmp_path):
    place = [*TINY, f"--trainer.default_root_dir={tmp_path}"]
    config = REPOSITORY / "configs" / "glyphs_maml.yaml"
    message = fails("fit", f"--config={config}", "--model.network=MLP", *place)
    assert message.endswith("the data have 784: --model.network.in_features 784")
