"""How much alike two representations of the same inputs are: linear CKA and CCA."""

from math import nan

import torch
from torch import Tensor

VARIANCE = 0.99
"""Share of the variance whose directions CCA compares."""


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment: 1 of representations that rotation, scale and shift make equal, 0 of unrelated.

    Kornblith, Norouzi, Lee and Hinton, 2019, Similarity of Neural Network Representations Revisited,
    https://arxiv.org/abs/1905.00414; with the unbiased estimator of Song et al., 2012, Feature Selection via Dependence
    Maximization, section 4.2, in place of the paper's: with more features than inputs, the biased one finds anything
    alike.

    Args:
        x: ``[n, p]`` representations of n inputs, at least 4.
        y: ``[n, q]``, of the same inputs.

    Returns:
        At most 1; of unrelated ones it may be a little below 0.
    """
    ours, theirs = _kernel(x), _kernel(y)
    together = _dependence(ours, theirs)
    return (together / (_dependence(ours, ours) * _dependence(theirs, theirs)).sqrt()).item()


def cca(x: Tensor, y: Tensor, variance: float = VARIANCE) -> float:
    """Mean canonical correlation of two representations, 0 to 1, within the directions that hold most of each.

    Raghu, Gilmer, Yosinski and Sohl-Dickstein, 2017, SVCCA, https://arxiv.org/abs/1706.05806: singular vectors first,
    then canonical correlations. With few inputs it is too high; it wants many times more inputs than directions.

    Args:
        x: ``[n, p]`` representations of n inputs; of feature maps, each place counts as an input.
        y: ``[n, q]``, of the same inputs.
        variance: The share of the variance that the compared directions hold.

    Returns:
        NaN if a representation is not finite, or the same of all inputs.
    """
    if not all(features.isfinite().all() and features.var(0).any() for features in (x, y)):
        return nan
    correlations = torch.linalg.svdvals(_directions(x, variance).T @ _directions(y, variance))
    return correlations.clamp(max=1).mean().item()


def _kernel(features: Tensor) -> Tensor:
    """Inner products of the inputs, ``[n, n]``, in float64, without each one's with itself."""
    features = features.double()
    features = features - features.mean(0)  # changes nothing but the rounding
    return (features @ features.T).fill_diagonal_(0)


def _dependence(ours: Tensor, theirs: Tensor) -> Tensor:
    """The unbiased Hilbert-Schmidt independence criterion of two kernels ``[n, n]`` with zero diagonals."""
    n = len(ours)
    together = (ours * theirs).sum()
    apart = ours.sum() * theirs.sum() / ((n - 1) * (n - 2))
    shared = 2 * (ours.sum(1) @ theirs.sum(1)) / (n - 2)
    return (together + apart - shared) / (n * (n - 3))


def _directions(features: Tensor, variance: float) -> Tensor:
    """Orthonormal coordinates ``[n, r]`` of the inputs along the directions that hold so much of the variance."""
    features = features.double()
    features = features - features.mean(0)
    squares, directions = torch.linalg.eigh(features.T @ features)  # far cheaper than the SVD where n is large
    shares = squares.flip(0).clamp(min=0).cumsum(0) / squares.clamp(min=0).sum()
    kept = int((shares < variance - 1e-12).sum()) + 1
    return features @ directions[:, -kept:] / squares[-kept:].sqrt()
