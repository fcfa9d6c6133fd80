"""Matching networks."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot.algorithms.metric import MetricModule, log_sums
from fewshot.episodes import Examples
from fewshot.errors import at_least_one, positive
from fewshot.networks import Embedding


def cosines(queries: Tensor, support: Tensor) -> Tensor:
    """Cosine similarities, ``[T, n, N*K]``, of queries ``[T, n, D]`` with supports ``[T, N*K, D]``."""
    return F.normalize(queries, dim=-1) @ F.normalize(support, dim=-1).transpose(1, 2)


class FullContext(nn.Module):
    """Full context embeddings: each support in the light of the support set, and each query, too.

    The equations are those of the paper's appendix A.

    Args:
        features: Length D of an embedding.
        steps: Steps of processing that read the support set for a query.
    """

    def __init__(self, features: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.over_supports = nn.LSTM(features, features, batch_first=True, bidirectional=True)
        self.over_steps = nn.LSTMCell(2 * features, features)

    def forward(self, support: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Embeds supports ``[T, N*K, D]``, in their order, and queries ``[T, n, D]`` anew."""
        there_and_back, _ = self.over_supports(support)
        support = support + sum(there_and_back.chunk(2, dim=-1))
        return support, self._attend(support, queries)

    def _attend(self, support: Tensor, queries: Tensor) -> Tensor:
        own, shape = queries.flatten(0, 1), queries.shape
        hidden, cell = torch.zeros_like(own), torch.zeros_like(own)
        for _ in range(self.steps):
            attention = (hidden.view(shape) @ support.transpose(1, 2)).softmax(-1)  # [T, n, N*K]
            read = (attention @ support).flatten(0, 1)
            # The paper puts what was read beside the hidden state; a cell is linear in both, and takes it as input.
            hidden, cell = self.over_steps(torch.cat([own, read], dim=1), (hidden, cell))
            hidden = hidden + own
        return hidden.view(shape)


class MatchingModule(MetricModule):
    """Matching network: a query's label is the support labels' mean, weighted by attention to their examples.

    Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra, 2016, Matching Networks for One Shot Learning,
    https://arxiv.org/abs/1606.04080. The attention is the softmax of cosine similarities; the logits are the logarithms
    of what each class gets of it.
    Deviations: the paper's softmax is of the cosines themselves, that is ``temperature: 1``. It leaves the right one of
    20 classes at most a probability of 0.28, whatever is learned; a lower temperature trains better.

    With full context, the support set is read as a sequence: its order matters a little.

    Args:
        network: The embedding network. Its batch norm has to keep running statistics
            (``Conv4``: ``running_statistics: true``).
        temperature: What the cosines are divided by.
        full_context: Whether a bidirectional LSTM embeds the support set once more, and an LSTM with attention to it
            the queries, as in the paper's section 2.1.2.
        processing_steps: Steps of the LSTM with attention, if there is one.
        **shared: The options of every learner.

    Raises:
        FewShotError: If the network's batch norm keeps no running statistics, or a number is out of range.
    """

    exact = True  # cosines that differ by less than bf16 tells apart

    def __init__(
        self,
        network: Embedding,
        temperature: float = 1.0,
        full_context: bool = False,
        processing_steps: int = 5,
        **shared: Any,
    ) -> None:
        super().__init__(network, **shared)
        positive(temperature=temperature)
        at_least_one(processing_steps=processing_steps)
        self.temperature = temperature
        self.context = FullContext(network.out_features, processing_steps) if full_context else None

    def compare(self, support: Examples, queries: Tensor) -> Tensor:
        """Logarithms of the attention that each class gets."""
        x = support.x
        if self.context is not None:
            x, queries = self.context(x, queries)
        return log_sums((cosines(queries, x) / self.temperature).log_softmax(-1), support.y)
