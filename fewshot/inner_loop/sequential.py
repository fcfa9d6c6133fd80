"""The reference inner loop: learn2learn's own ``clone()`` and ``adapt()``, task after task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fewshot.episodes import Examples
from fewshot.inner_loop.base import Graph, InnerLoop, Rows
from fewshot.inner_loop.rates import InnerRates, Weights


class SequentialInnerLoop(InnerLoop):
    """Adapts one task after another."""

    def adapt(
        self, support: Examples, steps: int, *, graph: Graph, rows: Rows | None = None
    ) -> Iterator["SequentialLearners"]:
        """Yields the learners after 0, 1, ..., ``steps`` steps; see :meth:`InnerLoop.adapt`."""
        from fewshot.inner_loop.learners import wrap

        assert isinstance(self.rates, InnerRates)
        learner = wrap(self.adapted, self.rates)
        clones = [learner.clone() for _ in support.x]
        with torch.set_grad_enabled(graph != "none"):
            inputs = [self.inputs(x) for x in support.x]
        learners = SequentialLearners(self, clones, support.x, graph != "none")
        yield learners
        for step in range(steps):
            some = slice(None) if rows is None else rows(step)
            for clone, x, y in zip(clones, inputs, support.y):
                clone.adapt(self.loss(clone(x[some]), y[some]), first_order=graph != "second")
            yield learners


@dataclass(frozen=True)
class SequentialLearners:
    """T learners, one after another.

    Attributes:
        loop: Whose they are.
        clones: learn2learn's learners.
        support: The support sets, ``[T, n, ...]``.
        graph: Whether their predictions can be differentiated.
    """

    loop: SequentialInnerLoop
    clones: Sequence[nn.Module]
    support: Tensor
    graph: bool

    @property
    def weights(self) -> Weights:
        """The adapted weights by name, ``[T, ...]`` each."""
        names = [name for name, _ in self.loop.adapted.named_parameters()]
        tasks = [dict(clone.module.named_parameters()) for clone in self.clones]  # type: ignore[operator, union-attr]
        return {name: torch.stack([task[name] for task in tasks]) for name in names}

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs ``[T, n, D]`` for inputs ``[T, n, ...]``, each learner on its own task."""
        with torch.set_grad_enabled(self.graph):
            return torch.stack([self.loop.predict(*task) for task in zip(self.clones, self.support, x)])
