"""What each block of a network makes of the queries of a task, before and after adaptation."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from fewshot.algorithms import AdaptingModule
from fewshot.episodes import Episode
from fewshot.evaluation.freezing import HEAD, Blocks
from fewshot.inner_loop import Weights
from fewshot.networks import per_step_tables, rows_of_step

Representations = dict[str, Tensor]
"""Of a task's queries by the blocks of the network, ``[n, ...]`` each; those of the head are its outputs."""


def before_and_after(
    module: AdaptingModule, episode: Episode, parts: Blocks
) -> Iterator[tuple[Representations, Representations]]:
    """The queries' representations under the initial weights and under the adapted ones, task after task.

    Args:
        module: The learner, which adapts as in a test.
        episode: The tasks.
        parts: The network's blocks.
    """
    steps, tables = module.test_adaptation_steps, per_step_tables(module.network)
    with torch.enable_grad():
        learners = module.adapted(episode.support, steps, "none", module.test_inner_loop)
    start, end = rows_of_step(tables, 0), rows_of_step(tables, steps)
    for task, (support, x) in enumerate(zip(episode.support.x, episode.query.x)):
        adapted = {**end, **{name: weight[task].detach() for name, weight in learners.weights.items()}}
        yield _represent(module, start, support, x, parts), _represent(module, adapted, support, x, parts)


def _represent(module: AdaptingModule, weights: Weights, support: Tensor, x: Tensor, parts: Blocks) -> Representations:
    """What each block gives to the next, and what the head says, normalised as the learner's mode has it."""
    network = module.network
    with torch.no_grad(), _listening(module, parts) as heard:
        outputs = module.inner_loop.predict(
            None, lambda *inputs: functional_call(network, dict(weights), inputs), support, x
        )
    return {**{part: features[-len(x) :] for part, features in heard.items()}, HEAD: outputs}


@contextmanager
def _listening(module: AdaptingModule, parts: Blocks) -> Iterator[Representations]:
    """Collects what the first layer of each block but the first is given: the block before has made it."""
    heard: Representations = {}
    hooks = []
    for before, part in pairwise(parts):
        layer = module.network.get_submodule(parts[part][0].rpartition(".")[0])

        def listen(_: Any, inputs: tuple[Tensor, ...], before: str = before) -> None:
            heard[before] = inputs[0].detach()

        hooks.append(layer.register_forward_pre_hook(listen))
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()
