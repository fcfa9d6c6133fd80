"""Statistics by hand."""

import pytest
import torch

from fewshot.algorithms import EpisodicModule
from fewshot.metrics import EpisodeStatistics


def test_a_summary_by_hand():
    statistics = EpisodeStatistics()
    statistics.update(torch.tensor([0.2, 0.4]))
    statistics.update(torch.tensor([0.6, 0.8]))
    mean, std, ci95, episodes = statistics.summary()
    assert (mean, episodes) == (pytest.approx(0.5), 4)
    assert std == pytest.approx((0.2 / 3) ** 0.5)  # squares 0.09 + 0.01 + 0.01 + 0.09 over n - 1
    assert ci95 == pytest.approx(1.96 * std / 2)


def test_one_episode_has_no_spread():
    statistics = EpisodeStatistics()
    statistics.update(torch.tensor([0.25]))
    assert statistics.summary() == (0.25, 0.0, 0.0, 1)


def test_accuracy_is_per_task_and_loss_over_all():
    logits = torch.tensor([[[2.0, 0.0], [2.0, 0.0]], [[0.0, 2.0], [0.0, 2.0]]])
    labels = torch.tensor([[0, 1], [1, 1]])
    assert EpisodicModule.accuracies(logits, labels).tolist() == [0.5, 1.0]
    right = torch.log1p(torch.exp(torch.tensor(-2.0)))  # -log of softmax(2, 0) at its larger entry
    torch.testing.assert_close(EpisodicModule.loss(logits, labels), (3 * right + right + 2) / 4)
