"""The reference inner loop: learn2learn's own ``clone()`` and ``adapt()``, task after task."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from fewshot.episodes import Examples
from fewshot.inner_loop.base import Graph, InnerLoop, Learners


class SequentialInnerLoop(InnerLoop):
    """Adapts one task after another."""

    def adapt(self, support: Examples, steps: int, *, graph: Graph) -> Iterator[Learners]:
        """Yields the learners after 0, 1, ..., ``steps`` steps; see :meth:`InnerLoop.adapt`."""
        from fewshot.inner_loop.learners import wrap

        # A body that is not adapted gives the same features at every step: run it once.
        body = self.network.features if self.adapt_head_only else None
        learner = wrap(self.network.head if body else self.network, self.rates)
        clones = [learner.clone() for _ in support.x]
        with torch.set_grad_enabled(graph != "none"):
            inputs = [body(x) for x in support.x] if body else support.x

        def predict(clone: nn.Module, task_support: Tensor, task_x: Tensor) -> Tensor:
            if body is None:
                return self._normalised(clone, task_support, task_x)
            return clone(self._normalised(body, task_support, task_x))

        def learners(x: Tensor) -> Tensor:
            with torch.set_grad_enabled(graph != "none"):
                return torch.stack([predict(*task) for task in zip(clones, support.x, x)])

        yield learners
        for _ in range(steps):
            for clone, task_inputs, labels in zip(clones, inputs, support.y):
                clone.adapt(self.loss(clone(task_inputs), labels), first_order=graph != "second")
            yield learners

    def _normalised(self, module: nn.Module, support: Tensor, x: Tensor) -> Tensor:
        """Runs a module that contains the batch norms, with the statistics that the mode asks for."""
        if not self.inductive:
            return module(x)
        return module(torch.cat([support, x]), len(support))[len(support) :]
