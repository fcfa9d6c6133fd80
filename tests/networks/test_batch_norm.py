"""Whose statistics normalise: those of the batch at hand, of the support set, or of training."""

import torch
from torch import nn

from fewshot.fast.layers import BatchNorm
from fewshot.networks import Conv4, PerStepBatchNorm, keeps_running_statistics, per_step, per_step_tables, rows_of_step


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


def test_a_network_says_whether_it_keeps_running_statistics():
    assert keeps_running_statistics(Conv4(channels=2, running_statistics=True)) is True
    assert keeps_running_statistics(Conv4(channels=2)) is False
    assert keeps_running_statistics(nn.Linear(1, 1)) is None


def test_scales_and_shifts_per_step_start_where_the_norm_was_and_the_last_serve_for_more():
    network = Conv4(channels=3)
    network.norms[1].weight.data = torch.tensor([1.0, 2.0, 3.0])
    assert per_step(network, steps=2) == 4
    assert all(isinstance(norm, PerStepBatchNorm) for norm in network.norms)
    tables = per_step_tables(network)
    assert len(tables) == 8
    weight = tables["norms.1.weight"]
    assert weight.tolist() == [[1, 2, 3]] * 3
    weight.data += torch.arange(3)[:, None]
    rows = [rows_of_step(tables, step)["norms.1.weight"].tolist() for step in range(4)]
    assert rows == [[1, 2, 3], [2, 3, 4], [3, 4, 5], [3, 4, 5]]


def test_left_alone_a_norm_per_step_is_that_of_no_steps():
    norm = BatchNorm(3, track_running_stats=False)
    tables = PerStepBatchNorm(norm, steps=2)
    tables.weight.data[1:] = 7
    x = torch.randn(6, 3, 4, 4)
    assert torch.equal(tables(x), norm(x))
    assert torch.equal(tables(x, support_size=2), norm(x, support_size=2))
