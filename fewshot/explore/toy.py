"""Paths down the meta-loss of the family study's toy: where the outer steps of four algorithms lead."""

import torch
from torch import Tensor
from torch.func import vmap

from fewshot.studies.meta_loss import descent_directions

A, B = (-2.0, 10.0), (-10.0, 2.0)
"""Of the surface."""

MOST_STEPS, STRENGTH = 20, (0.2, 10.0)
OUTER_LR, OUTER_STEPS = 0.5, 120
START = (8.0, 0.0)
"""Far from the valley, and from where the algorithms end."""

LENGTH = 1.5
"""Of an arrow, in units of the axes."""


def arrows(theta: Tensor, steps: int, strength: float) -> dict[str, tuple[float, float]]:
    """The end of an arrow from theta ``[2]`` for each algorithm: directions, all of the same length."""
    directions = descent_directions(theta, steps, strength=strength)
    unit = {name: torch.nn.functional.normalize(way, dim=0) for name, way in directions.items()}
    return {name: tuple((theta + LENGTH * way).tolist()) for name, way in unit.items()}


def paths(theta: Tensor, steps: int, strength: float, outer_steps: int = OUTER_STEPS) -> dict[str, Tensor]:
    """Where each algorithm gets from theta ``[2]`` by so many outer steps: ``[outer_steps + 1, 2]`` each.

    An outer step moves by :data:`OUTER_LR` times the algorithm's direction at its natural length.
    """
    names = list(descent_directions(theta, steps, strength=strength))
    directions = vmap(lambda place: torch.stack(list(descent_directions(place, steps, strength=strength).values())))
    ways = [theta.double().expand(len(names), 2)]  # all algorithms at once, each from where it has got
    for _ in range(outer_steps):
        own = directions(ways[-1]).diagonal().T
        ways.append(ways[-1] + OUTER_LR * own)
    return dict(zip(names, torch.stack(ways, 1)))
