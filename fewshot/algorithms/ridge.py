"""Ridge regression in closed form."""

from math import log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot.algorithms.metric import MetricModule
from fewshot.episodes import Examples
from fewshot.errors import positive
from fewshot.networks import Embedding


def ridge(x: Tensor, y: Tensor, regulariser: Tensor | float) -> Tensor:
    """Ridge regression without an intercept: W = (XᵀX + λI)⁻¹ XᵀY of each task.

    Where there are fewer examples than features, the same is Xᵀ(XXᵀ + λI)⁻¹ Y (Woodbury), of a smaller system.

    Args:
        x: Features, ``[T, n, D]``.
        y: Targets, ``[T, n, N]``.
        regulariser: λ, a positive number.

    Returns:
        The weights W, ``[T, D, N]``.
    """
    examples, features = x.shape[1:]
    transposed = x.transpose(1, 2)
    eye = regulariser * torch.eye(min(examples, features), dtype=x.dtype, device=x.device)
    if examples < features:
        return transposed @ torch.linalg.solve(x @ transposed + eye, y)
    return torch.linalg.solve(transposed @ x + eye, transposed @ y)


class RidgeModule(MetricModule):
    """Ridge regression on the embedded support set, solved in closed form for each task, through which training goes.

    R2-D2 of Bertinetto, Henriques, Torr and Vedaldi, 2019, Meta-learning with Differentiable Closed-form Solvers,
    https://arxiv.org/abs/1805.08136. The targets are the one-hot labels. Learned with the embedding are the logarithm
    of the regulariser λ, and the scale and the shift that make logits of the regression's outputs.
    Deviations: the embedding is whatever network is given, not the paper's, which is wider and takes the features of
    two layers. The shift is the same for all classes, as in the paper, so cross-entropy does not move it. The authors'
    code solves for an intercept of each class, too, and its λ is for each example; this one is for all together.

    Args:
        network: The embedding network. Its batch norm has to keep running statistics
            (``Conv4``: ``running_statistics: true``).
        regulariser: λ at the start.
        scale: What the regression's outputs are multiplied by, at the start.
        **shared: The options of every learner.

    Raises:
        FewShotError: If the network's batch norm keeps no running statistics, or a number is out of range.
    """

    exact = True  # bf16 has no linear solver, and too few digits for one

    def __init__(self, network: Embedding, regulariser: float = 1.0, scale: float = 10.0, **shared: Any) -> None:
        super().__init__(network, **shared)
        positive(regulariser=regulariser, scale=scale)
        self.log_regulariser = nn.Parameter(torch.tensor(log(regulariser)))
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.shift = nn.Parameter(torch.zeros(()))

    def compare(self, support: Examples, queries: Tensor) -> Tensor:
        """The regression's outputs for the queries, scaled and shifted."""
        targets = F.one_hot(support.y).to(support.x.dtype)  # [T, N*K, N]
        weights = ridge(support.x, targets, self.log_regulariser.exp())
        return self.scale * (queries @ weights) + self.shift
