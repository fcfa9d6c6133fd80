"""Memory-augmented neural networks."""

from math import log
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot.algorithms.gradients import OuterStep
from fewshot.algorithms.metric import MetricModule
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError, at_least_one, in_range, positive
from fewshot.networks import Embedding


class State(NamedTuple):
    """What a memory network keeps from one presentation to the next, of B sequences.

    Attributes:
        hidden: The controller's, ``[B, H]``.
        cell: The controller's, ``[B, H]``.
        read: What was read, ``[B, R*W]``.
        memory: ``[B, M, W]``.
        reads: Where each head's key finds itself in the memory as it is now, ``[B, R, M]``.
        usage: How much each row was used of late, ``[B, M]``.
    """

    hidden: Tensor
    cell: Tensor
    read: Tensor
    memory: Tensor
    reads: Tensor
    usage: Tensor

    def repeated(self, times: int) -> "State":
        """So many copies of each sequence's state, one after another."""
        return State(*(part.repeat_interleave(times, dim=0) for part in self))


def attend(memory: Tensor, keys: Tensor, strength: Tensor | float) -> Tensor:
    """Where each head reads: the softmax over the rows of their cosines with its key.

    Args:
        memory: ``[B, M, W]``.
        keys: ``[B, R, W]``.
        strength: What the cosines are multiplied by, a number or ``[R, 1]``.

    Returns:
        Weights that add up to one, ``[B, R, M]``.
    """
    cosines = F.normalize(keys, dim=-1) @ F.normalize(memory, dim=-1).transpose(1, 2)
    return (strength * cosines).softmax(-1)


