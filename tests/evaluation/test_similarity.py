"""How alike representations are, against independent computations."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from torch import Tensor

from fewshot.evaluation.similarity import cca, linear_cka


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dependence(k: np.ndarray, m: np.ndarray) -> float:
    """The U-statistic that the unbiased criterion is: a mean over all quadruples of different inputs (Song et al.)."""
    terms = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(len(k)), 4)]
    return float(np.mean(terms))


def test_cka_is_the_mean_over_all_quadruples():
    x, y = normal(0, 6, 3), normal(1, 6, 2)
    k, m = (features.numpy() @ features.numpy().T for features in (x, y))
    expected = dependence(k, m) / (dependence(k, k) * dependence(m, m)) ** 0.5
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_rotation_scale_and_shift_change_nothing(seed, scale):
    x, y = normal(seed, 30, 4), normal(seed + 1, 30, 5)
    rotation, _ = torch.linalg.qr(normal(seed + 2, 4, 4))
    moved = scale * x @ rotation + normal(seed + 3, 4)
    assert linear_cka(x, moved) == pytest.approx(1, abs=1e-6)  # of float64, but the shift cancels
    assert linear_cka(moved, y) == pytest.approx(linear_cka(x, y), abs=1e-6)
    assert cca(x, moved) == pytest.approx(1, abs=1e-6)


def test_many_features_do_not_make_unrelated_representations_alike():
    # The biased estimator is 0.98 here. One value spreads by (2 / (20 * 17))^(1/2) = 0.077, so their mean by 0.0054.
    values = [linear_cka(normal(seed, 20, 1000), normal(seed + 500, 20, 1000)) for seed in range(200)]
    assert np.mean(values) == pytest.approx(0, abs=3 * 0.0054)


def test_canonical_correlations_are_cosines_of_angles_between_subspaces():
    x, y = normal(0, 50, 4), normal(1, 50, 3)
    angles = subspace_angles(*((features - features.mean(0)).numpy() for features in (x, y)))
    assert cca(x, y, variance=1) == pytest.approx(np.cos(angles).mean(), abs=1e-9)


def test_directions_of_little_variance_are_left_out():
    common, ours, theirs = normal(0, 2000, 1), normal(1, 2000, 1), normal(2, 2000, 1)
    x, y = (torch.cat([common, 0.05 * own], dim=1) for own in (ours, theirs))
    assert cca(x, y) == pytest.approx(1, abs=0.01)  # 0.25 % of the variance is unrelated
    assert cca(x, y, variance=1) == pytest.approx(0.5, abs=0.03)  # one direction in common, one unrelated


def test_representations_that_are_not_finite_or_all_the_same_are_like_nothing():
    x = normal(0, 20, 3)
    for y in (torch.full_like(x, float("nan")), torch.zeros_like(x), torch.full_like(x, 3.0)):
        assert np.isnan(cca(x, y))
        assert np.isnan(linear_cka(x, y))
