"""MAML in JAX: ``jit(value_and_grad(vmap()))``, with the recipe of ``fewshot-maml`` but for its learned rates."""

import math
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import torch
from torch import Tensor

from benchmarks import in_jax
from benchmarks.work import INNER_LR
from fewshot.episodes import Episode

META_LR = 0.003
TEST_STEPS = 3


class MAML:
    """Finn et al.'s MAML: one inner step at a rate of 0.4, three in a test; Adam, to zero along a cosine."""

    data = {"ways": 5, "shots": 1, "queries": 5, "meta_batch_size": 8}  # noqa: RUF012

    def __init__(self) -> None:
        self.weights = in_jax.initial(self.data["ways"])
        adam = optax.scale_by_adam()
        self.adam = adam.init(self.weights)

        @jax.jit
        def update(weights: Any, adam_state: Any, rate: float, *data: jax.Array) -> tuple[Any, Any]:
            gradients = jax.grad(partial(in_jax.outer_loss, steps=1, lr=INNER_LR))(weights, *data)
            directions, adam_state = adam.update(gradients, adam_state)
            return jax.tree.map(lambda weight, part: weight - rate * part, weights, directions), adam_state

        @jax.jit
        def outputs(weights: Any, *data: jax.Array) -> jax.Array:
            def task(x: jax.Array, y: jax.Array, query: jax.Array) -> jax.Array:
                return in_jax.logits(in_jax.adapted(weights, x, y, TEST_STEPS, INNER_LR), query)

            return jax.vmap(task)(*data)

        self.update, self.outputs = update, outputs

    def step(self, episode: Episode, progress: float) -> None:
        """One outer step."""
        rate = META_LR * (1 + math.cos(math.pi * progress)) / 2
        updated = self.update(self.weights, self.adam, rate, *_arrays(*episode.support, *episode.query))
        self.weights, self.adam = jax.block_until_ready(updated)

    def predict(self, episode: Episode) -> Tensor:
        """Adapts to each task and judges its queries together."""
        outputs = self.outputs(self.weights, *_arrays(*episode.support, episode.query.x))
        return torch.from_numpy(np.array(outputs.argmax(-1))).long()

    def state(self) -> Any:
        """The weights, which are never changed in place."""
        return self.weights

    def restore(self, state: Any) -> None:
        """Goes back to them."""
        self.weights = state


def _arrays(*tensors: Tensor) -> list[jax.Array]:
    return [in_jax.array(tensor.numpy()) for tensor in tensors]