def write(memory: Tensor, reads: Tensor, usage: Tensor, gates: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """Writes to the least used row, which is emptied before, and to where each head read last.

    Args:
        memory: ``[B, M, W]``.
        reads: Where each head read last, ``[B, R, M]``.
        usage: How much each row was used of late, ``[B, M]``.
        gates: The share that each head writes to where it read last, 0 to 1, ``[B, R]``.
        added: What each head writes, ``[B, R, W]``.

    Returns:
        The memory, and where each head wrote, ``[B, R, M]``.
    """
    least_used = F.one_hot(usage.argmin(-1), usage.shape[-1]).to(memory.dtype)  # [B, M]
    share = gates.unsqueeze(-1)
    weights = share * reads + (1 - share) * least_used.unsqueeze(1)
    kept = memory * (1 - least_used).unsqueeze(-1)
    return kept + weights.transpose(1, 2) @ added, weights


class MANNModule(MetricModule):
    """Memory-augmented neural network: reads examples and labels one after another, and remembers them.

    Santoro, Bartunov, Botvinick, Wierstra and Lillicrap, 2016, Meta-Learning with Memory-Augmented Neural Networks,
    https://arxiv.org/abs/1605.06065. At each presentation an LSTM is shown an example and the label of the one before;
    it reads from an external memory by content, says what the example's label is, and writes to the least used row or
    to where it read last. Trained on episodes in random order, support or query, each of which is predicted before its
    label is shown. In tests the support set is read, and each query is the next presentation, on its own.

    The number of ways is fixed, that of the labels that are shown. The order of the support examples and of the classes
    matters: a test reads every support set in the same mixed order.

    Deviations: the examples are embedded, standardised and shown to the heads, too; the paper has small raw images.
    Keys and what is written are separate, as in neural Turing machines, and cosines have a learned strength. All heads
    share one least used row. What is read is of before the presentation's own writing, else a key would find itself.
    The heads begin with their work shared out: half write examples to the least used row, half their labels, late, to
    where they read last. From random weights, a trial of 300 outer steps on Omniglot did not leave chance.

    Args:
        network: The embedding network. Its batch norm has to keep running statistics
            (``Conv4``: ``running_statistics: true``).
        outputs: Ways.
        hidden: Units of the LSTM.
        rows: Rows of the memory.
        width: Length of a row.
        heads: How many read and write at a time.
        strength: What cosines are multiplied by, at the start.
        usage_decay: What is left of a row's usage after each presentation, γ in the paper.
        **shared: The options of every learner.

    Raises:
        FewShotError: If the network's batch norm keeps no running statistics, or a number is out of range.
    """

    exact = True

    def __init__(
        self,
        network: Embedding,
        outputs: int = 5,
        hidden: int = 200,
        rows: int = 128,
        width: int = 40,
        heads: int = 4,
        strength: float = 20.0,
        usage_decay: float = 0.95,
        **shared: Any,
    ) -> None:
        super().__init__(network, **shared)
        at_least_one(outputs=outputs, hidden=hidden, rows=rows, width=width, heads=heads)
        positive(strength=strength)
        if heads < 2:
            raise FewShotError("heads must be at least 2, not 1: one begins by writing examples, one by writing labels")
        in_range(0, 1, usage_decay=usage_decay)
        self.outputs, self.rows, self.width, self.heads = outputs, rows, width, heads
        self.usage_decay = usage_decay
        shown = network.out_features + outputs
        self.norm = nn.BatchNorm1d(network.out_features)
        self.controller = nn.LSTMCell(shown + heads * width, hidden)
        self.keys, self.added = (nn.Linear(shown + hidden, heads * width) for _ in range(2))
        self.gates = nn.Linear(shown + hidden, heads)
        self.log_strength = nn.Parameter(torch.full((heads, 1), log(strength)))
        self.head = nn.Linear(hidden + heads * width, outputs)
        self._share_out()

    def _share_out(self) -> None:
        """Half of the heads begin by writing the example to the least used row; half, its label to where it then is.

        Keys begin as what is written of an example, and labels as long as examples.
        """
        hidden, label = self.controller.hidden_size, self.keys.in_features - self.outputs
        late = torch.arange(self.heads) >= self.heads // 2
        with torch.no_grad():
            for layer in (self.keys, self.added, self.gates):
                nn.init.zeros_(layer.bias)
                layer.weight[:, :hidden] = 0
            one = self.keys.weight[: self.width].clone()
            one[:, label:] *= (label - hidden) ** 0.5  # an example has as many features, of variance 1
            keys, added = (layer.weight.view(self.heads, self.width, -1) for layer in (self.keys, self.added))
            keys.copy_(one)
            keys[..., label:] = 0
            added.copy_(one)
            added[~late, :, label:] = 0
            added[late, :, :label] = 0
            self.gates.bias.copy_(torch.where(late, 2.0, -2.0))

    def setup(self, stage: str) -> None:
        """Refuses data of other ways.

        Raises:
            FewShotError: If the episodes have another number of classes than the labels that are shown.
        """
        super().setup(stage)
        self.refuse_other_ways(self.outputs)

    def compare(self, support: Examples, queries: Tensor) -> Tensor:
        """Reads the support set, and then each query from the same memory."""
        examples, (tasks, count) = support.y.shape[1], queries.shape[:2]
        order = torch.randperm(examples, generator=torch.Generator().manual_seed(0)).to(support.y.device)
        x, shown, state = self._standard(support.x[:, order]), self._shown(support.y[:, order]), self._empty(support.x)
        for number in range(examples):
            _, state = self._present(x[:, number], shown[:, number], state)
        asked, last = self._standard(queries).flatten(0, 1), shown[:, -1].repeat_interleave(count, dim=0)
        return self._present(asked, last, state.repeated(count))[0].unflatten(0, (tasks, count))

    def outer_loss(self, episode: Episode) -> OuterStep:
        """The loss of all presentations of a sequence in random order, and the outputs for the queries."""
        x, y, order = self._shuffled(episode)
        with torch.autocast(x.device.type, enabled=False):
            logits = self.sequence(x, y)
            loss = self.loss(logits, y)
        return OuterStep(loss, take(logits, order.argsort(1))[:, episode.support.y.shape[1] :])

    def sequence(self, x: Tensor, y: Tensor) -> Tensor:
        """Says of each example of a sequence what its label is, before it is shown.

        Args:
            x: Embeddings ``[T, n, D]``.
            y: Labels ``[T, n]``.

        Returns:
            Logits ``[T, n, N]``.
        """
        x, shown, state, logits = self._standard(x), self._shown(y), self._empty(x), []
        for number in range(x.shape[1]):
            outputs, state = self._present(x[:, number], shown[:, number], state)
            logits.append(outputs)
        return torch.stack(logits, dim=1)

    def instances(self, episode: Episode) -> Tensor:
        """Accuracy at the 1st, 2nd, ... instance of a class in sequences of random order, ``[T, K+Q]``: the paper's."""
        with torch.no_grad():
            x, y, _ = self._shuffled(episode)
            right = (self.sequence(x, y).argmax(-1) == y).to(x.dtype)
        seen = F.one_hot(y, self.outputs).cumsum(1).gather(2, y.unsqueeze(-1)).squeeze(-1) - 1  # [T, n]
        return right.new_zeros(len(y), int(seen.max()) + 1).scatter_add(1, seen, right) / self.outputs

    def _shuffled(self, episode: Episode) -> tuple[Tensor, Tensor, Tensor]:
        """All examples of each task in random order: embeddings ``[T, n, D]``, labels and the order ``[T, n]``."""
        support, queries = self.embed(episode)
        y = torch.cat([support.y, episode.query.y], dim=1)
        order = torch.rand(y.shape, device=y.device).argsort(1)
        return take(torch.cat([support.x, queries], dim=1), order), y.gather(1, order), order

    def _standard(self, x: Tensor) -> Tensor:
        """Embeddings ``[T, n, D]``, each feature with mean 0 and variance 1 in training."""
        return self.norm(x.flatten(0, 1)).view_as(x)

    def _shown(self, y: Tensor) -> Tensor:
        """What stands beside each example, and at last beside the next: the label before, ``[T, n + 1, N]``."""
        return F.pad(F.one_hot(y, self.outputs), (0, 0, 1, 0)).to(self.head.weight.dtype)

    def _empty(self, x: Tensor) -> State:
        """The state before the first of sequences ``[B, ...]``."""
        own, hidden, read = (self.rows, self.width), (self.controller.hidden_size,), (self.heads * self.width,)
        sizes = [hidden, hidden, read, own, (self.heads, self.rows), (self.rows,)]  # those of a State
        return State(*(x.new_zeros(len(x), *size) for size in sizes))

    def _present(self, x: Tensor, shown: Tensor, state: State) -> tuple[Tensor, State]:
        """One presentation: an embedding ``[B, D]`` and the label before ``[B, N]``, to logits ``[B, N]``."""
        seen, strength = torch.cat([x, shown], dim=1), self.log_strength.exp()
        hidden, cell = self.controller(torch.cat([seen, state.read], dim=1), (state.hidden, state.cell))
        told = torch.cat([hidden, seen], dim=1)
        keys, added = (layer(told).unflatten(1, (self.heads, self.width)) for layer in (self.keys, self.added))
        read = (attend(state.memory, keys, strength) @ state.memory).flatten(1)
        memory, writes = write(state.memory, state.reads, state.usage, self.gates(told).sigmoid(), added)
        reads = attend(memory, keys, strength)
        usage = self.usage_decay * state.usage + (reads + writes).sum(1)
        return self.head(torch.cat([hidden, read], dim=1)), State(hidden, cell, read, memory, reads, usage)


def take(x: Tensor, order: Tensor) -> Tensor:
    """Reorders the examples of each task: ``[T, n, D]`` by indices ``[T, n]``."""
    return x.gather(1, order.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
