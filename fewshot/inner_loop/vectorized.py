"""The fast inner loop: all tasks of a meta-batch at once."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from fewshot.episodes import Examples
from fewshot.inner_loop.base import Graph, InnerLoop, Learners

Weights = dict[str, Tensor]


def descend(weight: Tensor, rate: Tensor | float, gradient: Tensor) -> Tensor:
    """``weight - rate * gradient`` in one pass over the memory."""
    if isinstance(rate, Tensor):
        return torch.addcmul(weight, rate, gradient, value=-1)
    return torch.sub(weight, gradient, alpha=rate)


class VectorizedInnerLoop(InnerLoop):
    """Adapts all tasks at once: each adapted weight gets a leading task dimension, over which ``torch.func.vmap`` maps.

    The gradients are autograd's, of the sum of the tasks' losses. So second derivatives are of the operations that
    ``vmap`` really ran, and right for every layer. ``torch.func.grad`` inside ``vmap`` is not: it gives silently wrong
    second derivatives for ``nn.BatchNorm2d``, and fails under autocast.
    """

    def adapt(self, support: Examples, steps: int, *, graph: Graph) -> Iterator[Learners]:
        """Yields the learners after 0, 1, ..., ``steps`` steps; see :meth:`InnerLoop.adapt`."""

        def learner(weights: Weights) -> Callable[..., Tensor]:
            return lambda *inputs: functional_call(self.adapted, weights, inputs)

        def predict(weights: Weights, task_support: Tensor, x: Tensor) -> Tensor:
            return self.predict(learner(weights), task_support, x)

        def loss(weights: Weights, inputs: Tensor, labels: Tensor) -> Tensor:
            return self.loss(learner(weights)(inputs), labels)

        def learners(x: Tensor) -> Tensor:
            with torch.set_grad_enabled(graph != "none"):
                return over_tasks(predict)(weights, support.x, x)

        over_tasks = partial(vmap, randomness="different")  # dropout, if any, differs from task to task
        tasks = len(support.x)
        weights = {name: weight.expand(tasks, *weight.shape) for name, weight in self.adapted.named_parameters()}
        with torch.set_grad_enabled(graph != "none"):
            inputs = over_tasks(self.inputs)(support.x)
        yield learners
        for step in range(steps):
            if graph == "none":
                weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
            losses = over_tasks(loss)(weights, inputs, support.y)
            gradients = torch.autograd.grad(
                losses.sum(), list(weights.values()), create_graph=graph == "second", materialize_grads=True
            )
            with torch.set_grad_enabled(graph != "none"):
                updates = zip(weights.items(), self.rates.at(step), gradients)
                weights = {name: descend(weight, rate, gradient) for (name, weight), rate, gradient in updates}
            yield learners
