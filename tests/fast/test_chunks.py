"""How many tasks are adapted at once, if nobody says it."""

import pytest
import torch
from torch import nn

from fewshot.algorithms import MAMLModule
from fewshot.episodes import Episode, Examples
from fewshot.fast import chunks
from fewshot.fast.chunks import largest_activation, tasks_at_once
from fewshot.networks import Conv4

LAYER = 64 * 14 * 14 * 4  # bytes of the first layer's output for one image: 50,176


def test_the_largest_activation_is_the_first_layers():
    images = torch.rand(2, 1, 28, 28)
    assert largest_activation(Conv4(), images) == LAYER
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert largest_activation(Conv4(), images) == LAYER // 2


def test_looking_changes_no_statistics():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    before = network[1].running_mean.clone()
    assert largest_activation(network, torch.rand(2, 1, 8, 8)) == 4 * 6 * 6 * 4
    assert torch.equal(network[1].running_mean, before)


@pytest.mark.parametrize(
    ("tasks", "images", "at_once"),
    [
        (32, 5, 32),  # 8 MB
        (32, 25, 16),  # 20 tasks would fit into 24 MB; 16 are equal parts
        (16, 100, 4),  # 5 would
        (7, 100, 5),  # equal parts would be of one task each
        (4, 1000, 1),  # one task alone has 50 MB
    ],
)
def test_parts_are_equal_and_fit(tasks, images, at_once):
    assert tasks_at_once(tasks, images * LAYER) == at_once


@pytest.mark.parametrize(("option", "parts"), [(None, [1, 1, 1]), ("all", [3]), (2, [2, 1])])
def test_a_learner_goes_by_the_rule_or_by_what_it_is_told(option, parts, monkeypatch):
    module = MAMLModule(Conv4(channels=4), outputs=3, task_chunk_size=option)
    labels = torch.arange(3).repeat(3, 1)
    episode = Episode(*(Examples(torch.rand(3, 3, 1, 28, 28), labels) for _ in range(2)))
    monkeypatch.setattr(chunks, "LARGEST", 4 * 14 * 14 * 4 * 3)  # one task of three images
    assert [len(part.query.y) for part in module.chunks(episode)] == parts
    whole = MAMLModule(Conv4(channels=4), outputs=3, task_chunk_size="all")
    whole.load_state_dict(module.state_dict())
    torch.testing.assert_close(module.outer_loss(episode).loss, whole.outer_loss(episode).loss)
