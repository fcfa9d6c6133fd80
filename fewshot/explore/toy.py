"""Paths down the meta-loss of the family study's toy: where the outer steps of four algorithms lead."""

import torch
from torch import Tensor

from fewshot.studies.meta_loss import descent_directions

A, B = (-2.0, 10.0), (-10.0, 2.0)
"""Of the surface."""

MOST_STEPS, STRENGTH = 20, (0.2, 10.0)
OUTER_LR, OUTER_STEPS = 0.5, 60
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
    ways = {}
    for name in descent_directions(theta, steps, strength=strength):
        way = [theta.double()]
        for _ in range(outer_steps):
            way.append(way[-1] + OUTER_LR * descent_directions(way[-1], steps, strength=strength)[name])
        ways[name] = torch.stack(way)
    return ways
