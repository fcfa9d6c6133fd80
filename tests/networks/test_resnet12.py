"""ResNet-12: the published network, whose dropped squares are those of DropBlock."""

import pytest
import torch
import torch.nn.functional as F
from helpers import agree, image_tasks, quiet_trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fewshot.algorithms import MAMLModule, ProtoNetModule
from fewshot.episodes import Episode
from fewshot.errors import FewShotError
from fewshot.networks import ResNet12
from fewshot.networks.resnet12 import drop_squares

SMALL = {"channels": (4, 5, 6, 7), "in_channels": 1}


class Plain(nn.Module):
    """A block of the same network, of torch's own layers."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(before if i == 0 else after, after, 3, 1, 1, bias=False)
                                          for i in range(3))  # fmt: skip
        self.shortcut = nn.Conv2d(before, after, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.norms[0](self.convolutions[0](x)), 0.1)
        y = F.leaky_relu(self.norms[1](self.convolutions[1](y)), 0.1)
        y = self.norms[2](self.convolutions[2](y))
        return nn.MaxPool2d(2)(F.leaky_relu(y + self.norms[3](self.shortcut(x)), 0.1))


@pytest.mark.parametrize("training", [True, False])
def test_it_is_the_network_of_torchs_own_layers(training):
    network = ResNet12(**SMALL).double().train(training)
    plain = nn.Sequential(*(Plain(*widths) for widths in ((1, 4), (4, 5), (5, 6), (6, 7)))).double().train(training)
    plain.load_state_dict(network.blocks.state_dict())
    x = torch.rand(6, 1, 20, 20, dtype=torch.float64)
    torch.testing.assert_close(network(x), plain(x).mean((2, 3)))


def test_it_is_of_the_published_size():
    assert sum(parameter.numel() for parameter in ResNet12().parameters()) == pytest.approx(12.4e6, rel=0.005)
    assert ResNet12(channels=(4, 4, 4, 9)).out_features == 9


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive", "running"])
def test_both_inner_loops_agree_on_it(batch_norm):
    network = ResNet12(**SMALL, running_statistics=batch_norm == "running")
    ours, theirs = (
        MAMLModule(network, outputs=3, inner_lr=0.1, inner_loop=loop, batch_norm=batch_norm).double()
        for loop in ("vectorized", "sequential")
    )
    theirs.load_state_dict(ours.state_dict())
    agree(ours, theirs, image_tasks())


def test_maml_adapts_it_while_it_drops():
    network = ResNet12(**SMALL, running_statistics=False, drop_rate=0.2, drop_size=1)
    module = MAMLModule(network, outputs=3).double()
    loss = module.outer_loss(image_tasks()).loss
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    assert network.batches == 0  # which the training counts, not the passes


def test_batches_are_counted_however_often_they_are_embedded():
    network = ResNet12(**SMALL, running_statistics=False, drop_rate=0.2, drop_size=1)
    module = MAMLModule(network, outputs=3, adaptation_steps=2, task_chunk_size=1)
    quiet_trainer(max_steps=2).fit(module, DataLoader([image_tasks()] * 2, batch_size=None))
    assert network.batches == 2


def test_it_trains_in_bf16():
    module = ProtoNetModule(ResNet12(**SMALL, drop_rate=0.1))
    support, query, classes = image_tasks()
    episode = Episode(*(part._replace(x=part.x.float()) for part in (support, query)), classes)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    losses = []
    for _ in range(8):
        with torch.autocast("cpu", torch.bfloat16):
            losses.append(module.outer_loss(episode).loss)
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.1
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())


def test_what_is_dropped_are_squares_and_the_rest_is_scaled_up():
    x = torch.ones(50, 20, 9, 9)
    dropped = drop_squares(x, torch.tensor(0.1), size=3)
    zero = (dropped == 0).float()
    squares = F.conv2d(zero.flatten(0, 1).unsqueeze(1), torch.ones(1, 1, 3, 3)) == 9
    covered = F.conv_transpose2d(squares.float(), torch.ones(1, 1, 3, 3)) > 0
    assert torch.equal(covered.flatten(), zero.bool().flatten())  # nothing but whole squares
    assert zero.mean() == pytest.approx(0.1, abs=0.01)
    torch.testing.assert_close(dropped.sum(), x.sum())
    assert len(dropped.unique()) == 2


def test_it_drops_in_training_alone_and_more_and_more():
    network = ResNet12(**SMALL, drop_rate=0.3)
    x = torch.rand(4, 1, 32, 32)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
    network.batches.fill_(20_000)
    assert network.rate() == pytest.approx(0.15)
    network.batches.fill_(80_000)
    assert network.rate() == pytest.approx(0.3)
    torch.manual_seed(1)
    first = network.train()(x)
    torch.manual_seed(1)
    assert torch.equal(first, network(x))  # drawn by torch, and by nothing else


def test_what_cannot_be_is_refused():
    with pytest.raises(FewShotError, match=r"drop_rate must be at least 0 and below 1, not 1"):
        ResNet12(drop_rate=1)
    with pytest.raises(FewShotError, match="channels must be at least 1, not 0"):
        ResNet12(channels=(1, 2, 3, 0))
    with pytest.raises(FewShotError, match="images of at least 16 x 16 pixels, and the data have 8 x 16"):
        ResNet12(**SMALL)(torch.rand(2, 1, 8, 16))
    with pytest.raises(FewShotError, match=r"--model.network.in_channels 1"):
        ResNet12()(torch.rand(2, 1, 28, 28))
