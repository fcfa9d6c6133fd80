"""The fast inner loop: all tasks of a meta-batch at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from fewshot.episodes import Examples
from fewshot.inner_loop.base import Graph, InnerLoop, Rows
from fewshot.inner_loop.rates import Weights, adaptable

over_tasks = partial(vmap, randomness="different")  # dropout, if any, differs from task to task


class VectorizedInnerLoop(InnerLoop):
    """Adapts all tasks at once: each adapted weight gets a leading task dimension, over which ``torch.func.vmap`` maps.

    The gradients are autograd's, of the sum of the tasks' losses. So second derivatives are of the operations that
    ``vmap`` really ran, and right for every layer. ``torch.func.grad`` inside ``vmap`` is not: it gives silently wrong
    second derivatives for ``nn.BatchNorm2d``, and fails under autocast.
    """

    def adapt(
        self, support: Examples, steps: int, *, graph: Graph, rows: Rows | None = None
    ) -> Iterator["VectorizedLearners"]:
        """Yields the learners after 0, 1, ..., ``steps`` steps; see :meth:`InnerLoop.adapt`."""
        tasks = len(support.x)
        weights = {name: weight.expand(tasks, *weight.shape) for name, weight in adaptable(self.adapted).items()}
        self.at(0)
        with torch.set_grad_enabled(graph != "none"):
            inputs = over_tasks(self.inputs)(support.x)
        yield VectorizedLearners(self, weights, support.x, 0, graph != "none")
        for step in range(steps):
            if graph == "none":
                weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
            some = slice(None) if rows is None else rows(step)
            self.at(step)
            gradients = torch.autograd.grad(
                self.losses(weights, Examples(inputs[:, some], support.y[:, some])).sum(),
                list(weights.values()),
                create_graph=graph == "second",
                materialize_grads=True,
            )
            with torch.set_grad_enabled(graph != "none"):
                weights = self.rates.descend(step, weights, gradients)
            yield VectorizedLearners(self, weights, support.x, step + 1, graph != "none")

    def losses(self, weights: Weights, examples: Examples) -> Tensor:
        """The inner loss of each task with weights of its own, ``[T]``."""

        def loss(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
            return self.loss(self.learner(weights)(x), y)

        return over_tasks(loss)(weights, *examples)

    def learner(self, weights: Weights) -> Callable[..., Tensor]:
        """The adapted module with the weights of one task."""
        return lambda *inputs: functional_call(self.adapted, weights, inputs)


@dataclass(frozen=True)
class VectorizedLearners:
    """All T learners at once.

    Attributes:
        loop: Whose they are.
        weights: The adapted weights by name, ``[T, ...]`` each.
        support: The support sets, ``[T, n, ...]``.
        steps: Steps taken.
        graph: Whether their predictions can be differentiated.
    """

    loop: VectorizedInnerLoop
    weights: Weights
    support: Tensor
    steps: int
    graph: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs ``[T, n, D]`` for inputs ``[T, n, ...]``, each learner on its own task."""

        def predict(weights: Weights, support: Tensor, x: Tensor) -> Tensor:
            return self.loop.predict(self.loop.learner(weights), support, x)

        self.loop.at(self.steps)
        with torch.set_grad_enabled(self.graph):
            return over_tasks(predict)(self.weights, self.support, x)
