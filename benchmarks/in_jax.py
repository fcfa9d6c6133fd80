"""MAML's network, loss and inner steps in JAX, for the engine and for the race.

The convolutions are written as a gather and a matrix product: XLA's own ones, on a CPU and with weights for each task,
take some 25 times as long.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.work import plain_network

jax.config.update("jax_platforms", "cpu")

Weights = dict[str, Any]


def initial(ways: int) -> Weights:
    """The initial weights of the network that all peers get."""
    *blocks, head = [list(layer.parameters()) for layer in plain_network(ways) if list(layer.parameters())]
    return {
        "convolutions": [jnp.array(c[0].detach().permute(2, 3, 1, 0).flatten(0, 2).numpy()) for c in blocks[::2]],
        "norms": [[jnp.array(parameter.detach().numpy()) for parameter in norm] for norm in blocks[1::2]],
        "head": [jnp.array(parameter.detach().numpy()) for parameter in head],
    }


def array(values: np.ndarray) -> jax.Array:
    """Labels as they are, images ``[T, n, C, H, W]`` with their channels last."""
    return jnp.array(np.moveaxis(values, 2, -1) if values.ndim > 2 else values)


def logits(weights: Weights, x: jax.Array) -> jax.Array:
    """The outputs for images ``[n, H, W, C]``."""
    for convolution, (scale, shift) in zip(weights["convolutions"], weights["norms"]):
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        size = (x.shape[1] - 3) // 2 + 1
        shifts = [x[:, i : i + 2 * size - 1 : 2, j : j + 2 * size - 1 : 2] for i in range(3) for j in range(3)]
        x = jnp.concatenate(shifts, axis=-1) @ convolution
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        x = jax.nn.relu((x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift)
    return x.mean((1, 2)) @ weights["head"][0].T + weights["head"][1]


def loss(weights: Weights, x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean cross-entropy."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits(weights, x)), y[:, None], 1).mean()


def adapted(weights: Weights, x: jax.Array, y: jax.Array, steps: int, lr: float, first_order: bool = False) -> Weights:
    """The weights after some gradient steps on the support set of one task."""
    for _ in range(steps):
        gradients = jax.grad(loss)(weights, x, y)
        if first_order:
            gradients = jax.lax.stop_gradient(gradients)
        weights = jax.tree.map(lambda weight, gradient: weight - lr * gradient, weights, gradients)
    return weights


def outer_loss(weights: Weights, *data: jax.Array, steps: int, lr: float, first_order: bool = False) -> jax.Array:
    """Mean loss of the queries of all tasks, from supports, their labels, queries, their labels."""

    def task(x: jax.Array, y: jax.Array, *query: jax.Array) -> jax.Array:
        return loss(adapted(weights, x, y, steps, lr, first_order), *query)

    return jax.vmap(task)(*data).mean()
