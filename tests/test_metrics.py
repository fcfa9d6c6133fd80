"""Statistics by hand."""

import math

import pytest
import torch

from fewshot.metrics import EpisodeStatistics, paired_difference


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
    assert statistics.summary() == (0.25, None, None, 1)  # 0 would be certainty


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


def test_no_difference_is_told_from_what_is_not_finite():
    assert math.isnan(paired_difference([0.5, None, 0.5], [0.4, 0.3, 0.4]).mean)
