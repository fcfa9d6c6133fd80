"""Statistics by hand."""

import pytest
import torch

from fewshot.errors import FewShotError
from fewshot.metrics import EpisodeStatistics, paired_difference
from fewshot.objectives import OBJECTIVES


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
    objective = OBJECTIVES["cross-entropy"]
    assert objective.scores(logits, labels).tolist() == [0.5, 1.0]
    right = torch.log1p(torch.exp(torch.tensor(-2.0)))  # -log of softmax(2, 0) at its larger entry
    torch.testing.assert_close(objective.loss(logits, labels), (3 * right + right + 2) / 4)


def test_a_squared_error_is_per_task_and_loss_over_all():
    outputs = torch.tensor([[[1.0], [2.0]], [[3.0], [0.0]]])
    targets = torch.tensor([[[1.0], [0.0]], [[0.0], [0.0]]])
    assert OBJECTIVES["mse"].scores(outputs, targets).tolist() == [2.0, 4.5]
    assert OBJECTIVES["mse"].loss(outputs, targets) == 3.25


def test_another_number_of_outputs_than_of_targets_is_refused():
    with pytest.raises(FewShotError, match="the learner has 5 outputs per example, and a target has 1 numbers"):
        OBJECTIVES["mse"].loss(torch.zeros(2, 3, 5), torch.zeros(2, 3, 1))


def test_scores_are_shown_in_their_units():
    assert OBJECTIVES["cross-entropy"].show(0.9712, 0.0034) == "97.12% ± 0.34%"
    assert OBJECTIVES["mse"].show(0.3456, 0.0214) == "0.346 ± 0.021"
    assert OBJECTIVES["cross-entropy"].difference(0.0012, 0.0034) == "+0.12 ± 0.34"
    assert OBJECTIVES["mse"].difference(-0.2, 0.1) == "-0.200 ± 0.100"


def test_a_paired_difference_by_hand():
    difference = paired_difference([0.2, 0.4, 0.6], [0.2, 0.2, 0.2])  # differences 0, 0.2, 0.4: mean 0.2, std 0.2
    error = 0.2 / 3**0.5
    assert difference.mean == pytest.approx(0.2)
    assert difference.t == pytest.approx(0.2 / error)
    assert difference.p == pytest.approx(0.2254033)  # of Student's t with 2 degrees of freedom, beyond 1.7320508
    assert difference.ci95 == pytest.approx(4.3026527 * error)
    assert difference.episodes == 3


def test_a_paired_difference_without_spread():
    assert paired_difference([0.5, 0.5], [0.5, 0.5]) == (0, 0, 0, 1, 2)
    ahead = paired_difference([0.96, 0.88, 1.0], [0.92, 0.84, 0.96])  # 0.04 each, but for rounding
    assert (ahead.ci95, ahead.t, ahead.p) == (0, float("inf"), 0)
    assert ahead.mean == pytest.approx(0.04)
