"""The reference inner loop: learn2learn's own ``clone()`` and ``adapt()``, task after task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fewshot.episodes import Examples
from fewshot.inner_loop.base import Draw, Graph, InnerLoop
from fewshot.inner_loop.optimizers import InnerSGD, Weights


class SequentialInnerLoop(InnerLoop):
    """Adapts one task after another."""

    def adapt(
        self, support: Examples, steps: int, *, graph: Graph, draw: Draw | None = None
    ) -> Iterator["SequentialLearners"]:
        """Yields the learners after 0, 1, ..., ``steps`` steps; see :meth:`InnerLoop.adapt`."""
        from fewshot.inner_loop.wrappers import wrap

        assert isinstance(self.optimizer, InnerSGD)
        learner = wrap(self.learner, self.optimizer, [name.removeprefix(self.prefix) for name in self.names])
        clones = [learner.clone() for _ in support.x]
        differentiable = graph != "none"
        learners = SequentialLearners(self, clones, support.x, differentiable)
        with torch.set_grad_enabled(differentiable):
            examples = self.embedded(support)
        yield learners
        for step in range(steps):
            if draw is not None:
                with torch.set_grad_enabled(differentiable):
                    examples = self.embedded(draw(step, learners))
            for clone, x, y in zip(clones, *examples):
                clone.adapt(self.loss(clone(x), y), first_order=graph != "second")
            yield learners

    def embedded(self, examples: Examples) -> Examples:
        """What the learner sees of the examples of T tasks: their features, if the head alone is adapted."""
        body = self.body
        return examples if body is None else examples._replace(x=torch.stack([body(x) for x in examples.x]))


@dataclass(frozen=True)
class SequentialLearners:
    """T learners, one after another.

    Attributes:
        loop: Whose they are.
        clones: learn2learn's learners.
        support: The support sets, ``[T, n, ...]``.
        graph: Whether their predictions can be differentiated.
        state: Plain gradient descent remembers nothing.
    """

    loop: SequentialInnerLoop
    clones: Sequence[nn.Module]
    support: Tensor
    graph: bool
    state: None = None

    @property
    def weights(self) -> Weights:
        """The adapted weights by name, ``[T, ...]`` each."""
        tasks = [dict(clone.module.named_parameters()) for clone in self.clones]  # type: ignore[operator, union-attr]
        return {
            name: torch.stack([task[name.removeprefix(self.loop.prefix)] for task in tasks]) for name in self.loop.names
        }

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs ``[T, n, D]`` for inputs ``[T, n, ...]``, each learner on its own task."""
        with torch.set_grad_enabled(self.graph):
            tasks = zip(self.clones, self.support, x)
            return torch.stack([self.loop.predict(self.loop.body, *task) for task in tasks])
