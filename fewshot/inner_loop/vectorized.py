"""The fast inner loop: all tasks of a meta-batch at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from fewshot.episodes import Examples
from fewshot.inner_loop.base import Draw, Graph, InnerLoop
from fewshot.inner_loop.optimizers import Weights
from fewshot.networks import per_step_tables, rows_of_step

over_tasks = partial(vmap, randomness="different")  # dropout, if any, differs from task to task


class VectorizedInnerLoop(InnerLoop):
    """Adapts all tasks at once: each adapted weight gets a leading task dimension, over which ``torch.func.vmap`` maps.

    The gradients are autograd's, of the sum of the tasks' losses. So second derivatives are of the operations that
    ``vmap`` really ran, and right for every layer. ``torch.func.grad`` inside ``vmap`` is not: it gives silently wrong
    second derivatives for ``nn.BatchNorm2d``, and fails under autocast.
    """

    def adapt(
        self, support: Examples, steps: int, *, graph: Graph, draw: Draw | None = None
    ) -> Iterator["VectorizedLearners"]:
        """Yields the learners after 0, 1, ..., ``steps`` steps; see :meth:`InnerLoop.adapt`."""
        differentiable = graph != "none"
        parameters = dict(self.network.named_parameters())
        weights = {name: parameters[name].expand(len(support.x), *parameters[name].shape) for name in self.names}
        state = self.optimizer.start(weights)
        with torch.set_grad_enabled(differentiable):
            examples = self.embedded(support)
        learners = VectorizedLearners(self, weights, support.x, 0, differentiable, state)
        yield learners
        for step in range(steps):
            if draw is not None:
                with torch.set_grad_enabled(differentiable):
                    examples = self.embedded(draw(step, learners))
            if not differentiable:
                weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
            gradients = torch.autograd.grad(
                self.losses(weights, examples, step).sum(),
                list(weights.values()),
                create_graph=graph == "second",
                materialize_grads=True,
            )
            with torch.set_grad_enabled(differentiable):
                weights, state = self.optimizer.step(step, weights, gradients, state)
            learners = VectorizedLearners(self, weights, support.x, step + 1, differentiable, state)
            yield learners

    def embedded(self, examples: Examples) -> Examples:
        """What the learner sees of the examples of T tasks: their features, if the head alone is adapted."""
        return examples if self.body is None else examples._replace(x=over_tasks(self.body_at(0))(examples.x))

    def losses(self, weights: Weights, examples: Examples, step: int) -> Tensor:
        """The inner loss of each task with weights of its own before inner step ``step``, ``[T]``."""

        def loss(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
            return self.loss(self.learner_at(step, weights)(x), y)

        return over_tasks(loss)(weights, *examples)

    def learner_at(self, step: int, weights: Weights) -> Callable[..., Tensor]:
        """What is adapted, the network or its head, with the weights of one task after so many steps."""
        own = {name.removeprefix(self.prefix): weight for name, weight in weights.items()}
        own = {**rows_of_step(per_step_tables(self.learner), step), **own}
        return lambda *inputs: functional_call(self.learner, own, inputs)

    def body_at(self, step: int) -> Callable[..., Tensor]:
        """The body that is not adapted, which may have a batch norm per step."""
        assert self.body is not None
        body, rows = self.body, rows_of_step(per_step_tables(self.body), step)
        return lambda *inputs: functional_call(body, rows, inputs)


@dataclass(frozen=True)
class VectorizedLearners:
    """All T learners at once.

    Attributes:
        loop: Whose they are.
        weights: The adapted weights by name, ``[T, ...]`` each.
        support: The support sets, ``[T, n, ...]``.
        steps: Steps taken.
        graph: Whether their predictions can be differentiated.
        state: What the inner optimiser remembers.
    """

    loop: VectorizedInnerLoop
    weights: Weights
    support: Tensor
    steps: int
    graph: bool
    state: Any = None

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs ``[T, n, D]`` for inputs ``[T, n, ...]``, each learner on its own task."""
        body = self.loop.body_at(self.steps) if self.loop.body else None

        def predict(weights: Weights, support: Tensor, x: Tensor) -> Tensor:
            return self.loop.predict(body, self.loop.learner_at(self.steps, weights), support, x)

        with torch.set_grad_enabled(self.graph):
            return over_tasks(predict)(self.weights, self.support, x)
