"""The reference inner loop: learn2learn's own ``clone()`` and ``adapt()``, task after task."""

from collections.abc import Iterator

import torch
from torch import Tensor

from fewshot.episodes import Examples
from fewshot.inner_loop.base import Graph, InnerLoop, Learners


class SequentialInnerLoop(InnerLoop):
    """Adapts one task after another."""

    def adapt(self, support: Examples, steps: int, *, graph: Graph) -> Iterator[Learners]:
        """Yields the learners after 0, 1, ..., ``steps`` steps; see :meth:`InnerLoop.adapt`."""
        from fewshot.inner_loop.learners import wrap

        learner = wrap(self.adapted, self.rates)
        clones = [learner.clone() for _ in support.x]
        with torch.set_grad_enabled(graph != "none"):
            inputs = [self.inputs(x) for x in support.x]

        def learners(x: Tensor) -> Tensor:
            with torch.set_grad_enabled(graph != "none"):
                return torch.stack([self.predict(*task) for task in zip(clones, support.x, x)])

        yield learners
        for _ in range(steps):
            for clone, task_inputs, labels in zip(clones, inputs, support.y):
                clone.adapt(self.loss(clone(task_inputs), labels), first_order=graph != "second")
            yield learners
